//! The least that the work takes: the same steps with nothing around them, as one program that can do only this.
//!
//! Each webhook is checked, parsed, mapped, compared, its action run, and kept with its record, its log and the job of its
//! `success` in one transaction, before it is answered; then `success` runs, its call is noted in a second one, made, and the
//! job ended in a third. Transactions are shared by all that wait, on one thread with one connection. What is stored is in
//! memory, so nothing is read. It has one model, one topic and one secret, and no leases, lanes, turns, budgets, retries,
//! conflicts, limits, metrics or traces. It shares the generator's process, so that even sending and answering are cheaper.
//!
//! It uses the host's own sandbox, its way of reading JSON and its database: how far the host is from it is what its general
//! parts cost.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tradewind_model::document::{Mode, canonical, changed_members, merged};
use tradewind_model::schema::Model;
use tradewind_model::{ActionError, Json, code};
use tradewind_platform::digest;
use tradewind_platform::shopify::SigningSecrets;
use tradewind_runtime::session::{Answer, ClientShop, LogEntry, Platform as Which, PlatformCall, WhichShop};
use tradewind_runtime::{ArtifactCache, Invocation, Phase, Plugin, Runtime, RuntimeConfig, Session};
use tradewind_store::compress;
use tradewind_tests::{NOW, artifacts_folder, install};

use super::bare::{ANSWER, header, request};
use super::feed::Feed;
use super::load::{self, Pace};
use super::platform::Platform;
use super::side::{PATIENCE, SECRET};
use super::stages::{product, saved, tracked};
use super::wire::Wire;

/// Transactions carry so many at most, as the host's do.
const BATCH_MAX: usize = 256;

/// How often the writer lets others run before it begins one, as the host's does.
const GATHERINGS: u32 = 3;

const TABLES: &str = "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA wal_autocheckpoint = 16000; \
    PRAGMA cache_size = -16384; \
    CREATE TABLE deliveries (seq INTEGER PRIMARY KEY, webhook_id TEXT NOT NULL, event_id TEXT NOT NULL, \
    sha256 BLOB NOT NULL, body BLOB NOT NULL); \
    CREATE UNIQUE INDEX by_id ON deliveries (webhook_id); CREATE UNIQUE INDEX by_event ON deliveries (event_id, sha256); \
    CREATE TABLE records (id TEXT PRIMARY KEY, doc TEXT NOT NULL); CREATE TABLE notes (id TEXT PRIMARY KEY, doc TEXT NOT NULL); \
    CREATE TABLE jobs (seq INTEGER PRIMARY KEY, payload TEXT NOT NULL); \
    CREATE TABLE log (seq INTEGER PRIMARY KEY, plugin TEXT NOT NULL, phase TEXT NOT NULL, outcome TEXT NOT NULL);";

/// What is committed for a webhook, in three steps.
enum Step {
    Kept { webhook: String, event: String, sha256: [u8; 32], body: Arc<[u8]>, id: String, doc: Json, payload: String },
    Noted { id: String, doc: String },
    Ended { job: i64, id: String },
}

/// A step and whoever waits for it; the answer is the job's number.
type Waiter = (Step, oneshot::Sender<i64>);

/// How far it is.
#[derive(Debug, Default)]
struct Progress {
    ended: u32,
    /// What went wrong first.
    trouble: Option<String>,
}

/// The program.
pub(crate) struct Floor {
    address: SocketAddr,
    feed: Arc<Feed>,
    sent: u32,
    progress: watch::Receiver<Progress>,
    tasks: JoinSet<()>,
    writer: JoinHandle<()>,
    platform: Platform,
    _folder: TempDir,
}

/// What all connections share.
struct Shared {
    runtime: Runtime,
    plugin: Plugin,
    model: Model,
    secrets: SigningSecrets,
    records: Mutex<HashMap<String, Json>>,
    writer: mpsc::Sender<Waiter>,
    called: SocketAddr,
    /// To it, and free.
    connections: Mutex<Vec<Wire>>,
    progress: watch::Sender<Progress>,
}

impl Floor {
    pub(crate) async fn start(feed: &Arc<Feed>) -> anyhow::Result<Self> {
        let platform = Platform::start().await?;
        let folder = tempfile::tempdir()?;
        let runtime = Runtime::new(RuntimeConfig::default(), ArtifactCache::in_folder(&artifacts_folder()?)?)?;
        let plugin = install(&runtime, "product-tagger").await?;
        let (writer, waiting) = mpsc::channel();
        let connection = opened(&folder.path().join("floor.db"))?;
        let (progress, seen) = watch::channel(Progress::default());
        let told = progress.clone();
        let committing = thread::spawn(move || {
            let committed = commit_all(&connection, &waiting);
            failed(&told, committed.map_err(anyhow::Error::from));
        });
        let secrets = SigningSecrets::new(SECRET, None);
        let (model, called) = (product()?, platform.address);
        let (records, connections) = (Mutex::default(), Mutex::default());
        let shared = Shared { runtime, plugin, model, secrets, records, writer, called, connections, progress };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                open.spawn(async move {
                    let served = serve(stream, &shared).await;
                    failed(&shared.progress, served);
                });
            }
        });
        Ok(Self {
            address,
            feed: Arc::clone(feed),
            sent: 0,
            progress: seen,
            tasks,
            writer: committing,
            platform,
            _folder: folder,
        })
    }

    /// Sends the next webhooks. Answers how long it took until the jobs of all were ended.
    pub(crate) async fn take(&mut self, count: u32) -> anyhow::Result<Duration> {
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let started = Instant::now();
        let sent = load::send(&self.feed, self.address, numbers.clone(), Pace::Saturated).await;
        let is_over = |progress: &Progress| progress.trouble.is_some() || progress.ended >= numbers.end;
        let over = timeout(PATIENCE, self.progress.wait_for(|progress| sent.is_err() || is_over(progress)));
        let over = over.await.context("jobs that never end")??;
        if let Some(trouble) = &over.trouble {
            return Err(anyhow!("{trouble}"));
        }
        drop(over);
        sent?;
        let calls = self.platform.calls();
        ensure!(calls >= u64::from(numbers.end), "{calls} calls of the platform after {} webhooks", numbers.end);
        Ok(started.elapsed())
    }

    /// Ends it, before its folder goes.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        let ended = tokio::task::spawn_blocking(|| self.writer.join()).await?;
        ended.map_err(|_| anyhow!("the writer has panicked"))
    }
}

/// Tells whoever waits what went wrong.
fn failed(progress: &watch::Sender<Progress>, done: anyhow::Result<()>) {
    let Err(error) = done else { return };
    progress.send_modify(|progress| {
        progress.trouble.get_or_insert(format!("{error:#}"));
    });
}

async fn serve(stream: TcpStream, shared: &Arc<Shared>) -> anyhow::Result<()> {
    let (mut wire, mut succeeding) = (Wire::over(stream)?, JoinSet::new());
    while let Some(webhook) = wire.read().await? {
        let (head, body) = (wire.head(&webhook), wire.body(&webhook));
        let is_signed = shared.secrets.signed(body, header(head, "X-Shopify-Hmac-Sha256")?.as_bytes());
        ensure!(is_signed, "a wrong signature");
        let incoming = saved(body)?;
        let before = lock(&shared.records).get(&*incoming.id).cloned().unwrap_or_else(|| Json::object([]));
        let after = canonical(&shared.model, &incoming.values, Mode::Lenient)?.document;
        let doc = merged(&before, &changed_members(&before, &after));
        let record = Some(tracked(&before, &after)?);
        let invocation = Invocation { record, ..Invocation::new("tag-product", Phase::Run, NOW, 1) };
        let ran = shared.runtime.invoke(&shared.plugin, "shop", invocation, Box::new(Nothing)).await;
        let result = ran.result.map_err(|failure| anyhow!("the plugin failed: {failure}"))?;
        let kept = Step::Kept {
            webhook: header(head, "X-Shopify-Webhook-Id")?.to_owned(),
            event: header(head, "X-Shopify-Event-Id")?.to_owned(),
            sha256: digest(body),
            body: compress(body),
            id: incoming.id.clone(),
            doc: doc.clone(),
            payload: format!("{{\"result\":{result},\"doc\":{doc}}}"),
        };
        let job = written(&shared.writer, kept).await?;
        lock(&shared.records).insert(incoming.id.clone(), doc.clone());
        wire.done(&webhook);
        wire.write(ANSWER).await?;
        let shared = Arc::clone(shared);
        succeeding.spawn(async move {
            let succeeded = succeed(&shared, job, incoming.id.clone(), &before, &after, result).await;
            failed(&shared.progress, succeeded);
        });
    }
    succeeding.join_all().await;
    Ok(())
}

async fn succeed(
    shared: &Arc<Shared>,
    job: i64,
    id: String,
    before: &Json,
    after: &Json,
    result: Json,
) -> anyhow::Result<()> {
    let record = Some(tracked(before, after)?);
    let run_result = Some(result);
    let invocation = Invocation { record, run_result, ..Invocation::new("tag-product", Phase::Success, NOW, 1) };
    let session = Box::new(Calls { shared: Arc::clone(shared), id: id.clone() });
    let ended = shared.runtime.invoke(&shared.plugin, "shop", invocation, session).await;
    ended.result.map_err(|failure| anyhow!("the plugin failed: {failure}"))?;
    written(&shared.writer, Step::Ended { job, id }).await?;
    shared.progress.send_modify(|progress| progress.ended += 1);
    Ok(())
}

/// Hands a step over and waits until it is on disk.
async fn written(writer: &mpsc::Sender<Waiter>, step: Step) -> anyhow::Result<i64> {
    let (answer, answered) = oneshot::channel();
    writer.send((step, answer)).ok().context("the writer has ended")?;
    answered.await.context("the writer has failed")
}

fn opened(path: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(TABLES)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Commits whatever waits, as long as there is somebody who might.
fn commit_all(connection: &Connection, waiting: &mpsc::Receiver<Waiter>) -> rusqlite::Result<()> {
    while let Ok(first) = waiting.recv() {
        for _ in 0..GATHERINGS {
            thread::yield_now();
        }
        let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter().take(BATCH_MAX - 1)).collect();
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut answers = Vec::with_capacity(batch.len());
        for (step, answer) in batch {
            answers.push((apply(connection, &step)?, answer));
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        for (job, answer) in answers {
            // Whoever has gone away does not want to know.
            let _ = answer.send(job);
        }
    }
    Ok(())
}

fn apply(connection: &Connection, step: &Step) -> rusqlite::Result<i64> {
    let log = |phase: &str| {
        let statement = "INSERT INTO log (plugin, phase, outcome) VALUES ('product-tagger', ?1, 'ok')";
        connection.prepare_cached(statement)?.execute([phase])
    };
    match step {
        Step::Kept { webhook, event, sha256, body, id, doc, payload } => {
            let delivery = "INSERT INTO deliveries (webhook_id, event_id, sha256, body) VALUES (?1, ?2, ?3, ?4)";
            connection.prepare_cached(delivery)?.execute(params![webhook, event, sha256, body])?;
            let record =
                "INSERT INTO records (id, doc) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc";
            connection.prepare_cached(record)?.execute(params![id, doc.as_str()])?;
            log("run")?;
            connection.prepare_cached("INSERT INTO jobs (payload) VALUES (?1)")?.execute([payload])?;
            Ok(connection.last_insert_rowid())
        }
        Step::Noted { id, doc } => {
            let note = "INSERT INTO notes (id, doc) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc";
            connection.prepare_cached(note)?.execute([id, doc])?;
            Ok(0)
        }
        Step::Ended { job, id } => {
            connection.prepare_cached("DELETE FROM jobs WHERE seq = ?1")?.execute([job])?;
            connection.prepare_cached("DELETE FROM notes WHERE id = ?1")?.execute([id])?;
            log("success")?;
            Ok(*job)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `run` asks for nothing.
struct Nothing;

#[async_trait]
impl Session for Nothing {
    fn log(&mut self, _: LogEntry) {}
}

/// `success` calls the platform, once noted.
struct Calls {
    shared: Arc<Shared>,
    id: String,
}

#[async_trait]
impl Session for Calls {
    fn log(&mut self, _: LogEntry) {}

    async fn shop(&mut self, platform: Which, _: WhichShop) -> Answer<Option<ClientShop>> {
        Ok(Some(ClientShop { platform, id: "1".to_owned(), name: "bench.myshopify.com".to_owned() }))
    }

    async fn call(&mut self, _: &ClientShop, call: PlatformCall) -> Answer<Json> {
        self.made(&call).await.map_err(|error| ActionError::permanent(code::INTERNAL, format!("{error:#}")))
    }
}

impl Calls {
    async fn made(&self, call: &PlatformCall) -> anyhow::Result<Json> {
        let PlatformCall::Graphql { query, variables, .. } = call else { return Err(anyhow!("no GraphQL")) };
        let (query, id) = (Json::of(query)?, self.id.clone());
        written(&self.shared.writer, Step::Noted { id, doc: variables.to_string() }).await?;
        let body = format!("{{\"query\":{query},\"variables\":{variables}}}");
        let free = lock(&self.shared.connections).pop();
        let mut wire = match free {
            Some(wire) => wire,
            None => Wire::connect(self.shared.called).await?,
        };
        wire.write(request(self.shared.called, &body).as_bytes()).await?;
        let answer = wire.read().await?.context("the connection was closed instead of an answer")?;
        ensure!(wire.status() == b"200", "the call was answered {}", String::from_utf8_lossy(wire.status()));
        let json = Json::parse(std::str::from_utf8(wire.body(&answer))?)?;
        wire.done(&answer);
        lock(&self.shared.connections).push(wire);
        Ok(json)
    }
}
