//! Lines of the log about what was refused. Strangers cause them, so there is a bound of how fast they come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines that may come at once. 50: whoever sets up an app sees each of its mistakes.
pub const REFUSED_LINES_MAX: u32 = 50;

/// After how long one more line may come. A second: a day of it are some megabytes.
const REFUSED_LINE_EVERY: Duration = Duration::from_secs(1);

/// Who may write a line.
#[derive(Clone, Debug)]
pub(super) struct Refused(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    lines: u32,
    since: Instant,
    /// Those without a line, since the last sum.
    unsaid: u64,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { lines: REFUSED_LINES_MAX, since: Instant::now(), unsaid: 0 })))
    }

    /// Whether what was refused now gets a line of its own. What gets none is in a sum, a second later.
    pub(super) fn may_say(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = state.since.elapsed().as_secs() / REFUSED_LINE_EVERY.as_secs();
        if passed > 0 {
            let more = u32::try_from(passed).unwrap_or(u32::MAX);
            state.lines = state.lines.saturating_add(more).min(REFUSED_LINES_MAX);
            state.since = Instant::now();
        }
        if state.lines > 0 {
            state.lines -= 1;
            return true;
        }
        state.unsaid += 1;
        if state.unsaid == 1 {
            tokio::spawn(self.clone().say_sum());
        }
        false
    }

    async fn say_sum(self) {
        tokio::time::sleep(REFUSED_LINE_EVERY).await;
        let requests = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).unsaid);
        tracing::warn!(requests, "more requests refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_refusals_are_a_sum() {
        let refused = Refused::new();
        let said = |refusals: u32| (0..refusals).filter(|_| refused.may_say()).count();
        assert_eq!(said(1_000), REFUSED_LINES_MAX as usize);
        assert_eq!(refused.0.lock().unwrap().unsaid, 1_000 - u64::from(REFUSED_LINES_MAX));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(refused.0.lock().unwrap().unsaid, 0);
        assert_eq!(said(1_000), 1);
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(said(1_000), REFUSED_LINES_MAX as usize);
    }
}
