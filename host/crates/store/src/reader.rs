//! Reads that ride together: whoever asks for a record or a delivery while a statement is under way is answered by the
//! next one, with everybody else who waits. The same idea as the committer's, for the other direction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;
use tradewind_model::{RecordKey, Shop};

use crate::database::{Database, Reader};
use crate::error::StoreError;
use crate::inbox::{self, Delivery, READ_DELIVERIES};
use crate::link::{Row, Statement, Table};
use crate::panics::caught;
use crate::records::{self, READ_RECORDS, Stored};

/// Questions in one round. 256: what a statement's largest size on SQLite answers at once, and a whole page of records.
const ROUND_MAX: usize = 256;

/// Rounds that are under way at once, each with a connection of its own.
pub(crate) const READERS: u32 = 2;

/// How long a connection is kept that nobody uses. 1 second: the pool looks whether it is alive before it lends it again,
/// and a busy host needs no such look.
const UNUSED_MAX: Duration = Duration::from_secs(1);

/// How long a connection that was kept may take to answer. 5 seconds, as for a new one: a server that went away without a
/// word is asked anew.
const ANSWER_MAX: Duration = Duration::from_secs(5);

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

    /// Asks for a record at once; the answer can be waited for later.
    pub(crate) fn record(
        &self,
        shop: Shop,
        key: RecordKey,
    ) -> impl Future<Output = Result<Option<Stored>, Arc<StoreError>>> + use<> {
        let (answer, answered) = oneshot::channel();
        self.ask(Question::Record(shop, key, answer), answered)
    }

    /// Asks for a delivery, in the same way.
    pub(crate) fn delivery(&self, seq: i64) -> impl Future<Output = Result<Option<Delivery>, Arc<StoreError>>> + use<> {
        let (answer, answered) = oneshot::channel();
        self.ask(Question::Delivery(seq, answer), answered)
    }

    fn ask<T>(
        &self,
        question: Question,
        answered: oneshot::Receiver<Result<Option<T>, Arc<StoreError>>>,
    ) -> impl Future<Output = Result<Option<T>, Arc<StoreError>>> + use<T> {
        let asked = self.questions.send(question);
        async move {
            asked.map_err(|_| StoreError::Closed)?;
            let gone = || Arc::new(StoreError::database("reading", sqlx::Error::WorkerCrashed));
            answered.await.unwrap_or_else(|_| Err(gone()))
        }
    }
}

async fn answer(database: Database, questions: Arc<Mutex<mpsc::UnboundedReceiver<Question>>>) {
    let mut reader = KeptReader { database, reader: None };
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
        caught(answer_records(&mut reader, records)).await;
        caught(answer_deliveries(&mut reader, deliveries)).await;
    }
}

/// A connection that is kept from round to round: the pool looks whether one is alive whenever it lends it and whenever it
/// gets it back.
struct KeptReader {
    database: Database,
    reader: Option<(Reader, Instant)>,
}

impl KeptReader {
    async fn fetch_rows(&mut self, statement: &'static Statement, table: &Table<'_>) -> sqlx::Result<Vec<Row>> {
        // Out of its place while it is used: whoever panics or goes away in the middle does not leave it to the next.
        let kept = self.reader.take().filter(|(_, used)| used.elapsed() < UNUSED_MAX);
        if let Some((mut reader, _)) = kept {
            let answer = timeout(ANSWER_MAX, reader.link().fetch_rows(statement, table)).await;
            if let Ok(Ok(rows)) = answer {
                self.reader = Some((reader, Instant::now()));
                return Ok(rows);
            }
            // The server may have gone away and come back since the last round.
        }
        let mut reader = self.database.reader().await?;
        let rows = reader.link().fetch_rows(statement, table).await?;
        self.reader = Some((reader, Instant::now()));
        Ok(rows)
    }
}

async fn answer_records(reader: &mut KeptReader, asked: Vec<((Shop, RecordKey), Answer<Stored>)>) {
    if asked.is_empty() {
        return;
    }
    let keys: Vec<_> = asked.iter().map(|((shop, key), _)| (shop, key)).collect();
    let table = records::table_of(&keys);
    let found = reader.fetch_rows(&READ_RECORDS, &table).await;
    let found = records::found(found).map_err(Arc::new);
    if asked.len() > 1 && is_damaged(&found) {
        for one in asked {
            Box::pin(answer_records(reader, vec![one])).await;
        }
        return;
    }
    reply(asked, &found);
}

async fn answer_deliveries(reader: &mut KeptReader, asked: Vec<(i64, Answer<Delivery>)>) {
    if asked.is_empty() {
        return;
    }
    let seqs: Vec<_> = asked.iter().map(|(seq, _)| *seq).collect();
    let found = reader.fetch_rows(&READ_DELIVERIES, &inbox::table_of(&seqs)).await;
    let found = inbox::found(found).map_err(Arc::new);
    if asked.len() > 1 && is_damaged(&found) {
        for one in asked {
            Box::pin(answer_deliveries(reader, vec![one])).await;
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
