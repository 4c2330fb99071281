//! What a host takes and keeps at most: each limit with its default, its range and its reason.
//!
//! To add one: a field, a line in [`KEYS`], and a row in `docs/configuration.md`.

use std::path::Path;

use tradewind_runtime::Compiler;
use tradewind_store::{QUERY_MS_MAX, Quotas};

use super::document::Section;
use crate::ingress::{
    APP_KIB_MAX, BODIES_KIB_MAX, BODY_RATE_MIN, CONNECTIONS_MAX, ConnectionBounds, PEER_CONNECTIONS_MAX, PEER_KIB_MAX,
    RoomBounds,
};

/// The limits of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a webhook's body. 10 MiB: no platform documents a larger one, and what a plugin may be handed ends at 16.
    pub body_bytes_max: u64,
    /// Bytes a second that a body has to come with, after two seconds; 0 for any. 10 KiB: a hundredth of what the slowest
    /// platform has.
    pub body_rate_bytes_min: u64,
    /// KiB of all requests that arrive or wait for the disk. 256 MiB: a second of a fast network, twice.
    pub bodies_kib_max: u64,
    /// KiB of those of one sender. A quarter of all: who comes through one proxy still has 64 MiB.
    pub peer_kib_max: u64,
    /// KiB of those to one app. Half of all: more than one sender can fill.
    pub app_kib_max: u64,
    /// Connections at once. 4,096: with the buffers of their heads 128 MiB when all are busy.
    pub connections_max: u64,
    /// Connections of one sender at once. Half of all: who comes through one proxy still has 2,048.
    pub peer_connections_max: u64,
    /// Days that deliveries are kept for inspection and replay. 14: two weeks, one to notice and one to mend.
    pub deliveries_days: u64,
    /// Days that the log of invocations is kept. 30: a month, as reports are made.
    pub invocations_days: u64,
    /// Days that it is remembered that a record was deleted. 30: platforms report late by a day at most; a sync that was
    /// interrupted goes on within weeks.
    pub tombstones_days: u64,
    /// Bytes of all sandboxes' memories together; who needs more waits. 4 GiB: the bound of what plugins take from a machine.
    pub sandbox_bytes_max: u64,
    /// Milliseconds that a query of a plugin may run. 2,000: what a call may compute; a query that an index serves takes a few.
    pub query_ms_max: u64,
    /// Milliseconds that compiling a plugin may take. 120,000: ten times what the largest language's runtime takes on a small
    /// machine.
    pub compile_ms_max: u64,
    /// Bytes of memory that compiling a plugin may take. 4 GiB: the largest language's runtime takes one.
    pub compile_memory_bytes_max: u64,
    /// Seconds that work under way has to end after the host is told to stop. 25: what orchestrators wait, 30, less the time to
    /// close what is open.
    pub drain_seconds: u64,
    /// Seconds that a host may stand still before it ends itself. 60: a host call takes a second at most, and a disk that
    /// answers after half a minute is to be waited for.
    pub watchdog_seconds: u64,
    /// Quotas of each shop. The reasons are with the fields.
    pub quotas: Quotas,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 10 << 20,
            body_rate_bytes_min: BODY_RATE_MIN.into(),
            bodies_kib_max: BODIES_KIB_MAX.into(),
            peer_kib_max: PEER_KIB_MAX.into(),
            app_kib_max: APP_KIB_MAX.into(),
            connections_max: CONNECTIONS_MAX as u64,
            peer_connections_max: PEER_CONNECTIONS_MAX as u64,
            deliveries_days: 14,
            invocations_days: 30,
            tombstones_days: 30,
            sandbox_bytes_max: 4 << 30,
            query_ms_max: QUERY_MS_MAX,
            compile_ms_max: 120_000,
            compile_memory_bytes_max: 4 << 30,
            drain_seconds: 25,
            watchdog_seconds: 60,
            quotas: Quotas::default(),
        }
    }
}

impl Limits {
    /// The bounds of the public door's connections.
    pub fn connections(&self) -> ConnectionBounds {
        let count = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
        ConnectionBounds { all: count(self.connections_max), peer: count(self.peer_connections_max) }
    }

    /// The bounds of the memory for requests.
    pub fn room(&self) -> RoomBounds {
        RoomBounds {
            bodies_kib_max: small(self.bodies_kib_max),
            peer_kib_max: small(self.peer_kib_max),
            app_kib_max: small(self.app_kib_max),
        }
    }

    /// The least rate of a body, in bytes a second.
    pub fn body_rate_min(&self) -> u32 {
        small(self.body_rate_bytes_min)
    }

    /// A compiler within the limits: this program, started again.
    pub fn compiler(&self, program: &Path) -> Compiler {
        Compiler {
            program: program.to_owned(),
            ms_max: self.compile_ms_max,
            memory_bytes_max: self.compile_memory_bytes_max,
        }
    }
}

/// A limit whose range ends before this type does.
fn small(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// A limit's key, its field, and between what it has to be.
type Key = (&'static str, fn(&mut Limits) -> &mut u64, u64, u64);

/// Ten years: what is kept longer is an archive and belongs elsewhere.
const DAYS_MAX: u64 = 3_650;

/// Every limit. The least is what nothing works below; of bodies the most is what one call may hand to a plugin, of sandboxes
/// the least is one plugin's memory; of the room for bodies the least is one of the largest, twice; of a shop's bytes the least is twice what one call may hand over.
const KEYS: &[Key] = &[
    ("body_bytes_max", |limits| &mut limits.body_bytes_max, 1 << 10, 16 << 20),
    ("body_rate_bytes_min", |limits| &mut limits.body_rate_bytes_min, 0, 1 << 20),
    ("bodies_kib_max", |limits| &mut limits.bodies_kib_max, 32 << 10, 64 << 20),
    ("peer_kib_max", |limits| &mut limits.peer_kib_max, 32 << 10, 64 << 20),
    ("app_kib_max", |limits| &mut limits.app_kib_max, 32 << 10, 64 << 20),
    ("connections_max", |limits| &mut limits.connections_max, 16, 1 << 16),
    ("peer_connections_max", |limits| &mut limits.peer_connections_max, 1, 1 << 16),
    ("deliveries_days", |limits| &mut limits.deliveries_days, 1, DAYS_MAX),
    ("invocations_days", |limits| &mut limits.invocations_days, 1, DAYS_MAX),
    ("tombstones_days", |limits| &mut limits.tombstones_days, 1, DAYS_MAX),
    ("sandbox_bytes_max", |limits| &mut limits.sandbox_bytes_max, 128 << 20, 1 << 40),
    ("query_ms_max", |limits| &mut limits.query_ms_max, 10, 60_000),
    ("compile_ms_max", |limits| &mut limits.compile_ms_max, 1_000, 3_600_000),
    ("compile_memory_bytes_max", |limits| &mut limits.compile_memory_bytes_max, 256 << 20, 1 << 40),
    ("drain_seconds", |limits| &mut limits.drain_seconds, 0, 3_600),
    ("watchdog_seconds", |limits| &mut limits.watchdog_seconds, 5, 3_600),
    ("shop_jobs_waiting_max", |limits| &mut limits.quotas.shop_jobs_waiting_max, 100, 10_000_000),
    ("shop_job_bytes_max", |limits| &mut limits.quotas.shop_job_bytes_max, 32 << 20, 1 << 40),
    ("shop_jobs_per_minute_max", |limits| &mut limits.quotas.shop_jobs_per_minute_max, 60, 10_000_000),
    ("shop_records_max", |limits| &mut limits.quotas.shop_records_max, 1_000, 1_000_000_000),
    ("shop_record_bytes_max", |limits| &mut limits.quotas.shop_record_bytes_max, 32 << 20, 1 << 40),
    ("shop_body_bytes_max", |limits| &mut limits.quotas.shop_body_bytes_max, 32 << 20, 1 << 40),
    ("shop_log_bytes_max", |limits| &mut limits.quotas.shop_log_bytes_max, 1 << 20, 1 << 40),
    ("job_chain_max", |limits| &mut limits.quotas.job_chain_max, 1, 1_000_000),
];

/// Reads the section.
pub(super) fn read(server: &Section<'_>) -> Limits {
    let mut limits = Limits::default();
    let known: Vec<_> = KEYS.iter().map(|(name, ..)| *name).collect();
    let Some(section) = server.section("limits", &known) else { return limits };
    for (name, field, least, most) in KEYS {
        if let Some(value) = section.get(name).and_then(|item| item.number(*least..=*most)) {
            *field(&mut limits) = value;
        }
    }
    limits
}
