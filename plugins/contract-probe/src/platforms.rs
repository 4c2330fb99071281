//! The platforms' clients.

use tradewind_sdk::serde_json::json;

use crate::Seen;
use crate::bindings::tradewind::plugin::actions::Invocation;
use crate::bindings::tradewind::plugin::bigcommerce;
use crate::bindings::tradewind::plugin::shopify;

const READ: &str = "query Read($after: String) { products(after: $after) { nodes { id } } }";
const WRITE: &str = "mutation Write { productDelete(input: {id: \"1\"}) { deletedProductId } }";

pub(crate) fn see_shopify(_: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let domain = |client: shopify::Client| json!(client.shop_domain());
    seen.saw_answer("for-shop-id", shopify::Client::for_shop_id("1"), domain);
    seen.saw_answer("for-shop-id-absent", shopify::Client::for_shop_id("9"), domain);
    seen.saw_answer("for-shop-domain", shopify::Client::for_shop_domain("hats.myshopify.com"), domain);
    let Some(client) = shopify::Client::current() else {
        seen.saw("current", "none");
        return seen;
    };
    seen.saw("shop-id", client.shop_id());
    seen.saw("shop-domain", client.shop_domain());
    seen.saw_json_answer("graphql", client.graphql(READ, "null", "null"));
    seen.saw_json_answer("graphql-write", client.graphql(WRITE, "null", "null"));
    seen.saw_json_answer("graphql-not-json", client.graphql(READ, "after", "null"));
    seen.saw_json_answer("rest", client.rest("get", "products/1.json", "null", None, "null"));
    seen.saw_json_answer("rest-write", client.rest("put", "products/1.json", "null", Some("{}"), "null"));
    seen.saw_json_answer("rest-elsewhere", client.rest("get", "https://evil.example/", "null", None, "null"));
    seen.saw_answer("rest-pages", client.rest_pages("products.json", "{}", "null"), |pager| {
        json!([pager.next().is_ok_and(|page| page.is_some()), pager.next().is_ok_and(|page| page.is_none())])
    });
    seen.saw_answer("graphql-pages", client.graphql_pages(READ, "{}", "products", "null"), |pager| {
        json!([pager.next().is_ok_and(|page| page.is_some()), pager.next().is_ok_and(|page| page.is_none())])
    });
    seen.saw_json("budget", &client.budget());
    seen.saw_json_answer("credentials", client.credentials());
    seen
}

pub(crate) fn see_bigcommerce(_: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let hash = |client: bigcommerce::Client| json!(client.store_hash());
    seen.saw_answer("for-store-id", bigcommerce::Client::for_store_id("1"), hash);
    seen.saw_answer("for-store-hash", bigcommerce::Client::for_store_hash("abc123"), hash);
    seen.saw_answer("for-store-hash-absent", bigcommerce::Client::for_store_hash("nothing"), hash);
    let Some(client) = bigcommerce::Client::current() else {
        seen.saw("current", "none");
        return seen;
    };
    seen.saw("store-id", client.store_id());
    seen.saw("store-hash", client.store_hash());
    let one = r#"{"path":{"id":1}}"#;
    seen.saw_json_answer("request", client.request("v3", "get", "/catalog/products/{id}", one));
    seen.saw_json_answer("request-v2", client.request("v2", "get", "/store", "null"));
    seen.saw_json_answer("request-v4", client.request("v4", "get", "/store", "null"));
    seen.saw_json_answer("request-write", client.request("v3", "delete", "/catalog/products/{id}", one));
    seen.saw_answer("pages", client.pages("v3", "/catalog/products", "null"), |pager| {
        json!([pager.next().is_ok_and(|page| page.is_some()), pager.next().is_ok_and(|page| page.is_none())])
    });
    seen.saw_json("budget", &client.budget());
    seen.saw_json_answer("credentials", client.credentials());
    seen
}
