//! The limits of a scheduler, each with its unit and its reason.

use std::time::Duration;

/// Default of `jobs_in_flight_max`, jobs. 256: as many as a commit takes. The more are under way, the more of them ride in each
/// commit and each read: with 64 a webhook takes a tenth more of the processors' time on SQLite, and on PostgreSQL, where each
/// waits for several answers of the server, a host does a third of the jobs. The sandbox has its own bounds on guests.
pub(crate) const JOBS_IN_FLIGHT_MAX: usize = 256;

/// Default of `jobs_held_max`, jobs. A kilobyte each: 50 MB. Beyond it every shop is held to a little.
pub(crate) const JOBS_HELD_MAX: usize = 50_000;

/// Bytes of what held jobs carry that are kept in memory. 8 MiB: some 800 jobs with a usual record, more than wait on a host
/// that keeps up. The others' are read again when it is their turn.
pub const PAYLOADS_BYTES_MAX: usize = 8 << 20;

/// Bytes that a job may carry without being counted. 1 KiB: as much as the job itself takes.
pub(crate) const PAYLOAD_BYTES_FREE: usize = 1 << 10;

/// Default of `lease_ms`: how long a host may be silent. 7 s: with a beat more, which is when others look, and the taking of
/// all partitions in four rounds, a dead host's jobs run elsewhere within 10 s; a database that is restarted is not taken for a
/// dead host.
pub(crate) const LEASE_MS: u64 = 7_000;

/// Beats in a lease. 5: three may be lost on the way.
pub const BEATS_PER_LEASE: u32 = 5;

/// Leases that are taken or given back at once. 16: each is a commit, and the next beat waits behind them.
pub(crate) const LEASES_AT_ONCE_MAX: usize = 16;

/// Default of `poll_ms`. 2 s: only jobs wait for it that another process has committed without being heard.
pub(crate) const POLL_MS: u64 = 2_000;

/// Polls after which shops with work here are read again too, from a minute back: 15 s at the default.
pub(crate) const POLLS_PER_RECENT: u64 = 8;

/// Polls after which every shop is read again from its first job: ten minutes at the default. It finds parked jobs of a busy
/// shop that another process has let run again without being heard.
pub(crate) const POLLS_PER_FULL: u64 = 300;

/// Jobs that were found by reading and have ended, whose numbers are remembered in case they are still to be offered. 65,536:
/// two seconds at full speed, for a step that takes microseconds.
pub(crate) const ENDED_MAX: usize = 65_536;

/// How long a transaction may be under way. What it commits has numbers that may be lower than what was read meanwhile.
/// A minute: a server that takes longer has lost the connection.
pub(crate) const TRANSACTION_MAX: Duration = Duration::from_mins(1);

/// Default of `hand_over_ms`. 30 s: most jobs are done by then, and a partition's others do not wait longer for a long one.
pub(crate) const HAND_OVER_MS: u64 = 30_000;

/// Messages that wait for the driver. 8,192: it takes a microsecond for each. Whoever comes then is looked for later.
pub const MESSAGES_MAX: usize = 8_192;

/// What the driver takes in of each kind before it starts jobs again. 64: half a millisecond, which is how long a job that
/// was just offered may wait for it.
pub(crate) const TAKEN_IN_MAX: usize = 64;

/// Reads of queued jobs at once. 2: half of the connections that read SQLite; the others are for the jobs themselves.
pub(crate) const REFILLS_AT_ONCE_MAX: usize = 2;

/// Delayed jobs that one statement brings to the queue.
pub(crate) const WOKEN_ROWS_MAX: u32 = 256;

/// Panics of the host in one job before it is parked. 3: the first may have been somebody else's fault.
pub const HOST_PANICS_MAX: u32 = 3;

/// How long a job waits whose end is not known, the first time and at most. It doubles.
pub(crate) const UNKNOWN_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How long nothing is started after jobs in a row whose end is not known, the first time and at most. It doubles.
pub(crate) const TROUBLE_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long after a failed read the next one waits.
pub(crate) const READ_PAUSE: Duration = Duration::from_millis(500);

/// How long after a listening connection broke the next is made.
pub(crate) const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// `first`, doubled `times` times, `most` at most.
pub(crate) fn doubled((first, most): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(most)
}
