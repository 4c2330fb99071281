//! Runs the jobs of the partitions that this host owns.
//!
//! One task, the `driver`, decides everything and waits for nothing: it holds the [`Schedule`] and the leases, and has
//! reading, writing and running done by tasks whose news it takes in. Its parts by what they are about: `incoming` how jobs
//! come in, `runs` how they start and end, `partitions` what this host owns. `reading`, `attempt` and `leases` are what the
//! tasks do, and which leases to want.
//!
//! The way of a job: whoever commits it on this host calls [`Scheduler::offer`], and it starts without being read back. What
//! is committed elsewhere is announced ([`tradewind_store::Store::announce`]) or found by the poll. When it has ended, its
//! end is in the database already; the schedule is told after. A host that dies has written nothing of what it ran, and
//! whoever takes over reads the jobs as they were.
//!
//! A named queue's bound holds over all hosts of a database: its jobs lie in one partition, whoever's they are, and only the
//! partition's owner starts them. A shop whose jobs are in queues may so have jobs on several hosts; each of them is fair to
//! it for what it runs itself.
//!
//! What a lane holds starts in its order, also when an offer is lost: see `missed`. Offers of one lane that several callers
//! make at the same time have no order until the jobs are read.
//!
//! To add something that the driver reacts to: a variant of `News` or of `Message`, and what it changes.
//!
//! [`Schedule`]: tradewind_model::schedule::Schedule

mod attempt;
mod driver;
mod incoming;
mod leases;
mod limits;
mod missed;
mod partitions;
mod payloads;
mod reading;
mod runs;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tradewind_model::Shop;
use tradewind_store::{Fence, Ingested, Job, JobKind, NewJob, Store};

pub use attempt::{DEATHS_MAX, HOST_DIED, HOST_PANIC};
pub use driver::changed;
pub use limits::{BEATS_PER_LEASE, HOST_PANICS_MAX, MESSAGES_MAX, PAYLOADS_BYTES_MAX};

use crate::pipeline::{Clock, Ended, Pipeline};
use driver::Driver;
use missed::Missed;
use payloads::Payloads;

/// What runs jobs.
pub trait Runs: Send + Sync + 'static {
    /// Makes one attempt at a job and commits its end under the fence.
    fn run(&self, job: &Job, fence: Fence) -> impl Future<Output = Ended> + Send;
}

impl Runs for Pipeline {
    async fn run(&self, job: &Job, fence: Fence) -> Ended {
        Self::run(self, job, fence).await
    }
}

/// How a scheduler is set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who owns the leases. Of this start of this process alone: what an earlier start left is taken over like anybody's.
    pub host: String,
    /// Jobs that run at once.
    pub jobs_in_flight_max: usize,
    /// Jobs in memory, about.
    pub jobs_held_max: usize,
    /// How long a host may be silent before others take its partitions, in milliseconds. Equal on all hosts of a database.
    pub lease_ms: u64,
    /// How long a job may wait that nobody announced, in milliseconds.
    pub poll_ms: u64,
    /// How long a partition that goes to another host waits for what still runs, in milliseconds.
    pub hand_over_ms: u64,
    /// Where attempts run; none for the executor that the scheduler runs on.
    pub workers: Option<tokio::runtime::Handle>,
    /// How often the host may die while a job runs before the job is parked.
    pub deaths_max: u32,
}

impl Config {
    /// The defaults.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            jobs_in_flight_max: limits::JOBS_IN_FLIGHT_MAX,
            jobs_held_max: limits::JOBS_HELD_MAX,
            lease_ms: limits::LEASE_MS,
            poll_ms: limits::POLL_MS,
            hand_over_ms: limits::HAND_OVER_MS,
            workers: None,
            deaths_max: DEATHS_MAX,
        }
    }
}

/// What a scheduler does at the moment, and has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whether it is at work: not stopped, and not ended by a fault of its own.
    pub alive: bool,
    /// Partitions that this host works on.
    pub partitions: u64,
    /// Jobs in memory that wait.
    pub held: u64,
    /// Bytes of what these carry that are in memory.
    pub payload_bytes: u64,
    /// Jobs that run.
    pub running: u64,
    /// Attempts that were started.
    pub started: u64,
    /// Jobs that were taken from an offer, without reading them back.
    pub handed_over: u64,
    /// Reads that brought jobs back from the database, or found none.
    pub refills: u64,
    /// Times that a lease was lost.
    pub leases_lost: u64,
    /// The last trouble, for people.
    pub last_error: Option<String>,
}

/// A running scheduler. Dropping it ends it as a crash would: what runs is aborted, and the leases run out.
pub struct Scheduler {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    /// None once somebody has stopped it.
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// What the handle and the driver share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    partitions: AtomicU64,
    held: AtomicU64,
    running: AtomicU64,
    started: AtomicU64,
    handed_over: AtomicU64,
    refills: AtomicU64,
    leases_lost: AtomicU64,
    /// Held by the one job that runs although the host died while it ran before.
    suspects: tokio::sync::Mutex<()>,
    last_error: Mutex<Option<String>>,
    missed: Missed,
    payloads: Payloads,
}

/// What the driver is told from outside.
#[derive(Debug)]
pub(crate) enum Message {
    /// These jobs of the shop were committed by this process.
    Offer(Shop, Vec<(i64, NewJob)>),
    /// Jobs of the shop in this partition were changed by other ways.
    Look(i64, Shop),
    /// Another host has committed jobs of this partition; of any, when none is said.
    Announced(Option<i64>),
    /// The clock was moved.
    Wake,
    /// End, and say so.
    Stop(Duration, oneshot::Sender<()>),
}

impl Scheduler {
    /// Starts to take partitions and to run their jobs.
    pub fn start<R: Runs>(store: Arc<Store>, runs: Arc<R>, clock: Arc<dyn Clock>, config: Config) -> Self {
        let (messages, received) = mpsc::channel(MESSAGES_MAX);
        let shared = Arc::new(Shared::default());
        let driver = Driver::new(store, runs, clock, config, Arc::clone(&shared), messages.downgrade(), received);
        Self { messages, shared, driver: Mutex::new(Some(tokio::spawn(driver.drive()))) }
    }

    /// Hands over jobs that this process has just committed, so that they start at once. Costs the caller nothing; jobs of
    /// another host's partitions are announced to it.
    pub fn offer(&self, shop: &Shop, jobs: Vec<(i64, NewJob)>) {
        if !jobs.is_empty() {
            self.tell(Message::Offer(shop.clone(), jobs));
        }
    }

    /// Has a shop's jobs in a partition read anew: an operator has let parked ones run again.
    pub fn look(&self, part: i64, shop: &Shop) {
        self.tell(Message::Look(part, shop.clone()));
    }

    /// Has the clock read anew: a test has moved it.
    pub fn wake(&self) {
        self.tell(Message::Wake);
    }

    fn tell(&self, message: Message) {
        // The driver is behind: it has what it was not told read. One that has ended will not.
        let Err(TrySendError::Full(message)) = self.messages.try_send(message) else { return };
        match message {
            Message::Offer(shop, jobs) => {
                for (seq, job) in jobs {
                    self.shared.missed.add(job.partition(&shop), &shop, seq);
                }
            }
            Message::Look(part, shop) => self.shared.missed.add(part, &shop, 0),
            // It is awake.
            Message::Announced(_) | Message::Wake | Message::Stop(..) => {}
        }
    }

    /// Starts nothing more, waits for what runs, and gives all partitions back, so that another host takes over at once.
    /// What still runs after `deadline` is aborted: it runs again elsewhere.
    /// Once: who comes second finds it stopping.
    pub async fn stop(&self, deadline: Duration) {
        let Some(driver) = self.driver().take() else { return };
        let (stopped, done) = oneshot::channel();
        if self.messages.send(Message::Stop(deadline, stopped)).await.is_ok() {
            // An error means that the driver has ended before it could answer.
            let _ = done.await;
        }
        let _ = driver.await;
    }

    fn driver(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it does.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            alive: self.driver().as_ref().is_some_and(|driver| !driver.is_finished()),
            partitions: count(&shared.partitions),
            held: count(&shared.held),
            payload_bytes: shared.payloads.bytes() as u64,
            running: count(&shared.running),
            started: count(&shared.started),
            handed_over: count(&shared.handed_over),
            refills: count(&shared.refills),
            leases_lost: count(&shared.leases_lost),
            last_error: shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Some(driver) = self.driver().take() {
            driver.abort();
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The job of a delivery that was committed, for [`Scheduler::offer`]; none of a duplicate.
pub fn job_of(ingested: &Ingested, lane: Option<String>, depth: u32) -> Option<(i64, NewJob)> {
    let Ingested::New { seq, job } = *ingested else { return None };
    Some((job, NewJob { lane, depth, delivery_seq: Some(seq), ..NewJob::new(JobKind::Delivery, None) }))
}
