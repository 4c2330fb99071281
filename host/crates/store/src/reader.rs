//! Reads that ride together: whoever asks for a record or a delivery while a statement is under way is answered by the
//! next one, with everybody else who waits. The same idea as the committer's, for the other direction.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tradewind_model::{RecordKey, Shop};

use crate::database::Database;
use crate::error::StoreError;
use crate::inbox::{self, Delivery};
use crate::panics::caught;
use crate::records::{self, Stored};

/// Questions in one round. 64: what a statement's largest size on SQLite answers at once.
const ROUND_MAX: usize = 64;

/// Rounds that are under way at once.
const READERS: usize = 2;

type Answer<T> = oneshot::Sender<Result<Option<T>, Arc<StoreError>>>;

enum Question {
    Record(Shop, RecordKey, Answer<Stored>),
    Delivery(i64, Answer<Delivery>),
}

/// Answers questions in rounds.
#[derive(Debug)]
pub(crate) struct Rounds {
    questions: mpsc::UnboundedSender<Question>,
}

impl Rounds {
    /// Starts the readers. They end when this is dropped.
    pub(crate) fn start(database: &Database) -> Self {
        let (questions, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..READERS {
            tokio::spawn(answer(database.clone(), Arc::clone(&receiver)));
        }
        Self { questions }
    }

    pub(crate) async fn record(&self, shop: Shop, key: RecordKey) -> Result<Option<Stored>, Arc<StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Question::Record(shop, key, answer), answered).await
    }

    pub(crate) async fn delivery(&self, seq: i64) -> Result<Option<Delivery>, Arc<StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Question::Delivery(seq, answer), answered).await
    }

    async fn ask<T>(
        &self,
        question: Question,
        answered: oneshot::Receiver<Result<Option<T>, Arc<StoreError>>>,
    ) -> Result<Option<T>, Arc<StoreError>> {
        self.questions.send(question).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or_else(|_| Err(Arc::new(StoreError::database("reading", sqlx::Error::WorkerCrashed))))
    }
}

async fn answer(database: Database, questions: Arc<Mutex<mpsc::UnboundedReceiver<Question>>>) {
    loop {
        let mut round = Vec::new();
        if questions.lock().await.recv_many(&mut round, ROUND_MAX).await == 0 {
            return;
        }
        let (mut records, mut deliveries) = (Vec::new(), Vec::new());
        for question in round {
            match question {
                Question::Record(shop, key, answer) => records.push(((shop, key), answer)),
                Question::Delivery(seq, answer) => deliveries.push((seq, answer)),
            }
        }
        // Whoever asked in a round that panicked is told so by the end of its channel.
        caught(answer_records(&database, records)).await;
        caught(answer_deliveries(&database, deliveries)).await;
    }
}

async fn answer_records(database: &Database, asked: Vec<((Shop, RecordKey), Answer<Stored>)>) {
    if asked.is_empty() {
        return;
    }
    let keys: Vec<_> = asked.iter().map(|((shop, key), _)| (shop, key)).collect();
    let found = records::read(database, &keys).await.map_err(Arc::new);
    if asked.len() > 1 && is_damaged(&found) {
        for one in asked {
            Box::pin(answer_records(database, vec![one])).await;
        }
        return;
    }
    reply(asked, &found);
}

async fn answer_deliveries(database: &Database, asked: Vec<(i64, Answer<Delivery>)>) {
    if asked.is_empty() {
        return;
    }
    let seqs: Vec<_> = asked.iter().map(|(seq, _)| *seq).collect();
    let found = inbox::read(database, &seqs).await.map_err(Arc::new);
    if asked.len() > 1 && is_damaged(&found) {
        for one in asked {
            Box::pin(answer_deliveries(database, vec![one])).await;
        }
        return;
    }
    reply(asked, &found);
}

/// Whether something in a round cannot be read: then each is read alone, so that only who asked for it is told.
fn is_damaged<T>(found: &Result<T, Arc<StoreError>>) -> bool {
    matches!(found, Err(error) if matches!(&**error, StoreError::Damaged { .. }))
}

fn reply<K: Eq + std::hash::Hash, T: Clone>(
    asked: Vec<(K, Answer<T>)>,
    found: &Result<HashMap<K, T>, Arc<StoreError>>,
) {
    for (key, answer) in asked {
        // Whoever has gone away does not want to know.
        let _ = answer.send(match found {
            Ok(found) => Ok(found.get(&key).cloned()),
            Err(error) => Err(Arc::clone(error)),
        });
    }
}
