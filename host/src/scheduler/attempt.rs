//! One job: what the schedule keeps of it, and one attempt at it.

use std::sync::Arc;

use tokio::sync::Mutex;
use tradewind_model::job_options::{Priority, QueueName};
use tradewind_model::schedule::{Head, Lane, Queue};
use tradewind_model::{ActionError, Json, Shop};
use tradewind_store::{CommitError, Fence, Finish, How, Job, JobState, NewJob, Store, Unit};

use super::Runs;
use super::limits::HOST_PANICS_MAX;
use super::payloads::{Payloads, Room};
use crate::pipeline::Ended;

/// Why a job is parked that made the host panic. Persisted: never rename it.
pub const HOST_PANIC: &str = "host-panic";

/// Why a job is parked that was running each time when its host died. Persisted: never rename it.
pub const HOST_DIED: &str = "host-died";

/// How often a host may have died while a job ran before the job is parked. 3: the first may have been somebody else's fault,
/// and from the second on it runs without others of its kind beside it.
pub const DEATHS_MAX: u32 = 3;

/// What the schedule carries of a job for us.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) job: Arc<Job>,
    /// It was read, and whoever committed it may be about to offer it.
    pub(crate) was_read: bool,
    /// The job may have changed since it was read: it is read again before it runs.
    pub(crate) stale: bool,
    /// Its part of the memory for what waiting jobs carry.
    #[expect(dead_code, reason = "it is given back when the last of them is dropped")]
    pub(crate) room: Option<Arc<Room>>,
    /// Attempts in a row whose end is not known.
    pub(crate) unknown: u32,
    /// Attempts that panicked.
    pub(crate) panics: u32,
}

impl Tag {
    /// The same for a job that is read again before it runs: what it carries is let go.
    pub(crate) fn to_read_again(&self) -> Self {
        let job = Job { payload: None, checkpoint: None, ..(*self.job).clone() };
        Self { job: Arc::new(job), stale: true, room: None, ..self.clone() }
    }
}

/// A job as the schedule sees it. One in retry waits for its time.
pub(crate) fn head_of(mut job: Job, was_read: bool, payloads: &Payloads) -> Head<Tag> {
    let room = payloads.keep(&mut job).map(Arc::new);
    // A name that nobody could have given is as good as none: the job runs all the same.
    let queue = job.queue.as_ref().and_then(|(name, bound)| {
        let name = QueueName::parse(name.as_str()).ok()?;
        Some(Queue { name, bound: (*bound).max(1) })
    });
    Head {
        seq: job.seq,
        shop: job.shop.clone(),
        part: job.partition(),
        lane: job.lane.as_deref().map(Lane::new),
        queue,
        rank: Priority::of_rank(job.rank),
        not_before_ms: u64::try_from(job.run_at_ms).unwrap_or_default(),
        tag: Tag { job: Arc::new(job), was_read, stale: room.is_none(), room, unknown: 0, panics: 0 },
    }
}

/// A job that was just committed, as reading it back would show it.
pub(crate) fn committed(shop: &Shop, seq: i64, new: NewJob, now_ms: i64) -> Job {
    Job {
        seq,
        shop: shop.clone(),
        kind: new.kind,
        lane: new.lane,
        queue: new.queue,
        rank: new.rank,
        id: new.id,
        state: JobState::Queued,
        run_at_ms: 0,
        attempts: 0,
        starts: 0,
        depth: new.depth,
        chain: new.chain,
        delivery_seq: new.delivery_seq,
        policy: new.policy,
        payload: new.payload,
        checkpoint: None,
        reason: None,
        error: None,
        created_ms: now_ms,
        parked_ms: None,
    }
}

/// What holds for jobs that may have killed a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspects<'a> {
    /// One of them runs at a time.
    pub(crate) alone: &'a Mutex<()>,
    /// How often a host may die while a job runs, see [`DEATHS_MAX`].
    pub(crate) deaths_max: u32,
}

/// Makes one attempt at a job. `suspects` is given for a job that another owner of its partition, or an earlier start of this
/// host, has left: it may have been running when that one died.
pub(crate) async fn attempt<R: Runs>(
    store: &Store,
    runs: &R,
    tag: Tag,
    fence: Fence,
    now_ms: i64,
    suspects: Option<Suspects<'_>>,
) -> Ended {
    let mut job = tag.job;
    if tag.stale {
        job = match store.job(job.seq).await {
            Ok(None) => return Ended::Gone,
            Ok(Some(read)) if read.state == JobState::Parked => {
                return Ended::Parked { reason: read.reason.unwrap_or_default(), made: Vec::new() };
            }
            // Its end was committed after all, and is to run again.
            Ok(Some(read)) if read.run_at_ms > now_ms => {
                return Ended::Again { run_at_ms: read.run_at_ms, attempts: read.attempts, made: Vec::new() };
            }
            Ok(Some(read)) => Arc::new(read),
            Err(error) => return Ended::Unknown(described(&error)),
        };
    }
    if tag.panics >= HOST_PANICS_MAX {
        let message =
            format!("the host panicked {} times while it ran the job; hint: its log has the place", tag.panics);
        return park(store, &job, fence, HOST_PANIC, message, now_ms).await;
    }
    let Some(suspects) = suspects else { return runs.run(&job, fence).await };
    // The first start of all is not written down.
    let deaths = job.starts + 1;
    if deaths >= suspects.deaths_max {
        let message =
            format!("the host died {deaths} times while it ran the job; hint: look what the plugin was given");
        return park(store, &job, fence, HOST_DIED, message, now_ms).await;
    }
    // What may have killed a host runs alone, so that what ran beside it then is not taken for it.
    let _alone = if job.starts > 0 { Some(suspects.alone.lock().await) } else { None };
    let mut unit = Unit::new(job.shop.clone(), now_ms);
    unit.fence = Some(fence.clone());
    unit.finish = Some(Finish { job: job.seq, how: How::Started });
    match store.commit(unit).await {
        Ok(_) => runs.run(&job, fence).await,
        Err(error) => not_committed(error),
    }
}

/// Parks a job that the host cannot run.
async fn park(store: &Store, job: &Job, fence: Fence, reason: &str, message: String, now_ms: i64) -> Ended {
    let error = ActionError::permanent(reason, message);
    let how = How::Park { attempts: job.attempts, reason: reason.to_owned(), error: Json::of(&error).ok() };
    let mut unit = Unit::new(job.shop.clone(), now_ms);
    unit.fence = Some(fence);
    unit.finish = Some(Finish { job: job.seq, how });
    match store.commit(unit).await {
        Ok(_) => Ended::Parked { reason: reason.to_owned(), made: Vec::new() },
        Err(error) => not_committed(error),
    }
}

/// What is known of a job of which not even the start, or the end, was committed.
fn not_committed(error: CommitError) -> Ended {
    match error {
        CommitError::Fenced { .. } => Ended::Fenced,
        CommitError::JobGone { .. } => Ended::Gone,
        error => Ended::Unknown(error.to_string()),
    }
}

/// An error with what caused it, in one line.
pub(crate) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
