//! The emulated platform, through its doors: what a client and a receiver of webhooks see of it.
//!
//! Signatures, schema and costs are held to computations and data of others, because the emulator is what clients are
//! tested with: what is wrong here is wrong there unseen. To add a behaviour, add a test to the module of its idea.

mod costs;
mod graphql;
mod page;
mod receiver;
mod rest;
mod schema;
mod webhooks;

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tradewind_emulator::{Config, Emulator, NewSubscription, Plan, Product, ProductEdit, Topic};
use tradewind_tests::{NOW, SEED};

use receiver::Receiver;

const APP: &str = "test-client-id";
const SECRET: &str = "test-client-secret";
const SHOP: &str = "hats.myshopify.com";
const VERSION: &str = "2026-07";

/// An emulator with one app in one shop.
struct Setup {
    emulator: Emulator,
    token: String,
    client: Client,
}

/// Sends updates at once.
fn config() -> Config {
    Config { debounce: Duration::ZERO, ..Config::new(SEED, NOW) }
}

impl Setup {
    async fn new(config: Config, plan: Plan, products: usize) -> Self {
        let emulator = Emulator::start(config).await.unwrap();
        emulator.add_app(APP, SECRET).unwrap();
        emulator.add_shop(SHOP, plan, products).unwrap();
        let token = emulator.install(APP, SHOP).unwrap();
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { emulator, token, client }
    }

    fn subscribe(&self, receiver: &Receiver, topics: &[Topic]) {
        for topic in topics {
            self.emulator.subscribe(APP, SHOP, NewSubscription::new(*topic, receiver.url())).unwrap();
        }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}/admin/api/{VERSION}/{path}", self.emulator.shop_url(SHOP));
        self.client.request(method.parse().unwrap(), url).header("X-Shopify-Access-Token", &self.token)
    }

    async fn rest(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.request(method, path);
        let request = if let Some(body) = body { request.body(body.to_string()) } else { request };
        let response = request.send().await.unwrap();
        (response.status(), read(response).await)
    }

    /// The whole answer of GraphQL.
    async fn graphql(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let response = self.request("POST", "graphql.json").body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        read(response).await
    }

    /// The data of an answer without errors.
    async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.graphql(query, variables).await;
        assert_eq!(answer["errors"], Value::Null, "{answer:#}");
        answer["data"].clone()
    }

    fn merchant_sets_title(&self, id: u64, title: &str) -> Product {
        let edit = ProductEdit { title: Some(title.to_owned()), ..ProductEdit::default() };
        self.emulator.edit_product(SHOP, id, &edit).unwrap()
    }

    fn some_product(&self) -> Product {
        self.emulator.products(SHOP).unwrap().remove(0)
    }
}

async fn read(response: Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What it shares with the clients that it tests, it cannot find wrong in them.
#[test]
fn the_emulator_shares_nothing_with_what_it_tests() {
    let manifest = tradewind_tests::repository().join("host/crates/emulator/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let shared: Vec<_> =
        manifest.lines().filter(|line| line.starts_with("tradewind-") || line.contains("path = ")).collect();
    assert!(shared.is_empty(), "{shared:?}");
}
