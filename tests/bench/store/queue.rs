//! Jobs that do nothing: what the queue itself costs, beside graphile-worker, whatever its length, whoever else waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tradewind_host::pipeline::{Clock, Ended};
use tradewind_host::scheduler::{Config, Runs, Scheduler};
use tradewind_model::Shop;
use tradewind_store::{Engine, Fence, Finish, How, Job, JobKind, NewJob, Store, Unit};
use tradewind_tests::NOW;

use super::graphile::{self, Form};
use super::place::{ENGINES, Places, name, now_ms, shop};
use super::table::{Table, time};
use super::turns::{Effort, Rates, percentile};

/// Jobs in one unit when the queue is filled.
const FILL: u32 = 5_000;

/// Time that goes on from when everything happens.
pub(crate) struct Running(Instant);

impl Running {
    pub(crate) fn from_now() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Running {
    fn now(&self) -> Duration {
        NOW + self.0.elapsed()
    }
}

/// Finishes each job in a commit, and says so.
struct NoOp {
    store: Arc<Store>,
    done: AtomicU32,
    first: Mutex<Option<Instant>>,
    wanted: u32,
    all: Notify,
    /// The jobs of this shop are told one by one, when they begin and when they have ended.
    watched: Option<(Shop, mpsc::UnboundedSender<(i64, Instant)>)>,
}

impl NoOp {
    fn new(store: &Arc<Store>, wanted: u32) -> Self {
        let (done, first, all) = (AtomicU32::new(0), Mutex::new(None), Notify::new());
        Self { store: Arc::clone(store), done, first, wanted, all, watched: None }
    }
}

impl Runs for NoOp {
    async fn run(&self, job: &Job, fence: Fence) -> Ended {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        if let Some((_, told)) = self.watched.as_ref().filter(|(shop, _)| *shop == job.shop) {
            // Nobody listens any more at the end of a measurement.
            let _ = told.send((job.seq, Instant::now()));
        }
        let mut unit = Unit::new(job.shop.clone(), now_ms());
        (unit.fence, unit.finish) = (Some(fence), Some(Finish { job: job.seq, how: How::Done }));
        let ended = match self.store.commit(unit).await {
            Ok(_) => Ended::Done(Vec::new()),
            Err(error) => Ended::Unknown(error.to_string()),
        };
        if self.done.fetch_add(1, Ordering::Relaxed) + 1 == self.wanted {
            self.all.notify_one();
        }
        ended
    }
}

/// Queues so many jobs, each of one of 4,096 records in 64 shops, or all of one shop.
async fn fill(store: &Store, count: u32, only: Option<&Shop>) -> anyhow::Result<()> {
    let mut left = count;
    let mut at = 0;
    while left > 0 {
        let shop = only.cloned().unwrap_or_else(|| shop(at));
        let mut unit = Unit::new(shop, now_ms());
        let many = if only.is_some() { FILL } else { FILL.min(count.div_ceil(64)) }.min(left);
        unit.jobs = (0..many)
            .map(|number| NewJob {
                lane: Some(format!("shopify/product {}", (at * 64 + number) % 4_096)),
                ..NewJob::new(JobKind::Call, None)
            })
            .collect();
        store.commit(unit).await?;
        (left, at) = (left - many, at + 1);
    }
    Ok(())
}

/// Runs what is queued until `wanted` jobs are done; answers how long that took from the first on.
async fn drain(store: &Arc<Store>, wanted: u32) -> anyhow::Result<Duration> {
    let runs = Arc::new(NoOp::new(store, wanted));
    let scheduler = Scheduler::start(Arc::clone(store), Arc::clone(&runs), Running::from_now(), Config::new("bench"));
    runs.all.notified().await;
    let first = runs.first.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now);
    let took = first.elapsed();
    scheduler.stop(Duration::from_secs(10)).await;
    Ok(took)
}

pub(crate) async fn jobs(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("Jobs that do nothing (in order for each of 4,096 records, each completed in a commit)");
    let count = effort.of(50_000);
    let (mut node, mut missing) = (Rates::default(), None);
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let mut ours = Rates::default();
        for _ in 0..effort.rounds {
            let (place, store) = places.store(engine).await?;
            fill(&store, count, None).await?;
            places.settle(&place)?;
            ours.add(count, drain(&store, count).await?);
            if engine == Engine::Postgres && missing.is_none() {
                let place = places.empty(engine)?;
                match graphile::throughput(Form::Tuned, &place.url, count) {
                    Ok(run) => {
                        node.add_rate(run.jobs_per_second);
                        anyhow::ensure!(!run.took.is_zero(), "graphile-worker took no time at all");
                    }
                    Err(error) => missing = Some(format!("{error:#}")),
                }
            }
        }
        if engine == Engine::Postgres {
            match &missing {
                Some(reason) => table.skipped("graphile-worker, tuned, without order", reason),
                None => table.row("graphile-worker, tuned, without order", &node.shown().0, &node.shown().1, ""),
            }
        }
        let compared = if engine == Engine::Postgres && missing.is_none() {
            format!("{:.2} × graphile-worker", ours.times(&node))
        } else {
            String::new()
        };
        table.row(name(engine), &ours.shown().0, &ours.shown().1, &compared);
    }
    pick_up(places, effort, table).await
}

/// From before a job is committed until it runs, one at a time.
async fn pick_up(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    let samples = effort.of(1_000);
    let place = places.empty(Engine::Postgres)?;
    for form in [Form::Tuned, Form::Untuned] {
        let what = format!("pick-up: graphile-worker, {}", if form == Form::Tuned { "tuned" } else { "as it comes" });
        let place = if form == Form::Tuned { &place } else { &places.empty(Engine::Postgres)? };
        match graphile::latency(form, &place.url, samples) {
            Ok(run) => {
                let compared = format!("p99 {}, longest {}", time(run.p99), time(run.max));
                table.row(&what, &time(run.p50), "", &compared);
            }
            Err(error) => table.skipped(&what, &format!("{error:#}")),
        }
    }
    for engine in ENGINES {
        let (_place, store) = places.store(engine).await?;
        let mut waits = watched(&store, samples, Duration::ZERO).await?;
        let what = format!("pick-up: {}, committed and begun", name(engine));
        let p99 = time(percentile(&mut waits, 0.99));
        table.row(&what, &time(percentile(&mut waits, 0.5)), "", &format!("p99 {p99}"));
    }
    Ok(())
}

/// Commits jobs of one shop, one after the other with a pause, and answers how long each waited until it ran.
async fn watched(store: &Arc<Store>, samples: u32, pause: Duration) -> anyhow::Result<Vec<Duration>> {
    let small = Shop::new("bench", "small");
    let (told, mut begun) = mpsc::unbounded_channel();
    let runs = NoOp { watched: Some((small.clone(), told)), ..NoOp::new(store, u32::MAX) };
    let scheduler = Scheduler::start(Arc::clone(store), Arc::new(runs), Running::from_now(), Config::new("bench"));
    while scheduler.stats().partitions < 64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut waits = Vec::new();
    let warm_up = samples / 10 + 1;
    for number in 0..samples + warm_up {
        tokio::time::sleep(pause).await;
        let handed_over = Instant::now();
        let job = NewJob::new(JobKind::Call, None);
        let mut unit = Unit::new(small.clone(), now_ms());
        unit.jobs = vec![job.clone()];
        let committed = store.commit(unit).await?;
        let Some(seq) = committed.jobs.first().copied().flatten() else { anyhow::bail!("a job without a number") };
        scheduler.offer(&small, vec![(seq, job)]);
        while let Some((begun, at)) = begun.recv().await {
            if begun == seq {
                if number >= warm_up {
                    waits.push(at.duration_since(handed_over));
                }
                break;
            }
        }
    }
    scheduler.stop(Duration::from_secs(10)).await;
    Ok(waits)
}

pub(crate) async fn depth(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    // Of the long queue so many that what a host reads when it starts, which is more of a longer queue, does not decide.
    const OF_LONG: u32 = 10_000;
    let long = effort.of(1_000_000);
    table.section("How long the queue is (1,000 jobs, or the next 10,000 of many)");
    for engine in ENGINES {
        let (mut short_queue, mut long_queue) = (Rates::default(), Rates::default());
        let (long_place, long_store) = places.store(engine).await?;
        fill(&long_store, long, None).await?;
        places.settle(&long_place)?;
        for _ in 0..effort.rounds.max(3) {
            let (place, store) = places.store(engine).await?;
            fill(&store, 1_000, None).await?;
            places.settle(&place)?;
            short_queue.add(1_000, drain(&store, 1_000).await?);
            long_queue.add(OF_LONG, drain(&long_store, OF_LONG).await?);
        }
        let (median, best) = short_queue.shown();
        table.row(&format!("{}, 1,000 jobs wait", name(engine)), &median, &best, "");
        let (median, best) = long_queue.shown();
        let compared = format!("{:.2} × the short queue", long_queue.times(&short_queue));
        table.row(&format!("{}, {long} jobs wait", name(engine)), &median, &best, &compared);
    }
    Ok(())
}

pub(crate) async fn neighbours(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    const TURNS: u32 = 8;
    let (many, samples) = (effort.of(1_000_000), effort.of(400));
    table.section("A shop with a job now and then (from commit to begin)");
    for engine in ENGINES {
        let pause = Duration::from_millis(50);
        let (_alone_place, alone_store) = places.store(engine).await?;
        let (beside_place, beside_store) = places.store(engine).await?;
        fill(&beside_store, many, Some(&Shop::new("bench", "large"))).await?;
        places.settle(&beside_place)?;
        // In turns, so that whatever else the machine does meets both.
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            alone.extend(watched(&alone_store, samples / TURNS, pause).await?);
            beside.extend(watched(&beside_store, samples / TURNS, pause).await?);
        }
        let p99 = [percentile(&mut alone, 0.99), percentile(&mut beside, 0.99)];
        let what = format!("{}, alone", name(engine));
        table.row(&what, &time(percentile(&mut alone, 0.5)), "", &format!("p99 {}", time(p99[0])));
        let what = format!("{}, beside a shop with {many} queued jobs", name(engine));
        let compared =
            format!("p99 {}: {:.2} × alone", time(p99[1]), p99[1].as_secs_f64() / p99[0].as_secs_f64().max(1e-9));
        table.row(&what, &time(percentile(&mut beside, 0.5)), "", &compared);
    }
    Ok(())
}
