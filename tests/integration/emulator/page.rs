//! The page for people, and its JSON for scripts.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tradewind_emulator::{Plan, ProductEdit, Topic};

use super::receiver::Receiver;
use super::{SHOP, Setup, config, read};

async fn html(setup: &Setup, path: &str) -> String {
    let response = setup.client.get(format!("{}{path}", setup.emulator.url())).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.text().await.unwrap()
}

#[tokio::test]
async fn a_person_edits_a_product_and_sees_what_came_of_it() {
    let setup = Setup::new(config(), Plan::Standard, 3).await;
    let receiver = Receiver::start(|_, _| 202).await;
    setup.subscribe(&receiver, &[Topic::ProductsUpdate]);
    let product = setup.some_product();
    let page = format!("/shops/{SHOP}/products/{}", product.id);
    assert!(html(&setup, "/").await.contains(&format!("<a href=\"/shops/{SHOP}\">")));
    assert!(html(&setup, &format!("/shops/{SHOP}")).await.contains(&page));
    assert!(html(&setup, &page).await.contains("Save, as the merchant"));

    let form = "title=%3Cscript%3E&body_html=a&vendor=b&product_type=c&price=3&tags=x%2C+y&status=draft";
    let post = setup.client.post(format!("{}{page}", setup.emulator.url()));
    let response = post.header("Content-Type", "application/x-www-form-urlencoded").body(form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let changed = setup.emulator.product(SHOP, product.id).unwrap().unwrap();
    assert_eq!((changed.title.as_str(), changed.variants[0].price.as_str()), ("<script>", "3.00"));
    receiver.wait_for(1).await;
    setup.emulator.settled().await;

    let webhooks = html(&setup, "/webhooks").await;
    assert!(webhooks.contains("products/update") && webhooks.contains("<span class=\"good\">202</span>"));
    assert!(!webhooks.contains("<script>") && !html(&setup, &page).await.contains("<script>"));
}

#[tokio::test]
async fn scripts_can_do_the_same() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let send = async |method: &str, path: &str, body: Value| {
        let url = format!("{}/_emulator/{path}", setup.emulator.url());
        let request = setup.client.request(method.parse().unwrap(), url).body(body.to_string());
        let response = request.send().await.unwrap();
        (response.status(), read(response).await)
    };
    let (status, _) = send("POST", "apps", json!({ "client_id": "mine", "secret": "s" })).await;
    assert_eq!(status, StatusCode::CREATED);
    send("POST", "shops", json!({ "domain": "caps.myshopify.com", "plus": true, "products": 2 })).await;
    let path = "shops/caps.myshopify.com";
    let (_, installed) = send("POST", &format!("{path}/installations"), json!({ "client_id": "mine" })).await;
    assert!(installed["access_token"].as_str().unwrap().starts_with("shpat_"));
    let (_, made) = send("POST", &format!("{path}/products"), json!({ "title": "Cap" })).await;
    let product = format!("{path}/products/{}", made["product"]["id"]);
    let (_, changed) = send("PUT", &product, json!({ "vendor": "Acme" })).await;
    assert_eq!((&changed["product"]["title"], &changed["product"]["vendor"]), (&json!("Cap"), &json!("Acme")));
    assert_eq!(send("DELETE", &product, Value::Null).await.0, StatusCode::OK);
    assert_eq!(send("GET", &product, Value::Null).await.0, StatusCode::NOT_FOUND);
    let (status, refused) = send("POST", "shops", json!({ "domain": "Caps" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused["errors"].as_str().unwrap().contains("hint: "), "{refused}");
    let (_, shops) = send("GET", "shops", Value::Null).await;
    assert_eq!(shops["shops"][0]["domain"], "caps.myshopify.com");
}

#[tokio::test]
async fn a_page_of_another_site_is_not_answered() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let product = setup.some_product();
    let url = format!("{}/shops/{SHOP}/products/{}/delete", setup.emulator.url(), product.id);
    for (name, value) in [("Origin", "http://evil.example"), ("Host", "evil.example")] {
        let response = setup.client.post(&url).header(name, value).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}");
    }
    assert!(setup.emulator.product(SHOP, product.id).unwrap().is_some());
}

#[tokio::test]
async fn too_long_a_body_is_refused() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let long = json!({ "product": { "body_html": "x".repeat(5 << 20) } });
    let id = setup.some_product().id;
    let response = setup.request("PUT", &format!("products/{id}.json")).body(long.to_string()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let edit = ProductEdit { title: Some("x".repeat(300)), ..ProductEdit::default() };
    let error = setup.emulator.edit_product(SHOP, id, &edit).unwrap_err().to_string();
    assert_eq!(error, "the product cannot be saved: title is too long (maximum is 255 characters)");
}
