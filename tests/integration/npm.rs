//! The platform's own client against the emulator, and our client against a server made of the platform's own schema: each
//! side is held by somebody who knows nothing of the other.
//!
//! The packages are in `tests/npm`; without them the tests say so and are over.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tradewind_emulator::{Config, Emulator, Plan};
use tradewind_model::Json;
use tradewind_platform::shopify::{AdminApi, Client, Connection, Options, VARIANTS_QUERY, children_of, children_query};
use tradewind_tests::{NOW, SEED, acceptance, repository};

const SHOP: &str = "hats.myshopify.com";
const VERSION: &str = "2026-07";

/// The folder of the packages; none when they are not installed.
fn packages(test: &str) -> Option<PathBuf> {
    let folder = repository().join("tests/npm");
    if folder.join("node_modules/.package-lock.json").is_file() {
        return Some(folder);
    }
    println!(
        "SKIPPED: `{test}` needs the packages of `tests/npm`; hint: `cargo xtask test` installs them where npm works"
    );
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_client_finds_a_shopify() {
    let Some(folder) = packages("the_platforms_own_client_finds_a_shopify") else { return };
    let emulator = Emulator::start(Config { debounce: Duration::ZERO, ..Config::new(SEED, NOW) }).await.unwrap();
    emulator.add_app("client", "secret").unwrap();
    emulator.add_shop(SHOP, Plan::Standard, 5).unwrap();
    let token = emulator.install("client", SHOP).unwrap();
    let product = emulator.products(SHOP).unwrap().remove(0);
    let mut node = Command::new("node");
    node.arg(folder.join("client.mjs")).args([&emulator.url(), SHOP, &token, VERSION, &product.id.to_string()]);
    let output = tokio::task::spawn_blocking(move || node.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let read = &seen["read"]["data"]["product"];
    assert_eq!(read["legacyResourceId"], json!(product.id.to_string()));
    assert_eq!(read["title"], json!(product.title));
    assert_eq!(seen["read"]["extensions"]["cost"]["throttleStatus"]["maximumAvailable"], json!(2000));
    assert_eq!(seen["tagged"]["data"]["tagsAdd"]["userErrors"], json!([]));
    assert_eq!(seen["updated"]["data"]["productUpdate"]["product"]["title"], json!("Named by npm"));
    assert!(!seen["userErrors"].as_array().unwrap().is_empty(), "{seen}");
    assert!(seen["invalid"][0].as_str().unwrap().contains("nothing"), "{seen}");
    assert_eq!((&seen["rest"]["status"], &seen["rest"]["count"]), (&json!(200), &json!(2)));
    assert!(seen["rest"]["link"].as_str().unwrap().contains("rel=\"next\""), "{seen}");
    let after = emulator.product(SHOP, product.id).unwrap().unwrap();
    assert_eq!(after.title, "Named by npm");
    assert!(after.tags.iter().any(|tag| tag == "by-npm"), "{:?}", after.tags);
    emulator.stop().await;
}

/// A server made of the official schema. It ends with its standard input.
struct Mock {
    process: std::process::Child,
    url: String,
}

impl Mock {
    fn start(folder: &Path, schema: &Path) -> Self {
        let mut node = Command::new("node");
        node.arg(folder.join("mock.mjs")).arg(schema).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = node.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, url: format!("http://127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends by itself; whether it did well is nobody's concern.
        let _ = self.process.wait();
    }
}

fn client(url: &str) -> Client {
    let api = AdminApi::new("tradewind-tests", Arc::new(()), || 7).unwrap();
    api.client(Connection {
        app: "tests".into(),
        shop: SHOP.into(),
        domain: SHOP.into(),
        token: "token".into(),
        api_version: VERSION.into(),
        base_url: Some(url.into()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_finds_the_official_schema() {
    const TEST: &str = "our_client_finds_the_official_schema";
    let Some(folder) = packages(TEST) else { return };
    let schema = acceptance::text("shopify-admin-graphql/admin-2026-07.graphql.gz").unwrap();
    let Some(schema) = schema else { return println!("{}", acceptance::skipped(TEST)) };
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("schema.graphql");
    std::fs::write(&file, schema).unwrap();
    let mock = tokio::task::spawn_blocking(move || Mock::start(&folder, &file)).await.unwrap();
    let client = client(&mock.url);
    let options = Options::default();

    // What the host itself asks.
    let (query, variables) = children_query("shopify/product-variant", &["9007199254740993".to_owned()]).unwrap();
    assert_eq!(query, VARIANTS_QUERY);
    let data = client.graphql(query, &variables, &options).await.unwrap();
    let variants = children_of(&data);
    assert!(!variants.is_empty(), "{}", data.as_str());
    assert_eq!(variants[0]["id"].to_string(), "9007199254740993");
    assert_eq!(variants[0]["price"], json!("19.90"));

    // What the example plugin asks.
    let tags = "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { field message } } }";
    let variables = Json::parse(r#"{"id":"gid://shopify/Product/1","tags":["a"]}"#).unwrap();
    client.graphql(tags, &variables, &options).await.unwrap();

    // What the schema does not have is refused, and not tried again.
    let refused =
        client.graphql("{ product(id: \"gid://shopify/Product/1\") { nothing } }", &Json::null(), &options).await;
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("nothing") && !refused.retryable(), "{refused}");
}
