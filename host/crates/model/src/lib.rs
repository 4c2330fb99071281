//! Values and decisions, as functions of values.
//!
//! This crate does no IO: no async runtime, no SQL, no sandbox, no clock, no randomness. Whatever a decision needs to know
//! is an argument. To add a decision, add a module that takes values and returns one, with its cases beside it.

pub mod declaration;
pub mod document;
pub mod error;
pub mod graphql;
pub mod job_options;
pub mod json;
pub mod near;
pub mod object;
pub mod param_schema;
pub mod query;
pub mod record;
pub mod retry;
pub mod same;
pub mod schedule;
pub mod schema;
pub mod tenant;
pub mod value;
pub mod work;

pub use declaration::{ActionDeclaration, Ask, Description, OnModel, OnWebhook, Param};
pub use error::{ActionError, code};
pub use json::{InvalidJson, Json};
pub use record::{ActiveRecord, Baseline, Change, Origin};
pub use tenant::{RecordKey, Shop};
