//! The pipeline over a real store and the real sandbox: what a delivery or a job leaves behind.
//!
//! `puppet` plays scripts that come as fields of the record, so that a test says in one place what the plugin does and what
//! has to come of it.

mod conflicts;
mod contention;
mod deliveries;
mod isolation;
mod jobs;
mod probe;
mod queries;
mod quotas;
mod records;
mod spellings;
mod success;
mod units;
