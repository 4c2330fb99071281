//! The whole power of a plugin, as one trait.
//!
//! The sandbox can do nothing by itself: every effect that a plugin has on the outside goes through [`Session`]. The
//! pipeline implements it over a unit of work, [`FakeSession`](crate::fake::FakeSession) in memory. Every method but
//! `log` has a body that answers `not-available`, so that a host offers what it has and no more; the sandbox in which
//! a plugin is installed offers nothing at all.
//!
//! To give plugins a new power, add a function to the contract, a method with such a body here, and the call that joins
//! them in `host`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tradewind_model::{ActionError, ActiveRecord, Json};

pub use crate::call::{BigCommerceApi, LaterCall, Platform, PlatformCall};

/// What a session's methods answer.
pub type Answer<T> = Result<T, ActionError>;

/// What one invocation may do. A session belongs to one invocation and to one shop, and comes back when it ends.
#[async_trait]
pub trait Session: Send {
    /// Takes a log entry. Already bounded.
    fn log(&mut self, entry: LogEntry);

    /// Whether anybody would see an entry of this level.
    fn log_enabled(&self, _level: Level) -> bool {
        true
    }

    /// A setting that the operator made for this plugin.
    fn config(&mut self, _name: &str) -> Option<Json> {
        None
    }

    /// A secret that the operator granted to this plugin.
    fn secret(&mut self, _name: &str) -> Answer<Option<String>> {
        Err(ActionError::not_available("config.secret"))
    }

    /// The webhook's body, when the invocation did not bring it. An error ends the invocation as the host's own fault.
    async fn payload(&mut self) -> Answer<Option<Json>> {
        Ok(None)
    }

    /// Reads one record.
    async fn find(&mut self, _model: &str, _which: Which, _options: Json) -> Answer<Option<Json>> {
        Err(ActionError::not_available("data.find"))
    }

    /// Reads one page of a query.
    async fn find_many(&mut self, _model: &str, _query: Json) -> Answer<Page> {
        Err(ActionError::not_available("data.find-many"))
    }

    /// Counts what a query matches.
    async fn count(&mut self, _model: &str, _query: Json) -> Answer<u64> {
        Err(ActionError::not_available("data.count"))
    }

    /// Writes records into the unit of work. Answers what was written, `null` for a deletion.
    async fn write(&mut self, _model: &str, _write: Write, _options: Json) -> Answer<Json> {
        Err(ActionError::not_available("data writes"))
    }

    /// Runs another action inside this unit of work.
    async fn run_action(&mut self, _action: &str, _params: Json) -> Answer<Json> {
        Err(ActionError::not_available("data.run-action"))
    }

    /// Writes the record that the action is about into the unit of work now.
    async fn save(&mut self, _record: &ActiveRecord) -> Answer<()> {
        Err(ActionError::not_available("active-record.save"))
    }

    /// Stores `state` and what was written so far.
    async fn checkpoint(&mut self, _state: Json) -> Answer<()> {
        Err(ActionError::not_available("invocation.checkpoint"))
    }

    /// Adds a job to the unit of work and answers its id.
    async fn enqueue(&mut self, _work: Work, _options: Json) -> Answer<String> {
        Err(ActionError::not_available("queue.enqueue"))
    }

    /// What became of a job.
    async fn job_status(&mut self, _id: &str) -> Answer<Json> {
        Err(ActionError::not_available("queue.status"))
    }

    /// Takes back a job that has not started.
    async fn cancel_job(&mut self, _id: &str) -> Answer<bool> {
        Err(ActionError::not_available("queue.cancel"))
    }

    /// Finds a shop whose client the plugin may use; none when `which` is the current shop and there is none of this
    /// platform.
    async fn shop(&mut self, platform: Platform, which: WhichShop) -> Answer<Option<ClientShop>> {
        match which {
            WhichShop::Current => Ok(None),
            _ => Err(ActionError::not_available(platform.as_str())),
        }
    }

    /// Whether a call changes something on its platform. A document that cannot be understood does. It is parsed elsewhere than
    /// on the guest's stack.
    async fn writes(&mut self, platform: Platform, call: &PlatformCall) -> Answer<bool> {
        match call {
            PlatformCall::Rest { .. } => Ok(!call.only_reads()),
            PlatformCall::Graphql { .. } => Err(ActionError::not_available(platform.as_str())),
        }
    }

    /// Calls a platform. Waits for the budget, retries what is worth it.
    async fn call(&mut self, shop: &ClientShop, _call: PlatformCall) -> Answer<Json> {
        Err(ActionError::not_available(shop.platform.as_str()))
    }

    /// Reads the next page of a platform's list: its items and where to go on, none after the last.
    async fn next_page(
        &mut self,
        shop: &ClientShop,
        _list: &PlatformList,
        _cursor: Option<String>,
    ) -> Answer<ListPage> {
        Err(ActionError::not_available(shop.platform.as_str()))
    }

    /// Sends an HTTP request to a third party, if its host was granted.
    async fn send_http(&mut self, _request: HttpRequest) -> Answer<HttpResponse> {
        Err(ActionError::not_available("http.send"))
    }

    /// What is known of a shop's budget.
    fn budget(&mut self, _shop: &ClientShop) -> Json {
        Json::null()
    }

    /// A shop's access token.
    fn credentials(&mut self, _shop: &ClientShop) -> Answer<Json> {
        Err(ActionError::permanent(
            tradewind_model::code::NOT_GRANTED,
            "reading an access token needs the grant `expose-token`",
        ))
    }
}

/// A session that can do nothing: the sandbox in which `describe` runs.
#[derive(Debug, Default)]
pub struct NoSession;

impl Session for NoSession {
    fn log(&mut self, _entry: LogEntry) {}
}

/// The severity of a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the field's standard names")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// What a plugin logged, or a line of its standard output (`info`) or standard error (`warn`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    /// Its severity.
    pub level: Level,
    /// One line for a person.
    pub message: String,
    /// A JSON object, or `null`.
    pub fields: Json,
}

/// Which record to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this id.
    Id(String),
    /// The one with these values of a unique key, a JSON object.
    Key(Json),
    /// The first that a query matches.
    First(Json),
}

/// One page of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// A JSON array.
    pub records: Json,
    /// Whether there is a page behind this one.
    pub has_next: bool,
    /// Whether there is a page before it.
    pub has_previous: bool,
    /// The cursor of the last record.
    pub end_cursor: Option<String>,
    /// The cursor of the first record.
    pub start_cursor: Option<String>,
}

/// A change of records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented at the contract's function of the same name")]
pub enum Write {
    Create { values: Json },
    Update { id: String, values: Json },
    Upsert { on: Vec<String>, values: Json },
    Delete { id: String },
    Converge { id: String, field: String, values: Json },
    BulkCreate { values: Json },
    BulkUpdate { values: Json },
    BulkUpsert { on: Vec<String>, values: Json },
    BulkDelete { ids: Vec<String> },
}

impl Which {
    /// Bytes of how the record is named.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Id(id) => id.len(),
            Self::Key(json) | Self::First(json) => json.as_str().len(),
        }
    }
}

impl Write {
    /// Bytes of the values to write.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Create { values }
            | Self::Update { values, .. }
            | Self::Upsert { values, .. }
            | Self::Converge { values, .. }
            | Self::BulkCreate { values }
            | Self::BulkUpdate { values }
            | Self::BulkUpsert { values, .. } => values.as_str().len(),
            Self::Delete { .. } | Self::BulkDelete { .. } => 0,
        }
    }
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Runs an action.
    Action {
        /// `model.verb` or a global action's name.
        action: String,
        /// A JSON object.
        params: Json,
    },
    /// Calls the platform of the current shop.
    Call {
        /// What to send where.
        call: LaterCall,
    },
}

/// How a plugin names a shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichShop {
    /// The one that the invocation belongs to.
    Current,
    /// By our id.
    Id(String),
    /// By the platform's own name: Shopify's domain, BigCommerce's store hash.
    Name(String),
}

/// A shop whose client the plugin may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientShop {
    /// Its platform.
    pub platform: Platform,
    /// Our id.
    pub id: String,
    /// Shopify's domain, BigCommerce's store hash.
    pub name: String,
}

/// A request to a third party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpRequest {
    /// In upper case.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The bytes to send.
    pub body: Option<Vec<u8>>,
    /// As in the contract's `http.send`.
    pub options: Json,
}

/// A third party's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A list on a platform that comes in pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformList {
    /// The call for the first page.
    pub call: PlatformCall,
    /// GraphQL: the dotted path of the connection in the response.
    pub connection: Option<String>,
}

/// One page of a platform's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// A JSON array.
    pub items: Json,
    /// Where the next page begins, none after the last.
    pub next: Option<String>,
}
