//! The process that bad things happen to: a store, a scheduler, and a job whose effects can be counted.
//!
//! It is told what to do by lines on its standard input and answers by lines on its standard output:
//!
//! | told | does | answers |
//! |---|---|---|
//! | `deliver N` | keeps the webhook of this number | `ack N` when it is on disk, `no N reason` when it is not |
//! | `drain` | waits until no job is left | `drained`, or `stuck reason` |
//! | `check A-B,C` | looks for the effects of these webhooks | `right`, or `wrong reason` |
//! | `remove PATH` | deletes a file | `removed` |
//! | the end of input | stops gracefully | |
//!
//! A webhook's job adds one to a counter of its record and writes that it was here; a second job, enqueued in the same
//! commit, adds one to another counter and writes that too. If one of these happened twice, or one without the other, the
//! sums differ. Before that it notes the epoch of its lease, in a commit that nothing but the lease protects: an epoch that
//! goes down was written by a host that had lost it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tradewind_host::pipeline::{Clock, Ended};
use tradewind_host::scheduler::{Config, Runs, Scheduler, job_of};
use tradewind_model::{Json, RecordKey, Shop};
use tradewind_store::{
    CommitError, Fence, Finish, How, Job, JobKind, JobState, Location, NewDelivery, NewJob, Read, Store, Unit, Write,
    compress,
};

/// Shops that webhooks come from. Their partitions differ.
const SHOPS: u32 = 8;

/// Records of each shop that webhooks are about.
const RECORDS: u32 = 5;

/// How long `drain` waits. 20 seconds: some leases, some polls, and a slow disk; long before every job is read again.
const DRAINED_WITHIN: Duration = Duration::from_secs(20);

/// How a victim is started.
#[derive(Clone, Debug, clap::Args)]
pub struct Victim {
    /// The store's address.
    #[arg(long)]
    pub store: String,
    /// The name that it takes leases under.
    #[arg(long)]
    pub host: String,
    /// How long its leases last, in milliseconds.
    #[arg(long, default_value_t = 150)]
    pub lease_ms: u64,
}

/// Time since it was started: nothing here depends on the date.
struct SinceStart(Instant);

impl Clock for SinceStart {
    fn now(&self) -> Duration {
        crate::NOW + self.0.elapsed()
    }
}

fn now_ms() -> i64 {
    i64::try_from(crate::NOW.as_millis()).unwrap_or_default()
}

/// The shop and the record that the webhook of this number is about.
fn place_of(number: u32) -> (Shop, u32) {
    (Shop::new("faults", format!("shop-{}", number % SHOPS)), number / SHOPS % RECORDS)
}

fn seen(number: u32) -> RecordKey {
    RecordKey::new("seen", number.to_string())
}

fn followed(number: u32) -> RecordKey {
    RecordKey::new("followed", number.to_string())
}

/// Does what it is told until its input ends.
pub fn run(victim: &Victim) -> anyhow::Result<()> {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (told, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    executor.block_on(async {
        let location = Location::parse(&victim.store)?;
        Store::migrate(&location).await?;
        let store = Arc::new(Store::open(&location).await?);
        let config = Config { lease_ms: victim.lease_ms, ..Config::new(&*victim.host) };
        let runs = Arc::new(Counting { store: Arc::clone(&store) });
        let clock = Arc::new(SinceStart(Instant::now()));
        let scheduler = Arc::new(Scheduler::start(Arc::clone(&store), runs, clock, config));
        answer("ready");
        while let Some(order) = orders.recv().await {
            let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
            match word {
                "deliver" => {
                    let number: u32 = rest.parse().context("`deliver` takes a number")?;
                    let (store, scheduler) = (Arc::clone(&store), Arc::clone(&scheduler));
                    tokio::spawn(async move { deliver(&store, &scheduler, number).await });
                }
                "drain" => answer_result("drained", "stuck", drain(&store, &scheduler).await),
                "check" => answer_result("right", "wrong", check(&store, &numbers(rest)?).await),
                "remove" => answer_result("removed", "wrong", std::fs::remove_file(rest).map_err(Into::into)),
                other => bail!("`{other}` is no order"),
            }
        }
        if let Some(scheduler) = Arc::into_inner(scheduler) {
            scheduler.stop(Duration::from_secs(5)).await;
        }
        Ok(())
    })
}

fn answer(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: the next order will not come either.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn answer_result(good: &str, bad: &str, result: anyhow::Result<()>) {
    match result {
        Ok(()) => answer(good),
        Err(error) => answer(&format!("{bad} {}", format!("{error:#}").replace('\n', " "))),
    }
}

async fn deliver(store: &Store, scheduler: &Scheduler, number: u32) {
    let (shop, record) = place_of(number);
    let body = format!("{{\"number\":{number},\"text\":\"{}\"}}", "straw ".repeat(1 + number as usize % 400));
    let lane = Some(format!("record {record}"));
    let mut unit = Unit::new(shop.clone(), now_ms());
    unit.deliveries.push(NewDelivery {
        platform: "faults".into(),
        webhook_id: format!("webhook-{number}"),
        topic: "records/update".to_owned(),
        event_id: Some(format!("event-{number}")),
        body_sha256: Sha256::digest(&body).into(),
        triggered_ms: None,
        headers: Json::object([]),
        body: compress(body.as_bytes()),
        body_bytes: body.len() as u64,
        lane: lane.clone(),
        depth: 0,
    });
    match store.commit(unit).await {
        Ok(committed) => {
            answer(&format!("ack {number}"));
            let jobs = committed.deliveries.iter().filter_map(|ingested| job_of(ingested, lane.clone(), 0));
            scheduler.offer(&shop, jobs.collect());
        }
        Err(error) => answer(&format!("no {number} {}", error.to_string().replace('\n', " "))),
    }
}

async fn drain(store: &Store, scheduler: &Scheduler) -> anyhow::Result<()> {
    let until = Instant::now() + DRAINED_WITHIN;
    loop {
        // The store may be away for a moment.
        let left = store.count_jobs(None, None).await;
        if let Ok(left) = &left {
            let parked = left.iter().find(|count| count.state == JobState::Parked);
            ensure!(parked.is_none(), "jobs are parked: {parked:?}");
            if left.is_empty() {
                return Ok(());
            }
        }
        ensure!(Instant::now() < until, "jobs are left: {left:?}; {:?}", scheduler.stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads `1-5,7`.
fn numbers(ranges: &str) -> anyhow::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in ranges.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<u32>()?..=last.parse::<u32>()?);
    }
    Ok(numbers)
}

/// Whether the effects of these webhooks, all there ever were but for those that nobody acknowledged, are there once.
async fn check(store: &Store, acknowledged: &[u32]) -> anyhow::Result<()> {
    let most = acknowledged.iter().max().copied().unwrap_or_default() + 10_000;
    let mut counted: BTreeMap<(Shop, u32), (i64, i64)> = BTreeMap::new();
    for shop in (0..SHOPS).map(|number| place_of(number).0) {
        let of_shop: Vec<u32> = (0..most).filter(|number| place_of(*number).0 == shop).collect();
        for some in of_shop.chunks(1_000) {
            let keys: Vec<_> = some.iter().flat_map(|number| [seen(*number), followed(*number)]).collect();
            let found = store.records(&shop, &keys).await?;
            for (number, found) in some.iter().zip(found.chunks_exact(2)) {
                let both = (found[0].is_some(), found[1].is_some());
                ensure!(both.0 == both.1, "webhook {number} left {both:?}: half of its effects");
                let wanted = acknowledged.binary_search(number).is_ok();
                ensure!(both.0 || !wanted, "webhook {number} was acknowledged and left nothing");
                let counts = counted.entry((shop.clone(), place_of(*number).1)).or_default();
                *counts = (counts.0 + i64::from(both.0), counts.1 + i64::from(both.1));
            }
        }
    }
    for shop in (0..SHOPS).map(|number| place_of(number).0) {
        let noted = store.records(&shop, &[epoch_key()]).await?.pop().flatten();
        let went_down = noted.and_then(|noted| noted.doc.member("wentDown")?.to::<bool>().ok());
        ensure!(went_down != Some(true), "a host wrote for {shop} after it had lost its lease");
    }
    for ((shop, record), expected) in counted {
        let keys = [counter("count", record), counter("follow-count", record)];
        let found = store.records(&shop, &keys).await?;
        let count = |at: usize| found[at].as_ref().map_or(0, |stored| count_of(&stored.doc));
        let counts = (count(0), count(1));
        ensure!(
            counts == expected,
            "record {record} of {shop} counts {counts:?}, and {expected:?} webhooks were there"
        );
    }
    Ok(())
}

fn epoch_key() -> RecordKey {
    RecordKey::new("epoch", "1")
}

fn counter(model: &str, record: u32) -> RecordKey {
    RecordKey::new(model, record.to_string())
}

fn count_of(doc: &Json) -> i64 {
    doc.member("count").and_then(|count| count.to().ok()).unwrap_or_default()
}

/// Runs the jobs of a victim.
struct Counting {
    store: Arc<Store>,
}

impl Runs for Counting {
    async fn run(&self, job: &Job, fence: Fence) -> Ended {
        for _ in 0..10 {
            match self.attempt(job, &fence).await {
                Ok(ended) => return ended,
                Err(Some(CommitError::Conflict { .. })) => {}
                Err(Some(CommitError::Fenced { .. })) => return Ended::Fenced,
                Err(Some(CommitError::JobGone { .. })) => return Ended::Gone,
                Err(error) => return Ended::Unknown(format!("{error:?}")),
            }
        }
        Ended::Unknown("each commit was in conflict".to_owned())
    }
}

impl Counting {
    async fn attempt(&self, job: &Job, fence: &Fence) -> Result<Ended, Option<CommitError>> {
        let number = self.number_of(job).await.map_err(|_| None)?;
        let (shop, record) = place_of(number);
        let (mark, count) = match job.kind {
            JobKind::Delivery => (seen(number), counter("count", record)),
            _ => (followed(number), counter("follow-count", record)),
        };
        let stored = self.store.record(&shop, &count).await.map_err(|_| None)?;
        self.note_epoch(&shop, fence).await?;
        // As long as a plugin would take: something may happen to the process here.
        tokio::time::sleep(Duration::from_millis(u64::from(number) % 4)).await;
        let next = stored.as_ref().map_or(0, |stored| count_of(&stored.doc)) + 1;
        let mut unit = Unit::new(shop, now_ms());
        let version = stored.map(|stored| stored.version);
        unit.reads.push(Read { key: count.clone(), version });
        let doc = |text: String| Json::parse(text).ok();
        unit.writes.push(Write {
            key: count,
            expected: version,
            doc: doc(format!("{{\"count\":{next}}}")),
            platform_updated_us: None,
        });
        unit.writes.push(Write { key: mark, expected: None, doc: doc("{}".to_owned()), platform_updated_us: None });
        if job.kind == JobKind::Delivery {
            let follow = NewJob {
                lane: Some(format!("follow {record}")),
                ..NewJob::new(JobKind::Action, doc(number.to_string()))
            };
            unit.jobs.push(follow);
        }
        (unit.fence, unit.finish) = (Some(fence.clone()), Some(Finish { job: job.seq, how: How::Done }));
        let jobs = unit.jobs.clone();
        let committed = self.store.commit(unit).await.map_err(Some)?;
        let made = committed.jobs.into_iter().zip(jobs);
        Ok(Ended::Done(made.filter_map(|(seq, job)| Some((seq?, job))).collect()))
    }

    async fn note_epoch(&self, shop: &Shop, fence: &Fence) -> Result<(), Option<CommitError>> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let stored = self.store.record(shop, &epoch_key()).await.map_err(|_| None)?;
        let noted = stored.as_ref().map_or(0, |stored| count_of(&stored.doc));
        let went_down = noted > fence.epoch;
        if noted == fence.epoch {
            return Ok(());
        }
        let mut unit = Unit::new(shop.clone(), now_ms());
        unit.writes.push(Write {
            key: epoch_key(),
            expected: stored.map(|stored| stored.version),
            doc: Json::parse(format!("{{\"count\":{},\"wentDown\":{went_down}}}", fence.epoch)).ok(),
            platform_updated_us: None,
        });
        unit.fence = Some(fence.clone());
        match self.store.commit(unit).await {
            // Another job of the shop has noted it meanwhile.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(Some(error)),
        }
    }

    async fn number_of(&self, job: &Job) -> anyhow::Result<u32> {
        if let Some(payload) = &job.payload {
            return Ok(payload.to()?);
        }
        let delivery = self.store.delivery(job.delivery_seq.context("no delivery")?).await?;
        let body = Json::parse(String::from_utf8(delivery.context("no body")?.body)?)?;
        Ok(body.member("number").context("no number")?.to()?)
    }
}

/// The address of a SQLite store in this folder.
pub(super) fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("faults.db").display())
}
