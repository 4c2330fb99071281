//! A host without its edges: a store, the shared sandbox, an app with plugins, and a clock that only a test moves.
//!
//! `deliver` takes a webhook in as the inbox does, `drain` does every job whose time has come, in the order of their numbers
//! and lanes, as a scheduler would that has one worker. A test fails that stops while `next`, or `drain`, still finds such
//! jobs: what counts is what the last of these calls saw, because the queue cannot be read when the host is dropped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tradewind_host::pipeline::{App, Clients, Clock, Ended, Installed, LogSink, Pipeline, Source, lane_of};
use tradewind_model::schema::{Model, Schema};
use tradewind_model::{Json, RecordKey, Shop};
use tradewind_platform::mapping::{Children, Family, Incoming, Mapper, Report, Saved, Unmappable, Unmapped};
use tradewind_runtime::Plugin;
use tradewind_runtime::session::LogEntry;
use tradewind_store::{
    Fence, Ingested, Job, JobFilter, JobState, LoggedInvocation, NewDelivery, NewJob, Partition, Store, Stored, Unit,
};

use crate::plain::PlainMapper;
use crate::stores::{NOW_MS, Place, delivery};

/// The app of the tests.
pub const APP: &str = "tagger";

/// Milliseconds that a query may run here. 60,000: tests run side by side on a busy machine.
const QUERY_MS_MAX: u64 = 60_000;

/// Who holds the partitions.
const OWNER: &str = "test";

/// Deliveries so far, of all tests: no two have the same id.
static DELIVERIES: AtomicU32 = AtomicU32::new(0);

/// What the app's models are unless a test says otherwise.
pub const MODELS: &str = r#"[
    {"name": "shopify/product", "fields": [
        {"name": "title", "type": "string"},
        {"name": "price", "type": "number"},
        {"name": "stock", "type": "integer"},
        {"name": "live", "type": "boolean"},
        {"name": "published_at", "type": "date-time"},
        {"name": "variants", "type": "has-many", "model": "shopify/product-variant", "by": "product"}]},
    {"name": "shopify/product-variant", "fields": [
        {"name": "product", "type": "belongs-to", "model": "shopify/product", "index": true},
        {"name": "title", "type": "string"}]},
    {"name": "thing", "fields": [
        {"name": "colour", "type": "string", "index": true},
        {"name": "size", "type": "integer"},
        {"name": "parts", "type": "has-many", "model": "part", "by": "thing"}]},
    {"name": "part", "fields": [
        {"name": "thing", "type": "belongs-to", "model": "thing"},
        {"name": "name", "type": "string", "required": true}]},
    {"name": "badge", "fields": [
        {"name": "code", "type": "string", "unique": true},
        {"name": "holder", "type": "string", "required": true}]},
    {"name": "note"}
]"#;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

type Hook = Arc<dyn Fn(&str) + Send + Sync>;

/// What plugins logged; and what a test does at that moment.
#[derive(Default)]
pub struct TestLog {
    entries: Mutex<Vec<String>>,
    hook: Mutex<Option<Hook>>,
}

impl LogSink for TestLog {
    fn log(&self, _: &Source<'_>, entry: LogEntry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry.message.clone());
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(&entry.message);
        }
    }
}

/// [`PlainMapper`], and the same for variants; nobody mirrors other topics.
struct TestMapper;

impl Mapper for TestMapper {
    fn map(&self, report: &Report<'_>) -> Result<Vec<Incoming>, Unmapped> {
        let (things, _) = report.topic.split_once('/').unwrap_or_default();
        if !matches!(things, "products" | "variants" | "unknown") {
            return Ok(Vec::new());
        }
        let mut incoming = PlainMapper.map(report)?;
        for change in &mut incoming {
            let (Incoming::Saved(Saved { model, .. }) | Incoming::Deleted { model, .. }) = change;
            match things {
                "variants" => "shopify/product-variant".clone_into(model),
                "unknown" => "shopify/unknown".clone_into(model),
                _ => {}
            }
        }
        Ok(incoming)
    }

    fn family(&self, _: &Report<'_>, _: &Saved, _: &Children) -> Result<Family, Unmappable> {
        Ok(Family::default())
    }
}

/// The host. One test's.
pub struct TestHost {
    /// Where the data is.
    pub store: Arc<Store>,
    /// What does the work.
    pub pipeline: Arc<Pipeline>,
    log: Arc<TestLog>,
    clock: Arc<TestClock>,
    /// Jobs that are left on purpose, or all when the test has looked itself.
    forgiven: Mutex<bool>,
    /// What was there when the next job was looked for last; nothing when there was none.
    waiting: Mutex<Vec<String>>,
}

impl TestHost {
    /// A host on an empty database, with an app that has [`MODELS`] and these plugins.
    pub async fn new(place: &Place, plugins: &[&str]) -> Self {
        let mut installed = HashMap::new();
        for name in plugins {
            let plugin = crate::installed(name).await.unwrap_or_else(|error| panic!("{error:#}"));
            installed.insert(*name, plugin);
        }
        let host = Self::bare(place).await;
        host.install(APP, MODELS, installed.into_iter().collect()).await;
        host
    }

    /// A host without an app.
    pub async fn bare(place: &Place) -> Self {
        Self::connected(place, None).await
    }

    /// A host without an app, whose plugins reach platforms by these clients.
    pub async fn connected(place: &Place, clients: Option<Arc<dyn Clients>>) -> Self {
        let store = Arc::new(place.open().await.with_query_ms_max(QUERY_MS_MAX));
        let clock = Arc::new(TestClock(AtomicI64::new(NOW_MS)));
        let log = Arc::new(TestLog::default());
        let mappers: HashMap<String, Arc<dyn Mapper>> = [("shopify".to_owned(), Arc::new(TestMapper) as _)].into();
        let runtime = Arc::clone(crate::runtime());
        let pipeline =
            Pipeline::new(Arc::clone(&store), runtime, Arc::clone(&clock) as _, Arc::clone(&log) as _, 7, mappers);
        let pipeline = match clients {
            Some(clients) => pipeline.with_clients(clients),
            None => pipeline,
        };
        let pipeline = Arc::new(pipeline);
        for partition in store.partitions().await.unwrap_or_else(|error| panic!("{error}")) {
            store.take_partition(&partition, OWNER).await.unwrap_or_else(|error| panic!("{error}"));
        }
        Self { store, pipeline, log, clock, forgiven: Mutex::new(false), waiting: Mutex::default() }
    }

    /// Deploys an app.
    pub async fn install(&self, app: &str, models: &str, plugins: Vec<(&str, Arc<Plugin>)>) {
        let models: Vec<Model> = serde_json::from_str(models).unwrap_or_else(|error| panic!("{error}: {models}"));
        let schema = Schema::new(models).unwrap_or_else(|problems| panic!("{problems:#?}"));
        self.store.deploy(app, &schema, self.now_ms()).await.unwrap_or_else(|error| panic!("{error}"));
        let installed = plugins.into_iter().map(|(name, plugin)| Installed {
            name: name.to_owned(),
            version: "1".to_owned(),
            plugin,
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
        });
        self.pipeline.install(App::new(app, schema, installed.collect()));
    }

    /// Does something whenever a plugin logs: between a plugin's reads and its commit.
    pub fn on_log(&self, hook: impl Fn(&str) + Send + Sync + 'static) {
        *self.log.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// What plugins logged so far.
    pub fn logged(&self) -> Vec<String> {
        self.log.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in a webhook of the usual shop with a delivery id of its own. Answers the delivery's number.
    pub async fn deliver(&self, topic: &str, body: &Value) -> i64 {
        self.deliver_to(&crate::stores::shop(), topic, body.to_string().as_bytes(), |_| ()).await
    }

    /// Takes in a webhook with whatever is special about it.
    pub async fn deliver_to(
        &self,
        shop: &Shop,
        topic: &str,
        body: &[u8],
        special: impl FnOnce(&mut NewDelivery),
    ) -> i64 {
        let number = DELIVERIES.fetch_add(1, Ordering::Relaxed);
        let id = serde_json::from_slice::<Value>(body).ok().map(|body| body["id"].to_string());
        let mut new = NewDelivery {
            topic: topic.to_owned(),
            triggered_ms: None,
            lane: id.map(|id| lane_of("shopify/product", id.trim_matches('"'))),
            ..delivery(&format!("delivery-{number}"), body)
        };
        special(&mut new);
        let unit = Unit { deliveries: vec![new], ..Unit::new(shop.clone(), self.now_ms()) };
        match self.commit(unit).await.deliveries[0] {
            Ingested::New { seq, .. } => seq,
            other => panic!("{other:?}"),
        }
    }

    /// Enqueues a job as somebody outside of the host does.
    pub async fn enqueue(&self, shop: &Shop, job: NewJob) -> i64 {
        let unit = Unit { jobs: vec![job], ..Unit::new(shop.clone(), self.now_ms()) };
        self.commit(unit).await.jobs[0].unwrap_or_else(|| panic!("there was such a job"))
    }

    async fn commit(&self, unit: Unit) -> tradewind_store::Committed {
        self.store.commit(unit).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Does every job whose time has come, until there is none. Answers how each attempt ended.
    pub async fn drain(&self) -> Vec<Ended> {
        let mut ends = Vec::new();
        while let Some(job) = self.next().await {
            ends.push(self.run(&job).await);
            assert!(ends.len() < 10_000, "the jobs do not come to an end: {:?}", ends.last());
        }
        ends
    }

    /// Does every job whose time has come, so many beside one another, and those of one lane in their order. Answers how each
    /// attempt ended.
    pub async fn drain_beside(&self, at_a_time: usize) -> Vec<Ended> {
        let partitions = self.store.partitions().await.unwrap_or_else(|error| panic!("{error}"));
        let epochs: Arc<HashMap<_, _>> = Arc::new(partitions.iter().map(|one| (one.id, one.epoch)).collect());
        let mut ends = Vec::new();
        loop {
            let jobs = self.jobs().await.into_iter();
            let due = jobs.filter(|job| job.state != JobState::Parked && job.run_at_ms <= self.now_ms());
            let mut lanes: BTreeMap<(i64, Option<String>), Vec<Job>> = BTreeMap::new();
            let mut first = HashMap::new();
            for job in due {
                let lane = job.lane.clone().map(|lane| format!("{} {lane}", job.shop));
                // In the order of the first job of each lane.
                let place = lane.as_ref().map_or(job.seq, |lane| *first.entry(lane.clone()).or_insert(job.seq));
                lanes.entry((place, lane)).or_default().push(job);
            }
            if lanes.is_empty() {
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return ends;
            }
            let mut running = tokio::task::JoinSet::new();
            for lane in lanes.into_values() {
                if running.len() >= at_a_time
                    && let Some(ended) = running.join_next().await
                {
                    ends.extend(ended.unwrap_or_else(|error| panic!("{error}")));
                }
                let (pipeline, epochs) = (Arc::clone(&self.pipeline), Arc::clone(&epochs));
                running.spawn(async move {
                    let mut ends = Vec::new();
                    for job in lane {
                        let part = job.partition();
                        let fence = Fence { part, epoch: epochs.get(&part).copied().unwrap_or_default() };
                        ends.push(pipeline.run(&job, fence).await);
                        if !matches!(ends.last(), Some(Ended::Done(_))) {
                            break;
                        }
                    }
                    ends
                });
            }
            while let Some(ended) = running.join_next().await {
                ends.extend(ended.unwrap_or_else(|error| panic!("{error}")));
            }
        }
    }

    /// The next job whose time has come.
    pub async fn next(&self) -> Option<Job> {
        let jobs = self.jobs().await;
        let mut lanes = HashSet::new();
        let first_of_lane =
            |job: &&Job| job.lane.as_ref().is_none_or(|lane| lanes.insert((job.shop.clone(), lane.clone())));
        let next = jobs.iter().filter(|job| job.state != JobState::Parked).filter(first_of_lane);
        let next = next.filter(|job| job.run_at_ms <= self.now_ms()).min_by_key(|job| (job.rank, job.seq)).cloned();
        let waiting = if next.is_some() { jobs.iter().map(|job| format!("{job:?}")).collect() } else { Vec::new() };
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
        next
    }

    /// Makes one attempt at a job, under the lease that is held now.
    pub async fn run(&self, job: &Job) -> Ended {
        let partitions = self.store.partitions().await.unwrap_or_else(|error| panic!("{error}"));
        let of_job = |partition: &&Partition| partition.id == job.partition();
        let epoch = partitions.iter().find(of_job).map(|partition| partition.epoch);
        self.pipeline.run(job, Fence { part: job.partition(), epoch: epoch.unwrap_or_default() }).await
    }

    /// Moves the clock.
    pub fn move_to(&self, ms: i64) {
        self.clock.0.store(ms, Ordering::Relaxed);
    }

    /// The clock's time.
    pub fn now_ms(&self) -> i64 {
        self.clock.0.load(Ordering::Relaxed)
    }

    /// All unfinished jobs, in order.
    pub async fn jobs(&self) -> Vec<Job> {
        crate::stores::jobs(&self.store).await
    }

    /// The only unfinished job, which has to be parked: why, and with which error.
    pub async fn parked(&self) -> (String, Value) {
        let jobs = self.jobs().await;
        let [job] = jobs.as_slice() else { panic!("not one job: {jobs:?}") };
        assert_eq!(job.state, JobState::Parked, "{job:?}");
        let error = job.error.as_ref().map_or(Value::Null, value);
        (job.reason.clone().unwrap_or_default(), error)
    }

    /// Lets parked jobs run again.
    pub async fn retry(&self) {
        self.store.retry_jobs(&JobFilter::default()).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// A record of the usual shop as it is stored.
    pub async fn stored(&self, model: &str, id: &str) -> Option<Stored> {
        crate::stores::record(&self.store, &RecordKey::new(model, id)).await
    }

    /// The document of a record of the usual shop; `null` when there is none.
    pub async fn record(&self, model: &str, id: &str) -> Value {
        self.stored(model, id).await.map_or(Value::Null, |stored| value(&stored.doc))
    }

    /// What ran for a delivery, in order: `plugin/action phase outcome`, or the outcome alone.
    pub async fn log_of(&self, delivery: i64) -> Vec<String> {
        let entries = self.entries_of(delivery).await;
        let shown = entries.into_iter().map(|entry| match (entry.plugin, entry.action, entry.phase) {
            (Some(plugin), Some(action), Some(phase)) => format!("{plugin}/{action} {phase} {}", entry.outcome),
            _ => entry.outcome,
        });
        shown.collect()
    }

    /// The log's entries for a delivery, in order.
    pub async fn entries_of(&self, delivery: i64) -> Vec<LoggedInvocation> {
        let entries = self.store.invocations_of_delivery(delivery, 1_000).await;
        entries.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the `run` of an action returned the last time, as the log has it.
    pub async fn result_of(&self, delivery: i64, action: &str) -> Value {
        let entries = self.entries_of(delivery).await;
        let of_action = |entry: &&LoggedInvocation| {
            entry.action.as_deref() == Some(action) && entry.phase.as_deref() == Some("run")
        };
        let entry = entries.iter().rev().find(of_action);
        let entry = entry.unwrap_or_else(|| panic!("`{action}` did not run: {entries:#?}"));
        entry.detail.as_ref().map_or(Value::Null, value)
    }

    /// Says that jobs are left on purpose.
    pub fn leave_jobs(&self) {
        *self.forgiven.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        let forgiven = *self.forgiven.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(forgiven || waiting.is_empty() || std::thread::panicking(), "jobs are left: {waiting:#?}");
    }
}

/// JSON as a value to compare.
pub fn value(json: &Json) -> Value {
    json.to().unwrap_or_else(|error| panic!("{error}: {json}"))
}
