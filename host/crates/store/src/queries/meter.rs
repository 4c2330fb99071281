//! Usage of one query, and the limit that ends it. SQLite looks at it from inside of a statement, so looking is cheap.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{QUERY_RESULT_BYTES_MAX, QUERY_STEPS_MAX};
use crate::error::QueryLimit;

/// Steps of SQLite's virtual machine between two looks. 100: a few microseconds, unless the documents are large; a look takes
/// a hundredth of that.
pub(super) const STEPS_PER_LOOK: i32 = 100;

/// Grace after `statement_timeout` before a statement is cancelled from outside: the server is not there any more, or
/// it is the second of a query's statements. 200 milliseconds: one connection less for each query that takes too long.
const SERVER_LATE_MAX: Duration = Duration::from_millis(200);

/// The limit that a query reached, or the end of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Time,
    Steps,
    Bytes,
    /// The caller was cancelled. Nobody reads the error.
    Caller,
}

impl Reached {
    /// The limit's name and value, for the plugin.
    pub(super) fn named(self, ms_max: u64) -> QueryLimit {
        match self {
            Self::Time | Self::Caller => QueryLimit::Time { ms_max },
            Self::Steps => QueryLimit::Steps { max: QUERY_STEPS_MAX },
            Self::Bytes => QueryLimit::ResultBytes { max: QUERY_RESULT_BYTES_MAX },
        }
    }
}

/// Counts what one query uses.
#[derive(Debug)]
pub(crate) struct Meter {
    time_max: Duration,
    deadline: Mutex<Instant>,
    steps: AtomicU64,
    bytes: AtomicUsize,
    is_abandoned: AtomicBool,
    abandoned: Notify,
    reached: Mutex<Option<Reached>>,
}

impl Meter {
    pub(super) fn new(time_max: Duration) -> Self {
        Self {
            time_max,
            deadline: Mutex::new(Instant::now() + time_max),
            steps: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            is_abandoned: AtomicBool::new(false),
            abandoned: Notify::new(),
            reached: Mutex::default(),
        }
    }

    /// Starts the clock: the query runs from now on.
    pub(super) fn begin(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.time_max;
        self.steps.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Says that the caller was cancelled.
    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
        self.abandoned.notify_one();
    }

    /// Says that the database ended the query for its time.
    pub(super) fn time_out(&self) {
        self.reach(Reached::Time);
    }

    /// Counts [`STEPS_PER_LOOK`] steps. True: the query ends.
    pub(super) fn look(&self) -> bool {
        let steps = self.steps.fetch_add(STEPS_PER_LOOK.unsigned_abs().into(), Ordering::Relaxed);
        let reached = if self.is_abandoned.load(Ordering::Relaxed) {
            Reached::Caller
        } else if steps > QUERY_STEPS_MAX {
            Reached::Steps
        } else if Instant::now() >= self.deadline() {
            Reached::Time
        } else {
            return false;
        };
        self.reach(reached);
        true
    }

    /// Counts bytes that are read. False: there are too many.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let has_room = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUERY_RESULT_BYTES_MAX;
        if !has_room {
            self.reach(Reached::Bytes);
        }
        has_room
    }

    /// Returns when the time is over, and the server has not ended the statement itself, or when the caller was cancelled.
    pub(super) async fn over(&self) {
        tokio::select! {
            () = tokio::time::sleep_until((self.deadline() + SERVER_LATE_MAX).into()) => self.reach(Reached::Time),
            () = self.abandoned.notified() => self.reach(Reached::Caller),
        }
    }

    /// The limit that the query reached first.
    pub(crate) fn limit(&self) -> Option<Reached> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadline(&self) -> Instant {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, reached: Reached) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reached);
    }
}
