//! What a piece of work runs in: the app, the unit of work, and why it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tradewind_model::query::Reach;
use tradewind_model::{ActionError, Json, RecordKey, Shop};
use tradewind_runtime::session::LogEntry;
use tradewind_runtime::{Failure, Runtime};
use tradewind_store::{Fence, Store};

use super::app::App;
use super::clients::Clients;
use super::lines::Lines;
use super::work::Shared;
use crate::watch::Watch;

/// The time, as an argument: a test's stands still.
pub trait Clock: Send + Sync {
    /// Time since 1970.
    fn now(&self) -> Duration;
}

/// Random numbers from one seed, for ids and for what guests see. Not for secrets.
#[derive(Debug)]
pub struct Chance {
    state: AtomicU64,
}

impl Chance {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// The next number (`SplitMix64`, whose state may be shared because it only counts).
    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What plugins log, and whose log it is.
pub trait LogSink: Send + Sync {
    /// Takes an entry. Already bounded.
    fn log(&self, from: &Source<'_>, entry: LogEntry);
}

/// Who logged.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Whose data it works on.
    pub shop: &'a Shop,
    /// The plugin.
    pub plugin: &'a str,
    /// Its action.
    pub action: &'a str,
    /// The delivery that it goes back to.
    pub delivery_seq: Option<i64>,
    /// The job that it is.
    pub job_seq: Option<i64>,
}

/// What all work of a process shares.
pub(crate) struct Host {
    pub(crate) store: Arc<Store>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Chance,
    pub(crate) log: Arc<dyn LogSink>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) clients: OnceLock<Arc<dyn Clients>>,
    pub(crate) watch: OnceLock<Arc<dyn Watch>>,
}

impl Host {
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().as_millis()).unwrap_or(i64::MAX)
    }

    /// An id that sorts by the time at which it was made.
    pub(crate) fn new_id(&self) -> String {
        format!("{:011x}{:016x}", self.now_ms(), self.chance.next())
    }
}

/// Why something runs: the same for everything that one job starts.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// As the contract's `invocation.trigger`.
    pub(crate) trigger: Json,
    /// The webhook's body, where it was read anyway.
    pub(crate) payload: Option<Json>,
    /// Whether the delivery's body is the payload, to be read when somebody asks for it.
    pub(crate) payload_is_kept: bool,
    pub(crate) delivery_seq: Option<i64>,
    pub(crate) job_seq: Option<i64>,
    pub(crate) job_id: Option<String>,
    /// What every attempt has in common, for idempotency keys.
    pub(crate) key: String,
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) depth: u32,
    /// The number of jobs that enqueued one another up to the job that does it.
    pub(crate) chain: u32,
    pub(crate) fence: Option<Fence>,
    /// What an earlier attempt's checkpoint stored.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Whether a call is all that the job does, so that it may commit a part of it early.
    ///
    /// Not so for a delivery, nor for a verb that every model has: its record would be committed, and the attempt after that
    /// would find nothing new in it, or a record where it is to create one, and leave the rest of the work undone. Nor for
    /// one of several actions: those before it would run again on what they have committed.
    pub(crate) alone: bool,
}

/// Where a call goes on from. Persisted: members are only added.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Which of the job's calls.
    pub(crate) of: String,
    /// What the plugin wants to find.
    pub(crate) state: Json,
}

/// What a piece of work runs in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) host: Arc<Host>,
    pub(crate) app: Arc<App>,
    pub(crate) cause: Arc<Cause>,
    pub(crate) work: Shared,
    /// How many actions are around this one.
    pub(crate) nested: u32,
    /// The records that whoever asks may reach: the grant of the plugin whose session it is, or that enqueued the job.
    pub(crate) reach: Reach,
}

/// Actions that may be inside one another. 8: an action that runs itself is told so before it has taken many sandboxes.
pub const NESTED_ACTIONS_MAX: u32 = 8;

/// Why work stopped before its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// A plugin failed.
    Plugin { plugin: String, action: String, failure: Box<Failure> },
    /// Something else was wrong.
    Error(ActionError),
}

impl From<ActionError> for Stopped {
    fn from(error: ActionError) -> Self {
        Self::Error(error)
    }
}

impl Stopped {
    /// What a plugin that asked for the work learns.
    pub(crate) fn into_error(self) -> ActionError {
        match self {
            Self::Error(error) => error,
            Self::Plugin { plugin, action, failure } => match *failure {
                Failure::Returned(error) => error,
                failure => ActionError {
                    retryable: failure.retryable(),
                    ..ActionError::permanent(
                        tradewind_model::code::INTERNAL,
                        format!("the action `{action}` of `{plugin}` failed: {failure}"),
                    )
                },
            },
        }
    }
}

impl Context {
    pub(crate) fn shop(&self) -> Shop {
        self.work.lock().shop.clone()
    }

    /// The same for a call that is all that its job does.
    pub(crate) fn alone(&self) -> Self {
        Self { cause: Arc::new(Cause { alone: self.nested == 0, ..(*self.cause).clone() }), ..self.clone() }
    }

    pub(crate) async fn find(&self, key: &RecordKey) -> Result<Option<super::work::Found>, ActionError> {
        self.work.find(&self.host.store, key).await
    }
}
