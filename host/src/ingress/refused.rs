//! Lines of the log about what was refused. Strangers cause them, so there is a bound of how fast they come.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines that may come at once. 50: whoever sets up an app sees each of its mistakes.
pub const REFUSED_LINES_MAX: u32 = 50;

/// After how long one more line may come. A second: a day of it are some megabytes.
const REFUSED_LINE_EVERY: Duration = Duration::from_secs(1);

/// Bytes of an example in a sum. 100: longer than any path that is meant.
const EXAMPLE_BYTES_MAX: usize = 100;

/// What was refused, for a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// What it was answered; 0 for nothing.
    pub(super) status: u16,
    /// One of few words: strangers do not choose it.
    pub(super) word: &'static str,
}

/// Who may write a line.
#[derive(Clone, Debug)]
pub(super) struct Refused(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    lines: u32,
    since: Instant,
    unsaid: Unsaid,
}

/// Those without a line, since the last sum.
#[derive(Debug, Default)]
struct Unsaid {
    requests: u64,
    kinds: BTreeMap<Kind, u64>,
    /// What the first of them asked for.
    example: String,
}

impl Unsaid {
    /// `401 unsigned: 950, 404 unknown: 3`.
    fn kinds(&self) -> String {
        self.kinds.iter().fold(String::new(), |mut text, (kind, count)| {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a text does not fail.
            let _ = write!(text, "{comma}{} {}: {count}", kind.status, kind.word);
            text
        })
    }
}

impl Refused {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { lines: REFUSED_LINES_MAX, since: Instant::now(), unsaid: Unsaid::default() })))
    }

    /// Whether what was refused now gets a line of its own. What gets none is in a sum, a second later, with what one of them
    /// asked for as an example.
    pub(super) fn may_say(&self, status: u16, word: &'static str, asked: &str) -> bool {
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
        state.unsaid.requests += 1;
        *state.unsaid.kinds.entry(Kind { status, word }).or_default() += 1;
        if state.unsaid.requests == 1 {
            asked[..asked.floor_char_boundary(EXAMPLE_BYTES_MAX)].clone_into(&mut state.unsaid.example);
            tokio::spawn(self.clone().say_sum());
        }
        false
    }

    async fn say_sum(self) {
        tokio::time::sleep(REFUSED_LINE_EVERY).await;
        let unsaid = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).unsaid);
        let (requests, kinds, example) = (unsaid.requests, unsaid.kinds(), unsaid.example);
        tracing::warn!(requests, kinds, example, "more requests refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_refusals_are_a_sum() {
        let refused = Refused::new();
        let said = |refusals: u32| {
            let kinds = [(404, "unknown"), (401, "unsigned"), (401, "unsigned"), (400, "malformed")];
            let kinds = kinds.into_iter().cycle().take(refusals as usize);
            kinds.filter(|(status, word)| refused.may_say(*status, word, &"/é".repeat(1_000))).count()
        };
        assert_eq!(said(1_000), REFUSED_LINES_MAX as usize);
        {
            let unsaid = &refused.0.lock().unwrap().unsaid;
            assert_eq!(unsaid.requests, 1_000 - u64::from(REFUSED_LINES_MAX));
            assert_eq!(unsaid.kinds(), "400 malformed: 238, 401 unsigned: 475, 404 unknown: 237");
            assert_eq!(unsaid.example.len(), EXAMPLE_BYTES_MAX);
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(refused.0.lock().unwrap().unsaid.kinds(), "");
        assert_eq!(said(1_000), 1);
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(said(1_000), REFUSED_LINES_MAX as usize);
    }
}
