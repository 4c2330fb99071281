//! The time of day, for hosts that run.

use std::time::{Duration, SystemTime};

use crate::pipeline::Clock;

/// The machine's clock.
#[derive(Debug)]
pub(super) struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "one of the few places that read the clock")]
    fn now(&self) -> Duration {
        // A clock before 1970 is no time at all.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}
