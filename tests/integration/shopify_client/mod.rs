//! The client of Shopify's Admin API, against a platform that answers what it is told to.
//!
//! Times are not asserted: what a call waits for is read from the error of one that may not wait so long. To add a case,
//! find the module of its idea: what answers mean, what is sent, lists, or what calls share.

mod acceptance;
mod answers;
mod lists;
mod requests;
mod script;
mod shared;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tradewind_model::Json;
use tradewind_platform::shopify::client::{AdminApi, CallReport, Client, Connection, Observer, Options, PlatformError};

use script::{Asked, Platform, Scripted};

const TOKEN: &str = "shpat_never-to-be-seen";
const VERSION: &str = "2026-07";
const QUERY: &str = "query Shop { shop { id } }";
const MUTATION: &str = "mutation Tag($id: ID!) { tagsAdd(id: $id, tags: [\"a\"]) { userErrors { message } } }";

/// Remembers what it was told.
#[derive(Default)]
struct Reports(Mutex<Vec<CallReport>>);

impl Observer for Reports {
    fn called(&self, report: &CallReport) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone());
    }
}

/// A platform with a script, and the client of one shop of it.
struct Setup {
    platform: Platform,
    api: AdminApi,
    client: Client,
    reports: Arc<Reports>,
}

impl Setup {
    async fn new(script: impl IntoIterator<Item = Scripted>) -> Self {
        let platform = Platform::start(script).await;
        let reports = Arc::new(Reports::default());
        // No jitter: what is waited for can be told exactly.
        let api = AdminApi::new("Tradewind/test", Arc::clone(&reports) as Arc<dyn Observer>, || 0).unwrap();
        let client = api.client(connection(platform.url(), "app", "1"));
        Self { platform, api, client, reports }
    }

    fn asked(&self) -> Vec<Asked> {
        self.platform.asked()
    }

    /// What the observer was told last.
    fn report(&self) -> CallReport {
        self.reports.0.lock().unwrap_or_else(PoisonError::into_inner).last().unwrap().clone()
    }

    async fn get(&self, options: &Options) -> Result<Json, PlatformError> {
        self.client.rest("GET", "shop.json", &Json::null(), None, options).await
    }

    async fn post(&self, options: &Options) -> Result<Json, PlatformError> {
        let body = json(r#"{"product":{"title":"Hat"}}"#);
        self.client.rest("POST", "products.json", &Json::null(), Some(&body), options).await
    }

    async fn query(&self, options: &Options) -> Result<Json, PlatformError> {
        self.client.graphql(QUERY, &Json::null(), options).await
    }

    async fn mutate(&self, options: &Options) -> Result<Json, PlatformError> {
        self.client.graphql(MUTATION, &json(r#"{"id":"gid://shopify/Product/1"}"#), options).await
    }
}

fn connection(url: &str, app: &str, shop: &str) -> Connection {
    Connection {
        app: app.into(),
        shop: shop.into(),
        domain: "hats.myshopify.com".into(),
        token: TOKEN.into(),
        api_version: VERSION.into(),
        base_url: Some(format!("{url}/hats").into()),
    }
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn options() -> Options {
    Options::default()
}

fn within(timeout_ms: u64) -> Options {
    Options { timeout_ms: Some(timeout_ms), ..options() }
}

fn retries(retries: u32) -> Options {
    Options { retries: Some(retries), ..options() }
}

/// The answer to a query that cost nothing, with what is left.
fn costed(requested: f64, available: f64, restore_rate: f64) -> Value {
    serde_json::json!({
        "data": { "shop": { "id": 1 } },
        "extensions": { "cost": {
            "requestedQueryCost": requested,
            "actualQueryCost": requested,
            "throttleStatus": { "maximumAvailable": 1000, "currentlyAvailable": available, "restoreRate": restore_rate },
        } },
    })
}

/// How long a call would have had to wait.
#[track_caller]
fn wait(result: Result<Json, PlatformError>) -> Duration {
    match result {
        Err(error @ PlatformError::RateLimited { .. }) => error.retry_after().unwrap(),
        other => panic!("{other:?}"),
    }
}
