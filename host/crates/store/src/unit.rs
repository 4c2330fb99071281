//! The unit of writing: what is committed whole or not at all.
//!
//! A unit holds decisions that were made without a lock, and what they were made on: the versions it read, the lease it
//! works under, the job it finishes. The committer checks those in the transaction that writes the unit.

use std::sync::Arc;

use tradewind_model::query::Interest;
use tradewind_model::{Json, RecordKey, Shop};

use crate::quotas::QuotaExceeded;
use crate::watches::{BATCH_STEPS_MAX, Watch, record_write};

/// Everything that one piece of work wants to write. All of it belongs to one shop.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Whose.
    pub shop: Shop,
    /// The lease that the work was done under, of the partition that its job lies in; none for writes that no job makes.
    pub fence: Option<Fence>,
    /// What becomes of the job that did the work.
    pub finish: Option<Finish>,
    /// Records that were read by id, or looked for by id and not found.
    pub reads: Vec<Read>,
    /// The queries that were asked, whose answers have to hold.
    pub queries: Option<Watch>,
    /// Records to write, each at most once.
    pub writes: Vec<Write>,
    /// Webhooks to keep.
    pub deliveries: Vec<NewDelivery>,
    /// Work to do later.
    pub jobs: Vec<NewJob>,
    /// Jobs to take back, by the id that whoever enqueued them knows.
    pub cancels: Vec<String>,
    /// What ran.
    pub log: Vec<NewInvocation>,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

impl Unit {
    /// A unit that writes nothing.
    pub fn new(shop: Shop, now_ms: i64) -> Self {
        Self {
            shop,
            fence: None,
            finish: None,
            reads: Vec::new(),
            queries: None,
            writes: Vec::new(),
            deliveries: Vec::new(),
            jobs: Vec::new(),
            cancels: Vec::new(),
            log: Vec::new(),
            now_ms,
        }
    }

    /// Returns true if it only brings deliveries, and so depends on no lease and no record.
    pub(crate) fn is_delivery(&self) -> bool {
        let Self { shop: _, fence, finish, reads, queries, writes, deliveries, jobs, cancels, log, now_ms: _ } = self;
        !deliveries.is_empty()
            && fence.is_none()
            && finish.is_none()
            && reads.is_empty()
            && queries.is_none()
            && writes.is_empty()
            && jobs.is_empty()
            && cancels.is_empty()
            && log.is_empty()
    }

    /// Whether it changes anything that others can see. Without that it was decided on nothing that matters.
    pub fn has_effects(&self) -> bool {
        !self.jobs.is_empty() || !self.cancels.is_empty() || self.writes.iter().any(|write| !write.is_nothing())
    }

    /// Whether what the unit writes changes the answer of a query of its shop.
    pub fn changes(&self, interest: &Interest) -> bool {
        let mut left = BATCH_STEPS_MAX;
        let of_model = self.writes.iter().filter(|write| *write.key.model == *interest.model);
        of_model.into_iter().any(|write| record_write(&self.shop, write).affects([interest], &mut left).is_some())
    }

    /// Why the unit is not to be committed: a query that it was decided on would be answered differently now.
    pub(crate) fn outdated(&self) -> Option<CommitError> {
        let outdated = self.queries.as_ref()?.outdated().filter(|_| self.has_effects())?;
        Some(CommitError::Conflict { shop: self.shop.clone(), key: outdated.key.clone() })
    }

    /// Bytes that the unit brings to the database, to bound what waits in memory.
    pub(crate) fn bytes(&self) -> usize {
        let deliveries = self.deliveries.iter().map(|delivery| delivery.body.len() + delivery.headers.as_str().len());
        let writes = self.writes.iter().map(|write| write.doc.as_ref().map_or(0, |doc| doc.as_str().len()));
        let json = |json: Option<&Json>| json.map_or(0, |json| json.as_str().len());
        let jobs = self.jobs.iter().map(|job| json(job.payload.as_ref()) + json(job.policy.as_ref()));
        let log = self.log.iter().map(|entry| json(entry.detail.as_ref()));
        let finish = self.finish.iter().map(|finish| match &finish.how {
            How::Done | How::Started => 0,
            How::Checkpoint { state } => json(Some(state)),
            How::Again { error, .. } | How::Park { error, .. } => json(error.as_ref()),
        });
        deliveries.chain(writes).chain(jobs).chain(log).chain(finish).sum()
    }
}

/// Proof that a host owned a partition, to be checked again in the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The partition.
    pub part: i64,
    /// Counts the partition's owners.
    pub epoch: i64,
}

/// What becomes of a job.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The job's `seq`.
    pub job: i64,
    /// What becomes of it.
    pub how: How,
}

/// The ends of an attempt.
#[derive(Clone, Debug)]
pub enum How {
    /// It is done, and deleted.
    Done,
    /// It is to run again.
    Again {
        /// Attempts used so far. A snooze leaves it as it was.
        attempts: u32,
        /// Not before this time.
        run_at_ms: i64,
        /// What went wrong, as JSON; none for a snooze.
        error: Option<Json>,
    },
    /// It is about to run although it may have been running when a host died: that is written down first.
    Started,
    /// It goes on, and begins from here should it run again.
    Checkpoint {
        /// What the job wants to find then, as JSON.
        state: Json,
    },
    /// Nobody can say how to go on: it waits for a person.
    Park {
        /// Attempts used so far.
        attempts: u32,
        /// Why, in a few words that can be filtered by.
        reason: String,
        /// What went wrong, as JSON.
        error: Option<Json>,
    },
}

/// A record that a decision was made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub key: RecordKey,
    /// Its version, none when it was not there.
    pub version: Option<i64>,
}

/// A record to write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which.
    pub key: RecordKey,
    /// The version that it replaces; none when it must not be there yet.
    pub expected: Option<i64>,
    /// The document of that version, as far as the unit knows it.
    pub before: Option<Json>,
    /// The new document, none to delete the record.
    pub doc: Option<Json>,
    /// When the platform says that the record changed, in microseconds since 1970.
    pub platform_updated_us: Option<i64>,
}

impl Write {
    /// Whether the record was made and deleted again.
    pub(crate) fn is_nothing(&self) -> bool {
        self.expected.is_none() && self.doc.is_none()
    }
}

/// A verified webhook to keep, with the job that processes it.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// `shopify` or `bigcommerce`.
    pub platform: Arc<str>,
    /// The platform's id of this delivery.
    pub webhook_id: String,
    /// The platform's name of the topic.
    pub topic: String,
    /// The platform's id of what happened.
    pub event_id: Option<String>,
    /// Digest of the body as it arrived.
    pub body_sha256: [u8; 32],
    /// When it happened, in milliseconds since 1970.
    pub triggered_ms: Option<i64>,
    /// The headers worth keeping, a JSON object.
    pub headers: Json,
    /// The compressed body, see [`compress`].
    pub body: Arc<[u8]>,
    /// Bytes of the body as it arrived.
    pub body_bytes: u64,
    /// The record that it is about: deliveries of one lane are processed in order.
    pub lane: Option<String>,
    /// How many of our own writes stand between it and an outside cause, as far as is known.
    pub depth: u32,
    /// The reason for which its job is parked at once when the same body came first for another shop of the app: somebody
    /// sends a captured body anew. Without one such a delivery is processed like any other.
    pub parked_if_replayed: Option<&'static str>,
}

/// Compresses a body for keeping.
pub fn compress(body: &[u8]) -> Arc<[u8]> {
    lz4_flex::compress_prepend_size(body).into()
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Processes a delivery.
    Delivery,
    /// Runs an action.
    Action,
    /// Runs an action's `success` after the commit that wrote this job.
    Success,
    /// Calls a platform.
    Call,
}

impl JobKind {
    /// The persisted name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Action => "action",
            Self::Success => "success",
            Self::Call => "call",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Delivery, Self::Action, Self::Success, Self::Call].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Work to do later, or at once.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it does.
    pub kind: JobKind,
    /// What it works on: jobs of one lane run in order, one at a time.
    pub lane: Option<String>,
    /// The named queue and how many of its jobs may run at once. Not beside a lane: a queue's jobs lie in the queue's
    /// partition, so the order of a lane would have two keepers.
    pub queue: Option<(String, u32)>,
    /// 0 before 1 before 2.
    pub rank: u8,
    /// The id that whoever enqueued it knows it by. Unique among the shop's unfinished jobs.
    pub id: Option<String>,
    /// What to do when there is a job of this id.
    pub on_duplicate: OnDuplicate,
    /// Not before this time; 0 for at once.
    pub run_at_ms: i64,
    /// How many of our own writes stand between it and an outside cause.
    pub depth: u32,
    /// The number of jobs that enqueued one another up to it: 0 for one that no job enqueued.
    pub chain: u32,
    /// True for a job that a plugin enqueued: the quotas of plugins bind it.
    pub by_plugin: bool,
    /// The delivery that it goes back to.
    pub delivery_seq: Option<i64>,
    /// How it is retried, as JSON; none for the default.
    pub policy: Option<Json>,
    /// What it needs to know, as JSON.
    pub payload: Option<Json>,
}

impl NewJob {
    /// A job of the usual rank that runs at once.
    pub fn new(kind: JobKind, payload: Option<Json>) -> Self {
        Self {
            kind,
            lane: None,
            queue: None,
            rank: 1,
            id: None,
            on_duplicate: OnDuplicate::Error,
            run_at_ms: 0,
            depth: 0,
            chain: 0,
            by_plugin: false,
            delivery_seq: None,
            policy: None,
            payload,
        }
    }

    /// The partition that it lies in as a job of that shop.
    pub fn partition(&self, shop: &Shop) -> i64 {
        shop.partition_of_job(self.queue.as_ref().map(|(name, _)| name.as_str()))
    }
}

/// What to do with a job whose id is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The unit fails.
    Error,
    /// The job that is there stands for it.
    Ignore,
}

/// What ran, for the invocation log.
#[derive(Clone, Debug)]
pub struct NewInvocation {
    /// The delivery that it goes back to.
    pub delivery_seq: Option<i64>,
    /// The job that it was.
    pub job_seq: Option<i64>,
    /// The job's id, if whoever enqueued it knows one.
    pub job_id: Option<String>,
    /// The plugin; none when no plugin ran.
    pub plugin: Option<String>,
    /// The plugin's version.
    pub version: Option<String>,
    /// The action.
    pub action: Option<String>,
    /// `run` or `success`.
    pub phase: Option<&'static str>,
    /// `ok`, an error's code, or why nothing ran.
    pub outcome: String,
    /// The result or the error, as JSON.
    pub detail: Option<Json>,
    /// From 1.
    pub attempt: u32,
    /// How long it took, in microseconds.
    pub duration_us: i64,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Of each delivery, in order.
    pub deliveries: Vec<Ingested>,
    /// Of each job, in order: its `seq`; none when the job that was there stands for it.
    pub jobs: Vec<Option<i64>>,
    /// Of each written record, in order: its new version.
    pub versions: Vec<i64>,
    /// Of each job to take back, in order: whether it was there.
    pub cancelled: Vec<bool>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// It is kept, and its job waits.
    New {
        /// The delivery's.
        seq: i64,
        /// The `seq` of its job.
        job: i64,
    },
    /// It is kept, and its job is parked: see [`NewDelivery::parked_if_replayed`].
    Parked {
        /// The delivery's.
        seq: i64,
        /// The `seq` of its job.
        job: i64,
    },
    /// It was there already.
    Duplicate,
}

/// Why a unit was not committed. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else wrote a record that the unit was decided on: decide again.
    #[error("`{key}` of `{shop}` was written meanwhile")]
    Conflict {
        /// Whose.
        shop: Shop,
        /// Which.
        key: RecordKey,
    },
    /// A unique index refuses a record.
    #[error("the unique index `{index}` has this value already")]
    NotUnique {
        /// Its name.
        index: String,
    },
    /// A job of this id is there.
    #[error("a job with the id `{id}` is not finished yet")]
    DuplicateJob {
        /// The id.
        id: String,
    },
    /// The host does not own the partition any more.
    #[error("the lease of partition {part} is lost")]
    Fenced {
        /// The partition.
        part: i64,
    },
    /// The job was finished, parked or taken back meanwhile.
    #[error("the job {job} is not there any more")]
    JobGone {
        /// Its `seq`.
        job: i64,
    },
    /// It would take its shop beyond a quota.
    #[error("{0}")]
    Quota(QuotaExceeded),
    /// The database refuses a value, now and always.
    #[error("the database refuses the values: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// The database did not answer. Whether the unit was committed is not known when the connection broke.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// What it says.
        reason: String,
    },
    /// Too much is waiting: limit `commits_waiting_max`.
    #[error("{waiting} commits are waiting already; hint: try again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
}
