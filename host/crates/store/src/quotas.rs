//! Quotas: what one shop may keep, so that a plugin or a sender fills its own shop's share of the database and no other's.
//!
//! Each has a name, a unit, a default and a reason. The usage that they bound is in [`crate::usage`]; [`crate::admission`]'s
//! bounds are those of a single value instead.
//!
//! To add one: a field with its default, a variant of [`Quota`], the check in `usage/cache`, and a key of the host's `[limits]`.

use std::fmt;

/// The quotas of each shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Unfinished jobs, parked ones included, up to which plugins may enqueue. 100,000: some minutes of one busy host's work,
    /// and a hundred megabytes.
    pub shop_jobs_waiting_max: u64,
    /// Bytes of what unfinished jobs carry. 256 MiB: 2.5 KiB for each of the most that may wait.
    pub shop_job_bytes_max: u64,
    /// Jobs that plugins enqueue within a minute. 10,000: what one unit of work may enqueue, and more than one shop's share of
    /// a host runs in a minute.
    pub shop_jobs_per_minute_max: u64,
    /// Records, the host's own notes included. 1,000,000: the largest catalogs with all their variants.
    pub shop_records_max: u64,
    /// Bytes of records. 2 GiB: 2 KiB for each of the most.
    pub shop_record_bytes_max: u64,
    /// Bytes of kept deliveries. 1 GiB: two weeks of a webhook of 9 KB every five seconds, as they are compressed.
    pub shop_body_bytes_max: u64,
    /// Bytes of the invocation log. 256 MiB: a month of an invocation every five seconds.
    pub shop_log_bytes_max: u64,
    /// Jobs that enqueued one another, one after the other. 1,000: a sync that enqueues a job for each page of 250 reads a
    /// quarter of a million records, and a job that enqueues itself comes to an end.
    pub job_chain_max: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            shop_jobs_waiting_max: 100_000,
            shop_job_bytes_max: 256 << 20,
            shop_jobs_per_minute_max: 10_000,
            shop_records_max: 1_000_000,
            shop_record_bytes_max: 2 << 30,
            shop_body_bytes_max: 1 << 30,
            shop_log_bytes_max: 256 << 20,
            job_chain_max: 1_000,
        }
    }
}

impl Quotas {
    /// Unfinished jobs, and their bytes, up to which the host's own promises are kept: deliveries, and the calls that follow a
    /// commit. Twice what plugins may fill, so that a plugin which fills its share keeps no webhook away.
    pub(crate) const RESERVE: u64 = 2;

    /// The value of a quota.
    pub fn of(&self, quota: Quota) -> u64 {
        match quota {
            Quota::JobsWaiting => self.shop_jobs_waiting_max,
            Quota::JobBytes => self.shop_job_bytes_max,
            Quota::JobsPerMinute => self.shop_jobs_per_minute_max,
            Quota::Records => self.shop_records_max,
            Quota::RecordBytes => self.shop_record_bytes_max,
            Quota::BodyBytes => self.shop_body_bytes_max,
            Quota::LogBytes => self.shop_log_bytes_max,
            Quota::JobChain => self.job_chain_max,
        }
    }
}

/// One of the [`Quotas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    /// `shop_jobs_waiting_max`.
    JobsWaiting,
    /// `shop_job_bytes_max`.
    JobBytes,
    /// `shop_jobs_per_minute_max`.
    JobsPerMinute,
    /// `shop_records_max`.
    Records,
    /// `shop_record_bytes_max`.
    RecordBytes,
    /// `shop_body_bytes_max`.
    BodyBytes,
    /// `shop_log_bytes_max`. Nothing is refused for it: the oldest entries are deleted early.
    LogBytes,
    /// `job_chain_max`.
    JobChain,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::JobsWaiting,
        Self::JobBytes,
        Self::JobsPerMinute,
        Self::Records,
        Self::RecordBytes,
        Self::BodyBytes,
        Self::LogBytes,
        Self::JobChain,
    ];

    /// The limit's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::JobsWaiting => "shop_jobs_waiting_max",
            Self::JobBytes => "shop_job_bytes_max",
            Self::JobsPerMinute => "shop_jobs_per_minute_max",
            Self::Records => "shop_records_max",
            Self::RecordBytes => "shop_record_bytes_max",
            Self::BodyBytes => "shop_body_bytes_max",
            Self::LogBytes => "shop_log_bytes_max",
            Self::JobChain => "job_chain_max",
        }
    }

    /// The unit of its value, for people.
    pub fn unit(self) -> &'static str {
        match self {
            Self::JobsWaiting => "unfinished jobs",
            Self::JobBytes => "bytes of unfinished jobs",
            Self::JobsPerMinute => "jobs enqueued within a minute",
            Self::Records => "records",
            Self::RecordBytes => "bytes of records",
            Self::BodyBytes => "bytes of kept webhooks",
            Self::LogBytes => "bytes of the invocation log",
            Self::JobChain => "jobs that enqueued one another",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::JobsWaiting => "enqueue one job for many records, or wait until some are done",
            Self::JobBytes => "enqueue ids instead of documents, or wait until some jobs are done",
            Self::JobsPerMinute => "enqueue one job for many records, or try again in a minute",
            Self::Records => "delete records that are not needed",
            Self::RecordBytes => "keep less in each record, or delete records that are not needed",
            Self::BodyBytes => "every kept webhook still has a job; run, retry or purge them",
            Self::LogBytes => "the oldest entries are deleted early",
            Self::JobChain => "use `checkpoint` to go on within one job",
        }
    }

    /// True when the same may succeed later without a change of the plugin.
    pub fn is_transient(self) -> bool {
        self != Self::JobChain
    }
}

/// A unit would take its shop beyond a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The quota.
    pub quota: Quota,
    /// Its value; for the host's own jobs with the share that is kept in reserve for them.
    pub max: u64,
    /// Usage before the unit, with what other units are about to commit.
    pub used: u64,
    /// Growth by the unit.
    pub added: u64,
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, max, used, added } = self;
        let (name, unit, hint) = (quota.name(), quota.unit(), quota.hint());
        if *quota == Quota::JobChain {
            return write!(f, "{used} {unit} led here, at most {max} may (`{name}`); hint: {hint}");
        }
        write!(
            f,
            "the shop has {used} {unit} and {added} more were to come, at most {max} may be (`{name}`); hint: {hint}"
        )
    }
}
