//! Parts of how an attempt ends: what ran before, what the log says, and what the scheduler is told.

use std::time::Instant;

use tradewind_model::retry::RetryPolicy;
use tradewind_model::{Json, code};
use tradewind_store::{CommitError, How, Job, JobKind, NewInvocation, NewJob};

use super::Ended;
use super::work::Shared;

/// Log entries of runs that were not committed, of one attempt. 20: the last ones say enough of why it ran again.
const CONFLICTS_LOGGED_MAX: usize = 20;

/// The word for an attempt that was none.
pub(super) const WAITS: &str = "waits";

/// How a job's work ended well.
pub(super) struct Done {
    /// One word for the log.
    pub(super) outcome: &'static str,
    /// What `queue.status` answers.
    pub(super) result: Option<Json>,
}

/// What earlier runs of the same attempt left, whose units were not committed.
pub(super) struct Past {
    pub(super) started: Instant,
    /// What ran.
    pub(super) log: Vec<NewInvocation>,
    /// Where the next one goes on from.
    pub(super) checkpoint: Option<Json>,
    /// Jobs that were committed before the end.
    pub(super) made: Vec<(i64, NewJob)>,
}

impl Past {
    pub(super) fn new(checkpoint: Option<Json>) -> Self {
        Self { started: Instant::now(), log: Vec::new(), checkpoint, made: Vec::new() }
    }

    pub(super) fn took_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn add(&mut self, work: &Shared) {
        let mut work = work.lock();
        self.log.append(&mut work.log);
        self.made.append(&mut work.made);
    }

    /// What ran well, ran in vain.
    pub(super) fn in_vain(&mut self) {
        for entry in &mut self.log {
            if entry.outcome == "ok" {
                (entry.outcome, entry.detail) = (code::CONFLICT.to_owned(), None);
            }
        }
        let surplus = self.log.len().saturating_sub(CONFLICTS_LOGGED_MAX);
        self.log.drain(..surplus);
    }
}

pub(super) fn log_entry(job: &Job, outcome: &str, detail: Option<Json>) -> NewInvocation {
    NewInvocation {
        delivery_seq: job.delivery_seq,
        job_seq: Some(job.seq),
        job_id: job.id.clone(),
        plugin: None,
        version: None,
        action: None,
        phase: None,
        outcome: outcome.to_owned(),
        detail,
        attempt: job.attempts + 1,
        duration_us: 0,
    }
}

/// The same end with another error.
pub(super) fn with_error(how: How, other: impl FnOnce(Json) -> Json) -> How {
    match how {
        How::Again { run_at_ms, attempts, error } => How::Again { run_at_ms, attempts, error: error.map(other) },
        How::Park { attempts, reason, error } => How::Park { attempts, reason, error: error.map(other) },
        how @ (How::Done | How::Started | How::Checkpoint { .. }) => how,
    }
}

/// An end that is committed.
pub(super) fn ended(how: &How, made: Vec<(i64, NewJob)>) -> Ended {
    match how {
        How::Again { run_at_ms, attempts, .. } => Ended::Again { run_at_ms: *run_at_ms, attempts: *attempts, made },
        How::Park { reason, .. } => Ended::Parked { reason: reason.clone(), made },
        How::Done | How::Started | How::Checkpoint { .. } => Ended::Done(made),
    }
}

/// What is known when not even the end of an attempt was committed.
pub(super) fn unknown(error: CommitError) -> Ended {
    match error {
        CommitError::Fenced { .. } => Ended::Fenced,
        CommitError::JobGone { .. } => Ended::Gone,
        CommitError::Unavailable { reason } => Ended::Unknown(reason),
        error => Ended::Unknown(error.to_string()),
    }
}

pub(super) fn policy_of(job: &Job) -> RetryPolicy {
    let default = if job.kind == JobKind::Delivery { RetryPolicy::DELIVERY } else { RetryPolicy::JOB };
    let policy = job.policy.as_ref().and_then(|policy| RetryPolicy::parse(policy, &default).ok());
    policy.unwrap_or(default)
}
