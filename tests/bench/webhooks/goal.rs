//! What we want to reach, beside what was measured. Nothing fails by it: the numbers depend on the machine.

use std::time::Duration;

use tradewind_store::Engine;

use super::table::time;

/// How many times as much as Express, and as Node.js alone.
pub(crate) fn times(engine: Engine) -> (f64, f64) {
    match engine {
        Engine::Sqlite => (10.0, 5.0),
        Engine::Postgres => (8.0, 4.0),
    }
}

/// The 99th percentile of answers while all connections are busy.
pub(crate) const SATURATED_P99: Duration = Duration::from_millis(15);

/// Median and 99th percentile of answers at 100 webhooks a second.
pub(crate) const CALM: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(5));

/// Resident under load, without the caches of the database's driver; in bytes.
pub(crate) const BUSY_BYTES: u64 = 64 << 20;

/// Resident before the first webhook, in bytes.
pub(crate) const IDLE_BYTES: u64 = 40 << 20;

/// A ratio and whether it is what we want.
pub(crate) fn at_least(value: f64, goal: f64) -> String {
    format!("{value:.2} (goal {goal:.0}: {})", word(value >= goal))
}

/// A duration and whether it is short enough.
pub(crate) fn within(value: Duration, goal: Duration) -> String {
    format!("{} (goal {}: {})", time(value), time(goal), word(value < goal))
}

/// Bytes and whether they are few enough.
pub(crate) fn below(value: Option<u64>, goal: u64) -> String {
    let reached = value.map_or("unknown", |value| word(value < goal));
    format!("goal {}: {reached}", mib(Some(goal)))
}

/// Bytes as the table shows them.
pub(crate) fn mib(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
}

fn word(reached: bool) -> &'static str {
    if reached { "reached" } else { "missed" }
}
