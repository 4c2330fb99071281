//! Deliveries, records, jobs and leases on SQLite and PostgreSQL; every write goes through one committer.
//!
//! Start reading at [`store::Store`], then `committer` and `apply`: that is the way of every write. The crate knows
//! nothing of plugins, platforms or HTTP, and is the only one that knows SQL. Neither guest code nor the network is ever
//! waited for with a transaction open: a [`unit::Unit`] holds decisions that were made before, and what they were made on.
//!
//! To add a table: a migration for each database under the same name, a module with its statements, and those in
//! [`STATEMENTS`].

mod admission;
mod apply;
mod batch;
mod committer;
mod database;
mod deploy;
mod durability;
mod error;
mod expression;
mod inbox;
mod invocations;
mod jobs;
mod leases;
mod link;
mod local;
mod panics;
mod private;
mod queries;
mod quotas;
mod reader;
mod recent;
mod records;
mod respell;
mod search;
mod store;
mod turns;
mod unit;
mod usage;
mod watches;
mod writeback;

pub use admission::{JSON_DEPTH_MAX, KEY_BYTES_MAX};
pub use committer::{BYTES_WAITING_MAX, COMMITS_WAITING_MAX};
pub use database::{Location, MigrationState};
pub use deploy::Deployed;
pub use durability::Setting;
pub use error::{QueryLimit, StoreError};
pub use inbox::{Delivery, DeliveryFilter};
pub use invocations::LoggedInvocation;
pub use jobs::{ChangedJob, Job, JobCount, JobFilter, JobState, WokenJob};
pub use leases::Partition;
pub use link::{Engine, Statement};
pub use queries::{QUERIES_WAITING_MAX, QUERY_MS_MAX, QUERY_RESULT_BYTES_MAX, QUERY_STEPS_MAX};
pub use quotas::{Quota, QuotaExceeded, Quotas};
pub use records::Stored;
pub use store::{Announcements, Store};
pub use unit::{
    CommitError, Committed, Fence, Finish, How, Ingested, JobKind, NewDelivery, NewInvocation, NewJob, OnDuplicate,
    Read, Unit, Write, compress,
};
pub use usage::recount::Recount;
pub use usage::{Growth, ShopUsage, Usage};
pub use watches::{Outdated, WATCH_QUERIES_MAX, WATCH_STEPS_MAX, Watch};

/// Every statement that the store asks a database, for the test that prepares them all.
pub static STATEMENTS: &[&Statement] = &[
    &apply::NUMBERS,
    &apply::FENCES,
    &apply::records::VERSIONS,
    &apply::work::INSERT_DELIVERIES,
    &apply::work::REPLAYED_BODIES,
    &apply::work::INSERT_JOBS,
    &apply::work::DELETE_JOBS,
    &apply::work::UPDATE_JOBS,
    &apply::work::CHECKPOINT_JOBS,
    &apply::work::START_JOBS,
    &apply::work::CANCEL_JOBS,
    &apply::work::JOB_BYTES,
    &apply::records::RECORD_BYTES,
    &apply::records::INSERT_RECORDS,
    &apply::records::UPDATE_RECORDS,
    &apply::records::DELETE_RECORDS,
    &apply::work::INSERT_INVOCATIONS,
    &records::READ_RECORDS,
    &inbox::READ_DELIVERIES,
    &inbox::LIST_DELIVERIES,
    &inbox::FIND_DELIVERY,
    &inbox::OLD_DELIVERIES,
    &inbox::PRUNE_DELIVERIES,
    &jobs::LIST_JOBS,
    &jobs::COUNT_JOBS,
    &jobs::QUEUED_JOBS,
    &jobs::DUE_JOBS,
    &jobs::WAKE_JOBS,
    &jobs::PARK_DAMAGED,
    &jobs::LAST_JOB,
    &leases::FORGET_START,
    &jobs::PIECE_OF_JOBS,
    &jobs::NEXT_DUE,
    &jobs::WAITING_SHOPS,
    &jobs::RETRY_JOBS,
    &jobs::PARK_JOBS,
    &jobs::PURGE_JOBS,
    &jobs::JOBS_OF_DELIVERY,
    &jobs::JOB_BY_ID,
    &leases::READ_PARTITIONS,
    &leases::RENEW_LEASES,
    &leases::TAKE_PARTITION,
    &leases::RELEASE_PARTITION,
    &leases::READ_HOSTS,
    &leases::HOST_BEAT,
    &leases::FORGET_HOST,
    &deploy::LIST_INDEXES,
    &deploy::READ_DEPLOYMENT,
    &deploy::WRITE_DEPLOYMENT,
    &respell::READ_MODEL,
    &respell::UPDATE_OBJECTS,
    &invocations::OF_DELIVERY,
    &invocations::OF_JOB_ID,
    &invocations::PRUNE_INVOCATIONS,
    &records::PRUNE_NOTES,
    &store::ANNOUNCE,
    &usage::CHANGE_USAGE,
    &usage::READ_USAGE,
    &usage::TOTAL_USAGE,
    &usage::FULLEST_SHOPS,
    &usage::room::NEXT_BODIES,
    &usage::room::DELETE_BODIES,
    &usage::room::NEXT_LOG,
    &usage::room::DELETE_LOG,
    &usage::recount::RECOUNT,
    &usage::recount::NEXT_SHOPS,
    &usage::recount::DRIFT,
    &durability::DURABILITY,
];
