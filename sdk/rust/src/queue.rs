//! Durable background work. A job becomes visible when this call's unit of work commits.

use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::host::{queue as host, text};

/// How a job waits and runs. `Options::default()` is what most jobs want.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// A named queue; given by its name alone, it runs one job at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// `low`, `default` or `high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Not before this time (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// An id of your own, which only one waiting job can have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `ignore` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_duplicate_id: Option<String>,
    /// A number of retries, or an object as in the contract's `queue.wit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Value>,
}

/// A named queue with a bound on how many of its jobs run at once.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// How many jobs run at once.
    pub max_concurrency: u32,
}

/// Runs an action later; returns the job's id.
pub fn enqueue(action: &str, params: &impl Serialize, options: &Options) -> Result<String> {
    Ok(host::enqueue_action(action, &text(params)?, &text(options)?)?)
}

/// Sends one GraphQL call to Shopify later; returns the job's id.
pub fn enqueue_shopify(query: &str, variables: &impl Serialize, options: &Options) -> Result<String> {
    let call = serde_json::json!({"platform": "shopify", "graphql": {"query": query, "variables": variables}});
    Ok(host::enqueue_call(&call.to_string(), &text(options)?)?)
}

/// Sends any call to a platform later, as in the contract's `queue.enqueue-call`; returns the job's id.
pub fn enqueue_call(call: &Value, options: &Options) -> Result<String> {
    Ok(host::enqueue_call(&call.to_string(), &text(options)?)?)
}

/// What became of a job.
pub fn status(id: &str) -> Result<Value> {
    Ok(serde_json::from_str(&host::status(id)?)?)
}

/// Takes back a job that has not started; false when it has.
pub fn cancel(id: &str) -> Result<bool> {
    Ok(host::cancel(id)?)
}
