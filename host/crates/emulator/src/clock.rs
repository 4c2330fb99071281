//! The emulator's time: it begins when it is told and runs as fast as it is told.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Time that runs `speed` times as fast as the machine's: buckets refill, retries come and edits are collapsed by it.
///
/// What a receiver is given to answer is not sped up, because the receiver is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    at: Timestamp,
    speed: u32,
}

impl Clock {
    pub(crate) fn new(since_epoch: Duration, speed: u32) -> Option<Self> {
        let at = Timestamp::UNIX_EPOCH.checked_add(since_epoch).ok()?;
        Some(Self { began: Instant::now(), at, speed: speed.max(1) })
    }

    /// How long the emulator has been running, in its own time.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed() * self.speed
    }

    /// The time of day. At the end of jiff's calendar it stands still.
    pub(crate) fn now(&self) -> Timestamp {
        self.at.checked_add(self.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// Waits, in the emulator's own time.
    pub(crate) async fn sleep(&self, how_long: Duration) {
        tokio::time::sleep(how_long / self.speed).await;
    }
}
