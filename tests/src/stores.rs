//! Stores to test with, on both databases, and what a test puts into them.
//!
//! A test of the store has one body that runs on both: `on_both(async |place| …)`.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tradewind_model::{Json, RecordKey, Shop};
use tradewind_store::{
    CommitError, Committed, Engine, Fence, Finish, How, Ingested, Job, JobFilter, JobKind, Location, NewDelivery,
    NewJob, Read, Store, Stored, Unit, Write, compress,
};

use crate::postgres;

/// When every test of the store happens, in milliseconds since 1970: 28 May 2026, 20:26:40 UTC.
pub const NOW_MS: i64 = 1_780_000_000_000;

/// An empty database that goes away with the test.
pub enum Place {
    /// A file in a folder of its own.
    Sqlite(TempDir),
    /// A database of the shared server, by its URL.
    Postgres(String),
}

impl Place {
    /// A fresh file.
    pub fn sqlite() -> Self {
        match tempfile::tempdir() {
            Ok(folder) => Self::Sqlite(folder),
            Err(error) => panic!("no temporary folder: {error}"),
        }
    }

    /// A fresh database of the shared server, named after the test.
    ///
    /// # Panics
    ///
    /// When there is no PostgreSQL.
    pub fn postgres() -> Self {
        let thread = std::thread::current();
        let test = thread.name().and_then(|name| name.rsplit("::").next()).unwrap_or("store");
        match postgres::shared().database(test) {
            Ok(url) => Self::Postgres(url),
            Err(error) => panic!("no database: {error:#}"),
        }
    }

    /// Which database.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        let parsed = match self {
            Self::Sqlite(_) => Location::parse(&format!("sqlite:{}", self.file().display())),
            Self::Postgres(url) => Location::parse(url),
        };
        parsed.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The file of SQLite.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("tradewind.db"),
            Self::Postgres(url) => panic!("`{url}` is no file"),
        }
    }

    /// Opens the store, with its tables up to date. Again and again: what is there stays there.
    pub async fn open(&self) -> Store {
        if let Err(error) = Store::migrate(&self.location()).await {
            panic!("{error:?}");
        }
        Store::open(&self.location()).await.unwrap_or_else(|error| panic!("{error:?}"))
    }
}

/// Runs a test on SQLite, then on PostgreSQL, without which it fails.
pub async fn on_both(test: impl AsyncFn(Place)) {
    test(Place::sqlite()).await;
    test(Place::postgres()).await;
}

/// Hands all of the futures over in their order before any goes on, and waits for all. On an executor of one thread, units
/// that are committed like this ride in as few batches as they fit into.
pub async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx: &mut Context<'_>| {
        let mut pending = false;
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(ready) => *output = Some(ready),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

/// Commits units together: see [`together`].
pub async fn commit_together(store: &Store, units: Vec<Unit>) -> Vec<Result<Committed, CommitError>> {
    together(units.into_iter().map(|unit| store.commit(unit))).await
}

/// The shop of tests that need one.
pub fn shop() -> Shop {
    Shop::new("tagger", "hats.example")
}

/// A shop of the same app in another partition than [`shop`] for every `number` up to 40.
pub fn other_shop(number: u32) -> Shop {
    let elsewhere = (0..).map(|try_| Shop::new("tagger", format!("shop-{number}-{try_}.example")));
    let mut elsewhere = elsewhere.filter(|other| other.partition() != shop().partition());
    elsewhere.next().unwrap_or_else(shop)
}

/// JSON that a test spells.
pub fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The key of a product.
pub fn product(id: &str) -> RecordKey {
    RecordKey::new("shopify/product", id)
}

/// A unit of [`shop`] that does nothing yet. The functions of [`Build`] give it something to do.
pub fn unit() -> Unit {
    Unit::new(shop(), NOW_MS)
}

/// Fills a unit, one thing after the other.
pub trait Build: Sized {
    /// Of another shop.
    #[must_use]
    fn of(self, shop: &Shop) -> Self;
    /// A record that must not be there yet.
    #[must_use]
    fn insert(self, key: &RecordKey, doc: &str) -> Self;
    /// A record that is there in this version.
    #[must_use]
    fn update(self, key: &RecordKey, version: i64, doc: &str) -> Self;
    /// A record that is to go.
    #[must_use]
    fn delete(self, key: &RecordKey, version: i64) -> Self;
    /// A record that the unit was decided on.
    #[must_use]
    fn read(self, key: &RecordKey, version: Option<i64>) -> Self;
    /// A webhook.
    #[must_use]
    fn delivery(self, delivery: NewDelivery) -> Self;
    /// A job.
    #[must_use]
    fn job(self, job: NewJob) -> Self;
    /// A job to take back.
    #[must_use]
    fn cancel(self, id: &str) -> Self;
    /// What becomes of the job that did the work.
    #[must_use]
    fn finish(self, job: i64, how: How) -> Self;
    /// The lease that the work was done under.
    #[must_use]
    fn fenced(self, epoch: i64) -> Self;
}

impl Build for Unit {
    fn of(mut self, shop: &Shop) -> Self {
        self.shop = shop.clone();
        self
    }

    fn insert(mut self, key: &RecordKey, doc: &str) -> Self {
        self.writes.push(Write {
            before: None,
            key: key.clone(),
            expected: None,
            doc: Some(json(doc)),
            platform_updated_us: Some(NOW_MS * 1_000),
        });
        self
    }

    fn update(mut self, key: &RecordKey, version: i64, doc: &str) -> Self {
        self.writes.push(Write {
            before: None,
            key: key.clone(),
            expected: Some(version),
            doc: Some(json(doc)),
            platform_updated_us: None,
        });
        self
    }

    fn delete(mut self, key: &RecordKey, version: i64) -> Self {
        self.writes.push(Write {
            before: None,
            key: key.clone(),
            expected: Some(version),
            doc: None,
            platform_updated_us: None,
        });
        self
    }

    fn read(mut self, key: &RecordKey, version: Option<i64>) -> Self {
        self.reads.push(Read { key: key.clone(), version });
        self
    }

    fn delivery(mut self, delivery: NewDelivery) -> Self {
        self.deliveries.push(delivery);
        self
    }

    fn job(mut self, job: NewJob) -> Self {
        self.jobs.push(job);
        self
    }

    fn cancel(mut self, id: &str) -> Self {
        self.cancels.push(id.to_owned());
        self
    }

    fn finish(mut self, job: i64, how: How) -> Self {
        self.finish = Some(Finish { job, how });
        self
    }

    fn fenced(mut self, epoch: i64) -> Self {
        self.fence = Some(Fence { part: self.shop.partition(), epoch });
        self
    }
}

/// A webhook about a product.
pub fn delivery(webhook_id: &str, body: &[u8]) -> NewDelivery {
    NewDelivery {
        platform: "shopify".into(),
        webhook_id: webhook_id.to_owned(),
        topic: "products/update".to_owned(),
        event_id: None,
        body_sha256: Sha256::digest(body).into(),
        triggered_ms: Some(NOW_MS - 1_000),
        headers: json(r#"{"X-Shopify-Topic":"products/update"}"#),
        body: compress(body),
        body_bytes: u64::try_from(body.len()).unwrap_or_default(),
        lane: Some("shopify/product 1".to_owned()),
        depth: 0,
        parked_if_replayed: None,
    }
}

/// A job that runs an action at once.
pub fn action() -> NewJob {
    NewJob::new(JobKind::Action, Some(json(r#"{"action":"tag"}"#)))
}

/// A job with an id.
pub fn action_called(id: &str) -> NewJob {
    NewJob { id: Some(id.to_owned()), ..action() }
}

/// Commits a unit that has to succeed.
pub async fn commit(store: &Store, unit: Unit) -> Committed {
    store.commit(unit).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Commits a job that has to be new, and says its number.
pub async fn enqueue(store: &Store, job: NewJob) -> i64 {
    commit(store, unit().job(job)).await.jobs[0].unwrap_or_else(|| panic!("there was such a job"))
}

/// Commits a delivery that has to be new, and says its number and its job's.
pub async fn ingest(store: &Store, new: NewDelivery) -> (i64, i64) {
    match commit(store, unit().delivery(new)).await.deliveries[0] {
        Ingested::New { seq, job } => (seq, job),
        other => panic!("{other:?}"),
    }
}

/// A record of [`shop`].
pub async fn record(store: &Store, key: &RecordKey) -> Option<Stored> {
    store.record(&shop(), key).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// The version of a record of [`shop`] that has to be there.
pub async fn version(store: &Store, key: &RecordKey) -> i64 {
    record(store, key).await.unwrap_or_else(|| panic!("`{key}` is not there")).version
}

/// A job that has to be there.
pub async fn job(store: &Store, seq: i64) -> Job {
    let job = store.job(seq).await.unwrap_or_else(|error| panic!("{error:?}"));
    job.unwrap_or_else(|| panic!("the job {seq} is not there"))
}

/// All jobs, in the order of their numbers.
pub async fn jobs(store: &Store) -> Vec<Job> {
    let all = store.list_jobs(&JobFilter::default(), i64::MIN, 1_000_000).await;
    all.unwrap_or_else(|error| panic!("{error:?}"))
}

/// An error that goes on being retried.
pub fn failed(attempts: u32, run_at_ms: i64) -> How {
    How::Again { attempts, run_at_ms, error: Some(json(r#"{"code":"platform.rate_limited"}"#)) }
}

/// A dead letter.
pub fn park(reason: &str) -> How {
    How::Park { attempts: 5, reason: reason.to_owned(), error: Some(json(r#"{"code":"plugin.trap"}"#)) }
}

/// What a body is kept as, spelled out: for what [`compress`] would never write.
pub fn body(bytes: &[u8]) -> Arc<[u8]> {
    bytes.into()
}
