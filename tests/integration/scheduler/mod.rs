//! The scheduler on both databases: every job runs once and in its turn, whatever hosts come and go.
//!
//! Tests wait for what is to happen, never for a time. To add one: a [`Worker`] that says what becomes of each job, and a
//! look at what it ran.

mod hosts;
mod queues;
mod retries;
mod turns;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tradewind_host::pipeline::{Clock, Ended};
use tradewind_host::scheduler::{Config, Runs, Scheduler, Stats};
use tradewind_model::Shop;
use tradewind_store::{CommitError, Fence, Finish, How, Job, JobFilter, NewJob, Store, Unit};
use tradewind_tests::stores::{self, NOW_MS, action};

/// How long a test waits for what is to happen, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// Something of a worker has changed, of whatever test: who waits for his own looks again.
static CHANGED: Notify = Notify::const_new();

/// A clock that stands still until a test moves it.
struct Frozen(AtomicU64);

impl Frozen {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(u64::try_from(NOW_MS).unwrap())))
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Frozen {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// It is done.
    Finish,
    /// It is done, and makes a job.
    FinishAndMake,
    /// It fails, and is to run again after so many milliseconds.
    Retry(i64),
    /// It waits for a person.
    Park,
    /// The host has a fault.
    Panic,
    /// It is committed, and the answer gets lost.
    LoseTheAnswer,
    /// Nothing is committed, and nobody knows.
    LoseTheJob,
    /// It runs until [`Worker::let_go`], and is done then.
    Hold,
    /// The same, and nobody can abort it: a host that was frozen.
    HoldWhatever,
}

type Says = dyn Fn(&Job) -> Act + Send + Sync;

/// Runs jobs by saying what becomes of them.
struct Worker {
    store: Arc<Store>,
    clock: Arc<Frozen>,
    says: Box<Says>,
    /// The jobs that ended well, in the order in which they did.
    done: Mutex<Vec<i64>>,
    /// Everything that began and ended, by number: for what ran beside what.
    began: Mutex<Vec<(i64, Began)>>,
    /// What commits were refused for.
    refused: Mutex<Vec<CommitError>>,
    released: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    Start,
    End,
}

impl Worker {
    fn new(store: &Arc<Store>, clock: &Arc<Frozen>, says: impl Fn(&Job) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            says: Box::new(says),
            done: Mutex::default(),
            began: Mutex::default(),
            refused: Mutex::default(),
            released: Notify::new(),
        })
    }

    fn done(&self) -> Vec<i64> {
        self.done.lock().unwrap().clone()
    }

    fn starts(&self) -> usize {
        self.count(Began::Start)
    }

    fn ends(&self) -> usize {
        self.count(Began::End)
    }

    fn count(&self, what: Began) -> usize {
        self.began.lock().unwrap().iter().filter(|(_, began)| *began == what).count()
    }

    fn note(&self, seq: i64, began: Began) {
        self.began.lock().unwrap().push((seq, began));
        CHANGED.notify_waiters();
    }

    /// Lets the jobs end that are held at the moment.
    fn let_go(&self) {
        self.released.notify_waiters();
    }

    async fn finish(&self, job: &Job, fence: Fence, how: How, jobs: Vec<NewJob>) -> Ended {
        let mut unit = Unit::new(job.shop.clone(), self.clock.now_ms());
        unit.fence = Some(fence);
        unit.finish = Some(Finish { job: job.seq, how: how.clone() });
        unit.jobs.clone_from(&jobs);
        match self.store.commit(unit).await {
            Ok(committed) => match how {
                How::Again { run_at_ms, attempts, .. } => Ended::Again { run_at_ms, attempts, made: Vec::new() },
                How::Park { reason, .. } => Ended::Parked { reason, made: Vec::new() },
                How::Done | How::Started | How::Checkpoint { .. } => {
                    self.done.lock().unwrap().push(job.seq);
                    CHANGED.notify_waiters();
                    Ended::Done(committed.jobs.into_iter().flatten().zip(jobs).collect())
                }
            },
            Err(error) => {
                self.refused.lock().unwrap().push(error.clone());
                CHANGED.notify_waiters();
                match error {
                    CommitError::Fenced { .. } => Ended::Fenced,
                    CommitError::JobGone { .. } => Ended::Gone,
                    error => Ended::Unknown(error.to_string()),
                }
            }
        }
    }
}

/// What a test hands to a scheduler: the worker may outlive what the scheduler makes of it.
struct Hand(Arc<Worker>);

impl Runs for Hand {
    async fn run(&self, job: &Job, fence: Fence) -> Ended {
        let worker = &self.0;
        worker.note(job.seq, Began::Start);
        let ended = match (worker.says)(job) {
            Act::Finish => worker.finish(job, fence, How::Done, Vec::new()).await,
            Act::FinishAndMake => worker.finish(job, fence, How::Done, vec![action()]).await,
            Act::Retry(after_ms) => {
                let how = stores::failed(job.attempts + 1, worker.clock.now_ms() + after_ms);
                worker.finish(job, fence, how, Vec::new()).await
            }
            Act::Park => worker.finish(job, fence, stores::park("permanent-error"), Vec::new()).await,
            Act::Panic => panic!("a fault that the test wants"),
            Act::LoseTheAnswer => {
                worker.finish(job, fence, How::Done, vec![action()]).await;
                Ended::Unknown("the connection broke".to_owned())
            }
            Act::LoseTheJob => Ended::Unknown("the connection broke".to_owned()),
            Act::Hold => {
                worker.released.notified().await;
                worker.finish(job, fence, How::Done, Vec::new()).await
            }
            Act::HoldWhatever => {
                let (worker, job) = (Arc::clone(worker), job.clone());
                let run = tokio::spawn(async move {
                    worker.released.notified().await;
                    worker.finish(&job, fence, How::Done, Vec::new()).await
                });
                run.await.unwrap()
            }
        };
        worker.note(job.seq, Began::End);
        ended
    }
}

/// One that looks often for what is not announced. Its leases outlast any pause of a busy machine: a run that is aborted
/// when a lease ends may have been committed, and nobody would count it.
fn config(host: &str) -> Config {
    Config { lease_ms: 120_000, poll_ms: 20, ..Config::new(host) }
}

/// One that takes over after a second and a half.
fn brief(host: &str) -> Config {
    Config { lease_ms: 1_500, ..config(host) }
}

fn start(worker: &Arc<Worker>, config: Config) -> Scheduler {
    let hand = Arc::new(Hand(Arc::clone(worker)));
    let clock: Arc<dyn Clock> = Arc::clone(&worker.clock) as _;
    Scheduler::start(Arc::clone(&worker.store), hand, clock, config)
}

/// Waits until something is so of workers, which say when something has changed.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let mut changed = std::pin::pin!(CHANGED.notified());
            changed.as_mut().enable();
            if is_so() {
                return;
            }
            changed.await;
        }
    });
    assert!(waited.await.is_ok(), "it never happened: {what}");
}

/// Waits until something is so of a scheduler or of the database. They say nothing of it, so it is looked again and again.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "it never happened: {what}");
}

/// Waits until a scheduler has all partitions.
async fn until_alone(scheduler: &Scheduler) {
    eventually("one host has all partitions", async || scheduler.stats().partitions == 64).await;
}

/// Commits jobs of a shop, and says their numbers.
async fn enqueue(store: &Store, shop: &Shop, jobs: Vec<NewJob>) -> Vec<(i64, NewJob)> {
    let mut made = Vec::new();
    for some in jobs.chunks(500) {
        let mut unit = Unit::new(shop.clone(), NOW_MS);
        unit.jobs = some.to_vec();
        let committed = stores::commit(store, unit).await;
        made.extend(committed.jobs.into_iter().flatten().zip(some.iter().cloned()));
    }
    made
}

fn numbers(jobs: &[(i64, NewJob)]) -> Vec<i64> {
    jobs.iter().map(|(seq, _)| *seq).collect()
}

fn sorted(mut seqs: Vec<i64>) -> Vec<i64> {
    seqs.sort_unstable();
    seqs
}

/// Waits until no job is left, whoever ran it.
async fn until_empty(store: &Store) {
    eventually("no job is left", async || waiting(store).await.is_empty()).await;
}

async fn waiting(store: &Store) -> Vec<Job> {
    store.list_jobs(&JobFilter::default(), i64::MIN, 100_000).await.unwrap()
}

/// Stops it, and says what it was like.
async fn stop(scheduler: Scheduler) -> Stats {
    let stats = scheduler.stats();
    scheduler.stop(PATIENCE).await;
    stats
}
