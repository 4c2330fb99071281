//! What happens in a host, told to whoever watches: the live feed, the metrics.
//!
//! Whoever tells does not wait and does not know who listens. To tell of something more, add a method with an empty body.

use std::sync::Arc;

use tradewind_model::{Json, RecordKey, Shop};
use tradewind_platform::shopify::Webhook;
use tradewind_runtime::Usage;
use tradewind_runtime::session::LogEntry;
use tradewind_store::Job;

use crate::pipeline::Source;

/// Is told what happens.
pub trait Watch: Send + Sync {
    /// A webhook is on disk.
    fn received(&self, _received: &Received<'_>) {}

    /// A request for an app's webhooks was answered, in one word.
    fn answered(&self, _app: &str, _word: &'static str) {}

    /// A plugin was called.
    fn invoked(&self, _invoked: &Invoked<'_>) {}

    /// A plugin logged something.
    fn logged(&self, _from: &Source<'_>, _entry: &LogEntry) {}

    /// A platform was called.
    fn called(&self, _called: &Called<'_>) {}

    /// Whether [`ended`](Self::ended) is to be told what changed, which takes a comparison of each record that was written.
    fn wants_changes(&self) -> bool {
        false
    }

    /// An attempt at a job ended, and its end is committed.
    fn ended(&self, _attempt: &Attempt<'_>) {}
}

/// Nobody.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// One after the other.
pub struct Both(pub Arc<dyn Watch>, pub Arc<dyn Watch>);

impl Watch for Both {
    fn received(&self, received: &Received<'_>) {
        self.0.received(received);
        self.1.received(received);
    }

    fn answered(&self, app: &str, word: &'static str) {
        self.0.answered(app, word);
        self.1.answered(app, word);
    }

    fn invoked(&self, invoked: &Invoked<'_>) {
        self.0.invoked(invoked);
        self.1.invoked(invoked);
    }

    fn logged(&self, from: &Source<'_>, entry: &LogEntry) {
        self.0.logged(from, entry);
        self.1.logged(from, entry);
    }

    fn called(&self, called: &Called<'_>) {
        self.0.called(called);
        self.1.called(called);
    }

    fn wants_changes(&self) -> bool {
        self.0.wants_changes() || self.1.wants_changes()
    }

    fn ended(&self, attempt: &Attempt<'_>) {
        self.0.ended(attempt);
        self.1.ended(attempt);
    }
}

/// A webhook that was taken in.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Whose.
    pub shop: &'a Shop,
    /// What it says of itself.
    pub webhook: &'a Webhook,
    /// The delivery's number.
    pub seq: i64,
    /// Of the body.
    pub bytes: usize,
}

/// A call of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Invoked<'a> {
    /// Whose data it worked on.
    pub shop: &'a Shop,
    /// The delivery that it goes back to.
    pub delivery_seq: Option<i64>,
    /// The plugin.
    pub plugin: &'a str,
    /// Its action.
    pub action: &'a str,
    /// `run` or `success`.
    pub phase: &'static str,
    /// `ok`, or the kind of failure.
    pub outcome: &'a str,
    /// What it returned, or what was wrong.
    pub detail: Option<&'a Json>,
    /// What it took.
    pub usage: &'a Usage,
}

/// A call to a platform.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// The app.
    pub app: &'a str,
    /// The shop's domain.
    pub shop: &'a str,
    /// What was called: an operation's name, or a method with a path.
    pub what: &'a str,
    /// The response's status; none when there was none.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// What it cost, in points or requests.
    pub cost: Option<f64>,
    /// What is left of the budget.
    pub available: Option<f64>,
    /// The whole budget.
    pub maximum: Option<f64>,
    /// How often it was sent again.
    pub retries: u32,
    /// How long it took, in microseconds, with all waiting.
    pub took_us: u64,
}

/// An attempt at a job.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The job.
    pub job: &'a Job,
    /// One word: `stored`, `stale`, `ran`, `retried`, `parked`.
    pub outcome: &'a str,
    /// What went wrong.
    pub error: Option<&'a Json>,
    /// What it wrote, when that is wanted.
    pub changes: &'a [Changed],
    /// How many of our own writes led to it.
    pub depth: u32,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// A record that was written.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Which.
    pub key: RecordKey,
    /// Whether it is no more.
    pub deleted: bool,
    /// Whether it was not there before.
    pub created: bool,
    /// The fields that are different.
    pub fields: Vec<ChangedField>,
}

/// A field of a record that was written.
#[derive(Clone, Debug)]
pub struct ChangedField {
    /// Its name.
    pub name: String,
    /// What it was.
    pub before: Option<Json>,
    /// What it is.
    pub after: Option<Json>,
    /// The plugin whose write to the platform this is the echo of.
    pub echo_of: Option<String>,
}
