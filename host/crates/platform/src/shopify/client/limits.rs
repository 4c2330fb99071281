//! Every limit of the client with its unit and its reason.

use std::time::Duration;

/// How often a call is tried again. 12: what plugins that move here were promised by the platform that they come from.
pub const PLATFORM_RETRIES_MAX: u32 = 12;

/// How long a call may take with all its waiting, in milliseconds, when it does not say. One minute: what the usual
/// client gives one request, and enough for twelve retries of a short overload.
pub const CALL_MS_DEFAULT: u64 = 60_000;

/// The longest that a call may ask for, in milliseconds. Ten minutes: who waits longer wants a job that runs later.
pub const CALL_MS_MAX: u64 = 600_000;

/// How long one attempt may wait for its answer. One minute: Shopify itself gives up before.
pub(super) const ATTEMPT_MAX: Duration = Duration::from_mins(1);

/// How long connecting may take, names and TLS included. Ten seconds: three lost packets, and no longer.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a connection is kept for the next call. 30 seconds: shorter than load balancers keep theirs, because a write
/// on a connection that the other side just closed is a write whose fate nobody knows.
pub(super) const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(30);

/// Bytes of a response. 16 MiB: 250 products, the longest page, with 60 KiB each.
pub const RESPONSE_BYTES_MAX: usize = 16 << 20;

/// Bytes of a request's body. 16 MiB: a picture of 10 MB as text, and room for the rest.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;

/// Bytes of an answer that is not JSON which an error keeps. 1 KiB: the title of an HTML page is within.
pub(super) const EXCERPT_BYTES_MAX: usize = 1 << 10;

/// The pause before an answer that says nothing else is asked for again.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// The pause before connecting again.
pub(super) const PAUSE_UNREACHABLE: Duration = Duration::from_secs(1);

/// How long an answer may hold everybody who waits for a budget. One minute: Shopify asks for two seconds; what asks for more
/// is something on the way, and holds only the call that it answered.
pub(super) const BUDGET_PAUSE_MAX: Duration = Duration::from_mins(1);

/// How much longer a pause may become by chance: a quarter of it, and up to 100 ms, so that those who were refused together
/// do not come back together.
pub(super) const JITTER_PART: u32 = 4;
pub(super) const JITTER_MIN: Duration = Duration::from_millis(100);

/// Points that a document is taken to cost before the platform has said it. 10: what one mutation costs.
pub(super) const COST_UNKNOWN: f64 = 10.0;

/// Documents whose cost is remembered, twice: 2,048 in use and those before them. 64 bytes each.
pub(super) const COSTS_MAX: usize = 2_048;

/// How long a budget that nobody uses is remembered. Ten minutes: every bucket is full after 20 seconds, and what is lost
/// is only its size.
pub(super) const BUDGET_IDLE: Duration = Duration::from_mins(10);

/// How many budgets there are before idle ones are looked for. 1,024: a few hundred kilobytes.
pub(super) const BUDGETS_SWEEP_MIN: usize = 1_024;

/// How many calls may wait for one budget. 1,000: at two a second the last of them waits eight minutes; the ones behind it
/// would only hold memory until their deadline.
pub const WAITING_MAX: usize = 1_000;

/// Warnings of the platform that are remembered so as to be logged once. 256: when more come, the log has them twice.
pub(super) const NOTICES_MAX: usize = 256;

/// Bytes of `errors` that an error keeps whole. 64 KiB: an error for each of 250 items of a call.
pub(super) const ERRORS_BYTES_MAX: usize = 64 << 10;
