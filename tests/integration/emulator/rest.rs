//! The REST Admin API, as a client sees it.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tradewind_emulator::{Config, Plan};

use super::{SHOP, Setup, config, read};

#[tokio::test]
async fn a_product_from_beginning_to_end() {
    let setup = Setup::new(config(), Plan::Standard, 0).await;
    let new = json!({ "product": {
        "title": "Wool Hat",
        "tags": "b, A",
        "options": [{ "name": "Size", "values": ["S", "M"] }],
        "variants": [{ "option1": "S", "price": "7", "sku": "HAT-S" }, { "option1": "M", "price": 8.5 }],
    } });
    let (status, made) = setup.rest("POST", "products.json", Some(new)).await;
    let product = &made["product"];
    assert_eq!(
        (status, &product["tags"], &product["handle"]),
        (StatusCode::CREATED, &json!("A, b"), &json!("wool-hat"))
    );
    assert_eq!(product["variants"][1]["price"], "8.50");
    let path = format!("products/{}.json", product["id"]);

    let variant = json!({ "id": product["variants"][0]["id"], "price": "9.00" });
    let change = json!({ "product": { "title": "Felt Hat", "variants": [variant] } });
    let (status, changed) = setup.rest("PUT", &path, Some(change)).await;
    assert_eq!((status, changed["product"]["variants"].as_array().unwrap().len()), (StatusCode::OK, 1));
    assert_eq!(changed["product"]["variants"][0]["sku"], "HAT-S");

    let (_, some) = setup.rest("GET", &format!("{path}?fields=title,tags"), None).await;
    assert_eq!(some, json!({ "product": { "title": "Felt Hat", "tags": "A, b" } }));
    let (_, variants) = setup.rest("GET", &path.replace(".json", "/variants.json"), None).await;
    assert_eq!(variants["variants"][0]["price"], "9.00");
    assert_eq!(setup.rest("GET", "products/count.json", None).await.1, json!({ "count": 1 }));
    assert_eq!(setup.rest("DELETE", &path, None).await, (StatusCode::OK, json!({})));
    assert_eq!(setup.rest("GET", &path, None).await, (StatusCode::NOT_FOUND, json!({ "errors": "Not Found" })));
}

#[tokio::test]
async fn mistakes_have_the_platforms_shape() {
    let setup = Setup::new(config(), Plan::Plus, 1).await;
    let id = setup.some_product().id;
    let cases = [
        ("POST", "products.json".to_owned(), json!({ "product": {} }), 422, json!({ "title": ["can't be blank"] })),
        (
            "POST",
            "products.json".to_owned(),
            json!({}),
            400,
            json!({ "product": "Required parameter missing or invalid" }),
        ),
        ("PUT", "products/1.json".to_owned(), json!({ "product": { "title": "x" } }), 404, json!("Not Found")),
        (
            "PUT",
            format!("products/{id}.json"),
            json!({ "product": { "variants": [{ "price": "free" }] } }),
            422,
            json!({ "price": ["must be a number greater than or equal to 0"] }),
        ),
        ("GET", "nothing.json".to_owned(), Value::Null, 404, json!("Not Found")),
        (
            "POST",
            "webhooks.json".to_owned(),
            json!({ "webhook": { "topic": "no/topic", "address": "http://127.0.0.1:1" } }),
            422,
            json!({ "topic": ["Invalid topic specified: no/topic. Does it exist?"] }),
        ),
    ];
    for (method, path, body, status, errors) in cases {
        let answer = setup.rest(method, &path, (!body.is_null()).then_some(body)).await;
        assert_eq!(answer, (StatusCode::from_u16(status).unwrap(), json!({ "errors": errors })), "{method} {path}");
    }
    let url = format!("{}/admin/api/2026-07/shop.json", setup.emulator.shop_url(SHOP));
    let response = setup.client.get(url).header("X-Shopify-Access-Token", "wrong").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let message = "[API] Invalid API key or access token (unrecognized login or wrong password)";
    assert_eq!(read(response).await, json!({ "errors": message }));
}

#[tokio::test]
async fn links_lead_through_every_product() {
    let setup = Setup::new(config(), Plan::Plus, 23).await;
    let mut path = "products.json?limit=5&status=active,draft,archived&fields=id".to_owned();
    let mut found = Vec::new();
    let mut previous = 0;
    loop {
        let response = setup.request("GET", &path).send().await.unwrap();
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned()).unwrap_or_default();
        let page = read(response).await;
        found.extend(page["products"].as_array().unwrap().iter().map(|product| product["id"].as_u64().unwrap()));
        previous += usize::from(link.contains("rel=\"previous\""));
        let Some(next) = link.split(", ").find(|link| link.ends_with("rel=\"next\"")) else { break };
        assert!(next.starts_with(&format!("<https://{SHOP}/admin/api/2026-07/products.json?limit=5&page_info=")));
        path = next.split("2026-07/").nth(1).unwrap().split('>').next().unwrap().to_owned();
    }
    let expected: Vec<_> = setup.emulator.products(SHOP).unwrap().iter().map(|product| product.id).collect();
    assert_eq!((found, previous), (expected, 4));
    let (status, _) = setup.rest("GET", &format!("{path}&status=active"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "nothing may stand beside `page_info`");
}

#[tokio::test]
async fn who_calls_too_often_waits() {
    let setup = Setup::new(config(), Plan::Standard, 0).await;
    let first = setup.request("GET", "shop.json").send().await.unwrap();
    assert_eq!(first.headers()["x-shopify-shop-api-call-limit"], "1/40");
    // Forty at once, two a second: no machine is slow enough for a thousand.
    for _ in 0..1_000 {
        let response = setup.request("GET", "shop.json").send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(response.headers()["retry-after"], "2.0");
            assert_eq!(response.headers()["x-shopify-shop-api-call-limit"], "40/40");
            let message =
                "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service.";
            assert_eq!(read(response).await, json!({ "errors": message }));
            return;
        }
    }
    panic!("a thousand calls at once were answered");
}

#[tokio::test]
async fn webhooks_are_made_changed_and_ended() {
    let setup = Setup::new(config(), Plan::Plus, 0).await;
    let new = json!({ "webhook": { "topic": "products/update", "address": "http://127.0.0.1:1/a", "format": "json" } });
    let (status, made) = setup.rest("POST", "webhooks.json", Some(new.clone())).await;
    assert_eq!((status, &made["webhook"]["api_version"]), (StatusCode::CREATED, &json!("2026-07")));
    let (status, again) = setup.rest("POST", "webhooks.json", Some(new)).await;
    let taken = json!({ "errors": { "address": ["for this topic has already been taken"] } });
    assert_eq!((status, again), (StatusCode::UNPROCESSABLE_ENTITY, taken));
    let path = format!("webhooks/{}.json", made["webhook"]["id"]);
    let change = json!({ "webhook": { "address": "http://127.0.0.1:1/b", "fields": ["id"] } });
    let (_, changed) = setup.rest("PUT", &path, Some(change)).await;
    assert_eq!(changed["webhook"]["address"], "http://127.0.0.1:1/b");
    assert_eq!(setup.rest("GET", "webhooks/count.json", None).await.1, json!({ "count": 1 }));
    assert_eq!(setup.rest("DELETE", &path, None).await.0, StatusCode::OK);
    assert_eq!(setup.rest("GET", "webhooks.json", None).await.1, json!({ "webhooks": [] }));
}

#[tokio::test]
async fn a_shop_is_found_by_its_name_too_and_old_versions_fall_forward() {
    let setup = Setup::new(config(), Plan::Standard, 0).await;
    let url = format!("{}/admin/api/2020-01/shop.json", setup.emulator.url());
    let request = setup.client.get(url).header("Host", SHOP).header("X-Shopify-Access-Token", &setup.token);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-shopify-api-version"], "2026-01");
    assert_eq!(read(response).await["shop"]["myshopify_domain"], SHOP);
}

#[tokio::test]
async fn the_same_seed_sells_the_same() {
    let one = Setup::new(config(), Plan::Standard, 40).await;
    let other = Setup::new(config(), Plan::Standard, 40).await;
    assert_eq!(one.emulator.products(SHOP).unwrap(), other.emulator.products(SHOP).unwrap());
    let third = Setup::new(Config { seed: 8, ..config() }, Plan::Standard, 40).await;
    assert_ne!(one.emulator.products(SHOP).unwrap(), third.emulator.products(SHOP).unwrap());
}
