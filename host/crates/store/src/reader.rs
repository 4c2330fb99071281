//! Reads that ride together: whoever asks for a record or a delivery while a statement is under way is answered by the
//! next one, with everybody else who waits. The same idea as the committer's, for the other direction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tradewind_model::{RecordKey, Shop};

use crate::database::{Database, Reader};
use crate::error::StoreError;
use crate::inbox::{self, Delivery, READ_DELIVERIES};
use crate::link::{Engine, Link, Row, Statement, Table};
use crate::local::Work;
use crate::panics::caught;
use crate::records::{self, READ_RECORDS, Stored};

/// Questions in one round. 256: what a statement's largest size on SQLite answers at once, and a whole page of records.
const ROUND_MAX: usize = 256;

/// Questions of one shop in one round. 32: at most 256 MiB when each record is as large as one may be; what is left comes with
/// the next round, and another shop's questions ride in each.
const ROUND_SHOP_MAX: usize = 32;

/// Rounds that are under way at once, each with a connection of its own.
pub(crate) const READERS: u32 = 2;

/// How often a reader lets others run before it begins a round. 2: the committer does the same, and says why; a round costs
/// less than a batch.
const GATHERINGS: u32 = 2;

/// How long a connection of the pool is kept that nobody uses. 1 second: the pool looks whether it is alive before it lends it
/// again, and a busy host needs no such look.
const UNUSED_MAX: Duration = Duration::from_secs(1);

/// How long a connection that was kept may take to answer. 5 seconds, as for a new one: a server that went away without a
/// word is asked anew.
const ANSWER_MAX: Duration = Duration::from_secs(5);

type Answer<T> = oneshot::Sender<Result<Option<T>, Arc<StoreError>>>;

enum Question {
    Record(Shop, RecordKey, Answer<Stored>),
    Delivery(i64, Answer<Delivery>),
}

impl Question {
    fn shop(&self) -> Option<&Shop> {
        match self {
            Self::Record(shop, ..) => Some(shop),
            Self::Delivery(..) => None,
        }
    }

    /// Returns true if the caller was cancelled.
    fn is_closed(&self) -> bool {
        match self {
            Self::Record(.., answer) => answer.is_closed(),
            Self::Delivery(_, answer) => answer.is_closed(),
        }
    }
}

/// Answers questions in rounds.
#[derive(Debug)]
pub(crate) struct Rounds {
    questions: mpsc::UnboundedSender<Question>,
    tasks: Vec<JoinHandle<()>>,
}

impl Rounds {
    /// Starts the readers. They end after this is dropped.
    pub(crate) fn start(database: &Database) -> Self {
        let (questions, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let tasks = (0..READERS).map(|_| tokio::spawn(answer(database.clone(), Arc::clone(&receiver)))).collect();
        Self { questions, tasks }
    }

    /// Answers what was asked, and gives the connections back.
    pub(crate) async fn close(self) {
        drop(self.questions);
        for task in self.tasks {
            // A reader that was aborted has answered nobody, and who asked it knows.
            let _ = task.await;
        }
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
    let mut left = Vec::new();
    loop {
        let Some(asked) = gather(&questions, std::mem::take(&mut left)).await else { break };
        let round;
        (round, left) = share(asked);
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
    if let Some((reader, _)) = reader.reader {
        let _ = reader.close().await;
    }
}

/// Takes in the questions for a round, behind those that the last one left. None: there will be no more.
async fn gather(
    questions: &Mutex<mpsc::UnboundedReceiver<Question>>,
    mut round: Vec<Question>,
) -> Option<Vec<Question>> {
    // The other reader holds this for as long as it waits for its first question.
    let mut questions = match questions.try_lock() {
        Err(_) if !round.is_empty() => return Some(round),
        Err(_) => questions.lock().await,
        Ok(questions) => questions,
    };
    if round.is_empty() && questions.recv_many(&mut round, ROUND_MAX).await == 0 {
        return None;
    }
    for _ in 0..GATHERINGS {
        tokio::task::yield_now().await;
    }
    // What was left does not keep others out of the round.
    for _ in 0..ROUND_MAX.saturating_sub(round.len()).max(ROUND_SHOP_MAX) {
        let Ok(question) = questions.try_recv() else { break };
        round.push(question);
    }
    Some(round)
}

/// Leaves questions of a shop that has many to the next round, and forgets those whose callers were cancelled. Shops take
/// turns: the first question of each comes before the second one of any.
fn share(mut asked: Vec<Question>) -> (Vec<Question>, Vec<Question>) {
    asked.retain(|question| !question.is_closed());
    if asked.len() <= ROUND_SHOP_MAX {
        return (asked, Vec::new());
    }
    let mut of_shops: HashMap<Shop, usize> = HashMap::new();
    let mut ranked = Vec::with_capacity(asked.len());
    for question in asked {
        let rank = question.shop().cloned().map_or(0, |shop| {
            let of_shop = of_shops.entry(shop).or_default();
            *of_shop += 1;
            *of_shop
        });
        ranked.push((rank, question));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let fit = ranked.iter().take(ROUND_MAX).take_while(|(rank, _)| *rank <= ROUND_SHOP_MAX).count();
    let left = ranked.split_off(fit);
    let questions = |ranked: Vec<(usize, Question)>| ranked.into_iter().map(|(_, question)| question).collect();
    (questions(ranked), questions(left))
}

/// A connection that is kept from round to round: on SQLite a file of its own; else one of the pool, which looks whether it is
/// alive whenever it lends it and whenever it gets it back.
struct KeptReader {
    database: Database,
    reader: Option<(Reader, Instant)>,
}

impl KeptReader {
    /// Has something read, again on a new connection when the kept one fails.
    async fn read<W: Work + Clone>(&mut self, read: W) -> sqlx::Result<W::Done> {
        let is_fresh =
            |(reader, used): &(Reader, Instant)| matches!(reader, Reader::Local(_)) || used.elapsed() < UNUSED_MAX;
        // Out of its place while it is used: whoever panics or goes away in the middle does not leave it to the next.
        let kept = self.reader.take().filter(is_fresh);
        if let Some((reader, _)) = kept
            && let Ok(Ok((reader, answer))) = timeout(ANSWER_MAX, reader.lend(read.clone())).await
        {
            self.reader = Some((reader, Instant::now()));
            return Ok(answer);
        }
        // The server may have gone away and come back since the last round.
        let (reader, answer) = self.database.own_reader().await?.lend(read).await?;
        self.reader = Some((reader, Instant::now()));
        Ok(answer)
    }
}

/// Reads as one look at the database. PostgreSQL gives that to each statement; SQLite asks once for each row, and would look,
/// and take its locks, as often.
async fn look(link: &mut Link<'_>, statement: &'static Statement, table: &Table<'_>) -> sqlx::Result<Vec<Row>> {
    if link.engine() == Engine::Postgres {
        return link.fetch_rows(statement, table).await;
    }
    link.run("BEGIN").await?;
    let rows = link.fetch_rows(statement, table).await?;
    link.run("COMMIT").await?;
    Ok(rows)
}

#[derive(Clone)]
struct ReadRecords(Arc<[(Shop, RecordKey)]>);

impl Work for ReadRecords {
    type Done = Result<HashMap<(Shop, RecordKey), Stored>, StoreError>;

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        Ok(records::found(look(link, &READ_RECORDS, &records::table_of(&self.0)).await?))
    }
}

#[derive(Clone)]
struct ReadDeliveries(Arc<[i64]>);

impl Work for ReadDeliveries {
    type Done = Result<HashMap<i64, Delivery>, StoreError>;

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        Ok(inbox::found(look(link, &READ_DELIVERIES, &inbox::table_of(&self.0)).await?))
    }
}

async fn answer_records(reader: &mut KeptReader, asked: Vec<((Shop, RecordKey), Answer<Stored>)>) {
    if asked.is_empty() {
        return;
    }
    let read = ReadRecords(asked.iter().map(|(key, _)| key.clone()).collect());
    let failed = |source| StoreError::database("reading records", source);
    let found = reader.read(read).await.map_err(failed).and_then(|found| found).map_err(Arc::new);
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
    let read = ReadDeliveries(asked.iter().map(|(seq, _)| *seq).collect());
    let failed = |source| StoreError::database("reading deliveries", source);
    let found = reader.read(read).await.map_err(failed).and_then(|found| found).map_err(Arc::new);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shop_with_many_questions_leaves_room_and_nobody_asks_for_who_has_gone() {
        let ask = |shop: &str, id: usize| {
            let (answer, answered) = oneshot::channel();
            (Question::Record(Shop::new("app", shop), RecordKey::new("thing", id.to_string()), answer), answered)
        };
        let ids = |questions: &[Question]| -> Vec<String> {
            let id = |question: &Question| match question {
                Question::Record(shop, key, _) => format!("{}{}", shop.id, key.id),
                Question::Delivery(seq, _) => seq.to_string(),
            };
            questions.iter().map(id).collect()
        };
        let (mut questions, mut callers) = (Vec::new(), Vec::new());
        for id in 0..ROUND_SHOP_MAX + 2 {
            let (question, caller) = ask("busy", id);
            questions.push(question);
            callers.push(caller);
        }
        let (question, _quiet) = ask("quiet", 1);
        questions.push(question);
        callers.remove(0);
        let (round, left) = share(questions);
        assert_eq!((round.len(), ids(&left)), (ROUND_SHOP_MAX + 1, vec![format!("busy{}", ROUND_SHOP_MAX + 1)]));
        assert_eq!(ids(&round[..3]), ["busy1", "quiet1", "busy2"]);
        assert!(!ids(&round).contains(&"busy0".to_owned()));
    }
}
