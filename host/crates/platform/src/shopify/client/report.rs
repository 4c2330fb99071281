//! What became of a call, for a live feed and for metrics.

use std::sync::Arc;
use std::time::Duration;

/// One of Shopify's Admin APIs, each with a budget of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their own names")]
pub enum Api {
    Graphql,
    Rest,
}

impl Api {
    /// Its name in feeds, metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Graphql => "graphql",
            Self::Rest => "rest",
        }
    }
}

/// What became of one call, its retries included. Holds no token, no argument and no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct CallReport {
    /// The app's key.
    pub app: Arc<str>,
    /// The shop's key.
    pub shop: Arc<str>,
    /// Which API was called.
    pub api: Api,
    /// GraphQL: the operation's name, or its first field. REST: the method and the path, with `{id}` for numbers.
    pub operation: String,
    /// Points that the last answer said it cost; a REST call costs one.
    pub cost: Option<f64>,
    /// Points that were left after it, in flight deducted.
    pub available: Option<f64>,
    /// Points of the full bucket.
    pub maximum: Option<f64>,
    /// How much of the time was spent waiting: for the budget, and before retries.
    pub waited: Duration,
    /// How often it was tried again.
    pub retries: u32,
    /// The last answer's status, if there was one.
    pub status: Option<u16>,
    /// From the call to its end.
    pub duration: Duration,
    /// The error's code, as plugins see it; none when the call succeeded.
    pub error: Option<&'static str>,
}

/// Who is told of every call that ended. Called on the caller's task: it must not block.
pub trait Observer: Send + Sync {
    /// A call ended.
    fn called(&self, report: &CallReport);
}

/// Nobody.
impl Observer for () {
    fn called(&self, _report: &CallReport) {}
}
