//! Shopify's Admin API, GraphQL and REST, as everything in the process calls it.
//!
//! [`AdminApi`] is made once: it has the connections and the budgets. A [`Client`] is one app at one shop. A call waits its
//! turn for the shop's budget (`budget`, `bucket`), is sent (`request`, `transport`), judged (`verdict`) and tried again
//! while that does no harm (`call`). Bodies are kept as text, so that ids stay exact.
//!
//! To add a kind of answer, add it to `verdict`, and to `error` when it is a failure of a new kind.

mod bucket;
mod budget;
mod budgets;
mod call;
mod document;
mod error;
mod limits;
mod notices;
mod options;
mod page;
mod report;
mod request;
mod told;
mod transport;
mod verdict;

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;
use tradewind_model::{Json, graphql};

pub use error::PlatformError;
pub use limits::{
    CALL_MS_DEFAULT, CALL_MS_MAX, PLATFORM_RETRIES_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, WAITING_MAX,
};
pub use options::Options;
pub use page::Page;
pub use report::{Api, CallReport, Observer};
pub use transport::{SetupError, install_tls};

use bucket::Level;
use budgets::Budgets;
use notices::Notices;
use page::CURSOR_VARIABLE;
use request::{Query, Request};
use transport::Transport;

use super::documents::Documents;
use super::effects::graphql_effects;
use crate::effect::Effect;

/// The way to Shopify for every app and shop of a process. Made once; cheap to clone.
#[derive(Clone)]
pub struct AdminApi {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    budgets: Budgets,
    notices: Notices,
    documents: Documents,
    observer: Arc<dyn Observer>,
    chance: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// One app at one shop, and the right to call it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The app's key: a budget belongs to an app at a shop.
    pub app: Arc<str>,
    /// Our id of the shop.
    pub shop: Arc<str>,
    /// `name.myshopify.com`.
    pub domain: Arc<str>,
    /// The access token. No message and no debug output shows it.
    pub token: SecretString,
    /// The version of the API for calls that do not say, for example `2026-07`.
    pub api_version: Arc<str>,
    /// Instead of `https://{domain}`: the root of an emulated shop, for example `http://127.0.0.1:4000/name`.
    pub base_url: Option<Arc<str>>,
}

impl AdminApi {
    /// Sets up HTTPS. `chance` gives any random numbers: pauses are stretched by them.
    pub fn new(
        user_agent: &str,
        observer: Arc<dyn Observer>,
        chance: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let (budgets, notices) = (Budgets::default(), Notices::default());
        let transport = Transport::new(user_agent)?;
        let (documents, chance) = (Documents::default(), Box::new(chance));
        Ok(Self { shared: Arc::new(Shared { transport, budgets, notices, documents, observer, chance }) })
    }

    /// Whether a GraphQL document holds a mutation; one that cannot be parsed may.
    pub fn writes(&self, query: &str) -> bool {
        graphql::writes(self.shared.documents.parsed(query).as_deref())
    }

    /// What a GraphQL call changes; nothing for a query, or for what is not GraphQL.
    pub fn effects(&self, query: &str, variables: &Json) -> Vec<Effect> {
        let document = self.shared.documents.parsed(query);
        document.map_or_else(Vec::new, |document| graphql_effects(&document, variables))
    }

    /// The client of a connection. Costs nothing: a token that was renewed is a new connection, the budgets stay.
    pub fn client(&self, connection: Connection) -> Client {
        Client { shared: Arc::clone(&self.shared), connection: Arc::new(connection) }
    }
}

impl fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminApi").finish_non_exhaustive()
    }
}

/// Calls one shop for one app. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

impl Client {
    /// The connection that it calls with.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Runs a GraphQL operation and answers its `data`. Errors of the operation and `userErrors` are errors.
    ///
    /// A mutation is tried again only after answers that say that it was not done, unless all its fields have
    /// `@idempotent(key: …)`. The option `idempotencyKey` is the variable `$idempotencyKey` of such a mutation.
    pub async fn graphql(&self, query: &str, variables: &Json, options: &Options) -> Result<Json, PlatformError> {
        let parsed = self.shared.documents.parsed(query);
        let request = Request::graphql(&self.connection, query, parsed.as_deref(), variables, options)?;
        Ok(call::call(&self.shared, &self.connection, request, options).await?.body)
    }

    /// Sends a REST request and answers the body; `null` when it is empty. `path` is relative to the versioned root, for
    /// example `products/1.json`.
    ///
    /// A `POST` is tried again only after answers that say that it was not done.
    pub async fn rest(
        &self,
        method: &str,
        path: &str,
        query: &Json,
        body: Option<&Json>,
        options: &Options,
    ) -> Result<Json, PlatformError> {
        let request = Request::rest(&self.connection, method, path, &Query::Of(query), body, options)?;
        Ok(call::call(&self.shared, &self.connection, request, options).await?.body)
    }

    /// Reads a page of a REST list: the first one, or the one that `cursor` of the page before it names.
    pub async fn rest_page(
        &self,
        path: &str,
        query: &Json,
        cursor: Option<&str>,
        options: &Options,
    ) -> Result<Page, PlatformError> {
        let query = cursor.map_or(Query::Of(query), Query::Raw);
        let request = Request::rest(&self.connection, "GET", path, &query, None, options)?;
        let answer = call::call(&self.shared, &self.connection, request, options).await?;
        page::rest(&answer.body, &answer.headers)
    }

    /// Reads a page of the connection at a dotted `path` of the answer, with a query that takes `$after` and selects
    /// `pageInfo { hasNextPage endCursor }`: the first page, or the one behind `cursor`.
    pub async fn graphql_page(
        &self,
        query: &str,
        variables: &Json,
        path: &str,
        cursor: Option<&str>,
        options: &Options,
    ) -> Result<Page, PlatformError> {
        let moved = match cursor.and_then(|cursor| Json::of(cursor).ok()) {
            Some(cursor) => {
                let mut members = variables.members().unwrap_or_default();
                members.retain(|(name, _)| name != CURSOR_VARIABLE);
                members.push((CURSOR_VARIABLE.to_owned(), cursor));
                Json::object(members.iter().map(|(name, value)| (name.as_str(), value)))
            }
            None => variables.clone(),
        };
        let data = self.graphql(query, &moved, options).await?;
        page::graphql(&data, path, cursor)
    }

    /// What is known of the budget now: `{"graphql": {"available", "maximum", "restoreRate"}, "rest": {"used", "maximum"}}`,
    /// each `null` before the platform's first answer.
    pub fn budget(&self) -> Json {
        let Connection { app, shop, .. } = &*self.connection;
        let level = |api| self.shared.budgets.level(app, shop, api);
        let budget = Budget {
            graphql: level(Api::Graphql).map(|Level { available, maximum, restore_rate }| GraphqlBudget {
                available: available.floor(),
                maximum,
                restore_rate,
            }),
            rest: level(Api::Rest)
                .map(|Level { available, maximum, .. }| RestBudget { used: (maximum - available).ceil(), maximum }),
        };
        Json::of(&budget).unwrap_or_else(|_| Json::null())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &self.connection).finish_non_exhaustive()
    }
}

#[derive(serde::Serialize)]
struct Budget {
    graphql: Option<GraphqlBudget>,
    rest: Option<RestBudget>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct GraphqlBudget {
    available: f64,
    maximum: f64,
    restore_rate: f64,
}

#[derive(serde::Serialize)]
struct RestBudget {
    used: f64,
    maximum: f64,
}
