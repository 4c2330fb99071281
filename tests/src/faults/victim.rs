//! The process that bad things happen to: a store, a scheduler, and a load whose effects can be counted.
//!
//! It is told what to do by lines on its standard input and answers by lines on its standard output:
//!
//! | told | does | answers |
//! |---|---|---|
//! | `deliver N` | keeps the webhook of this number | `ack N` when it is on disk, `no N reason` when it is not |
//! | `drain` | waits until no job is left | `drained`, or `stuck reason` |
//! | `check SENT A-B,C` | looks for the effects of these webhooks, of as many as were sent | `right`, or `wrong reason` |
//! | `remove PATH` | deletes a file | `removed` |
//! | the end of input | stops gracefully | |
//!
//! What is done with a webhook is its [`Load`]. To add one: a module with a `delivery`, what runs its jobs, and a `check`.

mod counting;
mod plugins;
mod scripts;

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, mpsc};
use tradewind_host::pipeline::{Clock, Ended};
use tradewind_host::scheduler::{Config, Runs, Scheduler, job_of};
use tradewind_model::{Json, Shop};
use tradewind_store::{Fence, Job, JobState, Location, NewDelivery, Recount, Store, Unit, Usage, compress};

/// The app, and the platform that its webhooks come from.
const APP: &str = "faults";
const PLATFORM: &str = "faults";

/// Shops that webhooks come from. Their partitions differ.
const SHOPS: u32 = 8;

/// How long `drain` waits. One minute: some leases, some retries, and a slow disk; long before every job is read again.
const DRAINED_WITHIN: Duration = Duration::from_mins(1);

/// How long `drain` waits for news. 100 milliseconds: another host's jobs end without a word.
const LOOKED_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What is done with a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// Jobs that count, without a plugin
    Counting,
    /// Real plugins, with all that a call can lead to
    Plugins,
}

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
    /// What it does.
    #[arg(long, value_enum, default_value_t = Load::Counting)]
    pub load: Load,
    /// How long ago the first victim of the run was started, in milliseconds: times that jobs wait for are kept.
    #[arg(long, default_value_t = 0)]
    pub began_ms: u64,
}

/// Time since the run began: nothing here depends on the date.
struct SinceBeginning {
    before: Duration,
    started: Instant,
}

impl Clock for SinceBeginning {
    fn now(&self) -> Duration {
        crate::NOW + self.before + self.started.elapsed()
    }
}

fn now_ms() -> i64 {
    i64::try_from(crate::NOW.as_millis()).unwrap_or_default()
}

/// The shop that the webhook of this number is about.
fn shop_of(number: u32) -> Shop {
    Shop::new(APP, format!("shop-{}", number % SHOPS))
}

/// The `count` of a document; zero when it has none.
fn count_of(doc: &Json) -> i64 {
    doc.member("count").and_then(|count| count.to().ok()).unwrap_or_default()
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
        let idle = Arc::new(Idle::default());
        let scheduler = Arc::new(start(victim, &store, &idle).await?);
        let load = victim.load;
        answer("ready");
        while let Some(order) = orders.recv().await {
            let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
            match word {
                "deliver" => {
                    let number: u32 = rest.parse().context("`deliver` takes a number")?;
                    let (store, scheduler) = (Arc::clone(&store), Arc::clone(&scheduler));
                    tokio::spawn(async move { deliver(load, &store, &scheduler, number).await });
                }
                "drain" => answer_result("drained", "stuck", drain(&store, &scheduler, &idle).await),
                "check" => answer_result("right", "wrong", check(load, &store, rest).await),
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

/// Starts what runs the load's jobs.
async fn start(victim: &Victim, store: &Arc<Store>, idle: &Arc<Idle>) -> anyhow::Result<Scheduler> {
    // It is killed from outside, over and over: no job is to blame.
    let config = Config { lease_ms: victim.lease_ms, deaths_max: u32::MAX, ..Config::new(&*victim.host) };
    let before = Duration::from_millis(victim.began_ms);
    let clock: Arc<dyn Clock> = Arc::new(SinceBeginning { before, started: Instant::now() });
    let (store, idle) = (Arc::clone(store), Arc::clone(idle));
    Ok(match victim.load {
        Load::Counting => {
            let runs = counting::Counting { store: Arc::clone(&store) };
            Scheduler::start(store, Arc::new(Watched { runs, idle }), clock, config)
        }
        Load::Plugins => {
            let runs = plugins::pipeline(&store, Arc::clone(&clock)).await?;
            Scheduler::start(store, Arc::new(Watched { runs, idle }), clock, config)
        }
    })
}

/// Says when nothing runs on this host.
#[derive(Default)]
struct Idle {
    running: AtomicUsize,
    reached: Notify,
}

/// Something that runs, until it ends or is given up.
struct Busy<'a>(&'a Idle);

impl<'a> Busy<'a> {
    fn new(idle: &'a Idle) -> Self {
        idle.running.fetch_add(1, Ordering::Relaxed);
        Self(idle)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.reached.notify_waiters();
        }
    }
}

/// Runs jobs, and notes when there is none.
struct Watched<R> {
    runs: R,
    idle: Arc<Idle>,
}

impl<R: Runs> Runs for Watched<R> {
    async fn run(&self, job: &Job, fence: Fence) -> Ended {
        let _busy = Busy::new(&self.idle);
        self.runs.run(job, fence).await
    }
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

/// A webhook as it arrives.
fn webhook(number: u32, topic: &str, body: &str, lane: String) -> NewDelivery {
    NewDelivery {
        platform: PLATFORM.into(),
        webhook_id: format!("webhook-{number}"),
        topic: topic.to_owned(),
        event_id: Some(format!("event-{number}")),
        body_sha256: Sha256::digest(body).into(),
        triggered_ms: None,
        headers: Json::object([]),
        body: compress(body.as_bytes()),
        body_bytes: body.len() as u64,
        lane: Some(lane),
        depth: 0,
        parked_if_replayed: None,
    }
}

async fn deliver(load: Load, store: &Store, scheduler: &Scheduler, number: u32) {
    let shop = shop_of(number);
    let delivery = match load {
        Load::Counting => counting::delivery(number),
        Load::Plugins => plugins::delivery(number),
    };
    let lane = delivery.lane.clone();
    let unit = Unit { deliveries: vec![delivery], ..Unit::new(shop.clone(), now_ms()) };
    match store.commit(unit).await {
        Ok(committed) => {
            answer(&format!("ack {number}"));
            let jobs = committed.deliveries.iter().filter_map(|ingested| job_of(ingested, lane.clone(), 0));
            scheduler.offer(&shop, jobs.collect());
        }
        Err(error) => answer(&format!("no {number} {}", error.to_string().replace('\n', " "))),
    }
}

async fn drain(store: &Store, scheduler: &Scheduler, idle: &Idle) -> anyhow::Result<()> {
    let until = Instant::now() + DRAINED_WITHIN;
    loop {
        let mut reached = std::pin::pin!(idle.reached.notified());
        reached.as_mut().enable();
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
        // Too late is as good as in time: it is looked again.
        let _ = tokio::time::timeout(LOOKED_AGAIN_AFTER, reached).await;
    }
}

async fn check(load: Load, store: &Store, order: &str) -> anyhow::Result<()> {
    let (sent, ranges) = order.split_once(' ').context("`check` takes a number and ranges")?;
    let (sent, acknowledged) = (sent.parse()?, numbers(ranges)?);
    match load {
        Load::Counting => counting::check(store, sent, &acknowledged).await,
        Load::Plugins => plugins::check(store, sent, &acknowledged).await,
    }?;
    check_usage(store).await
}

/// The counters of each shop's usage are what a recount finds, however often the process was killed.
async fn check_usage(store: &Store) -> anyhow::Result<()> {
    for shop in store.shops_with_usage(None, 1_000).await? {
        let Recount { counted, drift, .. } = store.count_usage(&shop).await?;
        ensure!(drift == Usage::default(), "`{shop}` keeps {counted:?}, its counters differ by {drift:?}");
    }
    Ok(())
}

/// Reads `1-5,7`.
fn numbers(ranges: &str) -> anyhow::Result<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for range in ranges.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<u32>()?..=last.parse::<u32>()?);
    }
    Ok(numbers)
}

/// The address of a SQLite store in this folder.
pub(super) fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("faults.db").display())
}
