//! Webhooks: signed, tried again, collapsed, and hit by faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tradewind_emulator::{
    Config, Event, Faults, NewSubscription, Plan, ProductEdit, Topic, Unsubscribed, VariantEdit, Withheld,
};
use tradewind_tests::acceptance;

use super::receiver::{Received, Receiver};
use super::{APP, SECRET, SHOP, Setup, config};

const OF_PRODUCTS: &[Topic] = &[Topic::ProductsCreate, Topic::ProductsUpdate, Topic::ProductsDelete];

/// Four hours of retries in a seventh of a second.
const FAST: u32 = 100_000;

/// HMAC-SHA256 as RFC 2104 defines it, without a library of HMACs.
fn hmac(secret: &str, body: &[u8]) -> String {
    let mut key = [0_u8; 64];
    key[..secret.len()].copy_from_slice(secret.as_bytes());
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(body).finalize();
    STANDARD.encode(Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize())
}

#[track_caller]
fn assert_signed(came: &Received, secret: &str) {
    assert_eq!(came.header("x-shopify-hmac-sha256"), hmac(secret, &came.body));
}

#[tokio::test]
async fn whoever_changes_a_product_all_who_subscribed_are_told() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, OF_PRODUCTS);

    let body = json!({ "product": { "title": "Salt & Pepper", "body_html": "<p>a/b</p>" } });
    let (_, made) = setup.rest("POST", "products.json", Some(body)).await;
    let id = made["product"]["id"].as_u64().unwrap();
    let created = receiver.wait_for(1).await.remove(0);
    assert_eq!(created.header("x-shopify-topic"), "products/create");
    assert_eq!(created.header("x-shopify-shop-domain"), SHOP);
    assert_eq!(created.header("x-shopify-api-version"), "2026-07");
    assert_eq!(created.header("content-type"), "application/json");
    for header in ["x-shopify-webhook-id", "x-shopify-event-id", "x-shopify-triggered-at"] {
        assert!(!created.header(header).is_empty(), "{header}");
    }
    assert_signed(&created, SECRET);
    let text = String::from_utf8(created.body.clone()).unwrap();
    assert!(
        text.contains(r#""title":"Salt \u0026 Pepper""#) && text.contains(r#""body_html":"<p>a\/b<\/p>""#),
        "{text}"
    );
    for (field, value) in made["product"].as_object().unwrap() {
        assert_eq!(created.json()[field], *value, "{field}");
    }

    setup.merchant_sets_title(id, "Pepper");
    let updated = receiver.wait_for(2).await.remove(1);
    assert_eq!((updated.header("x-shopify-topic"), &updated.json()["title"]), ("products/update", &json!("Pepper")));
    setup.emulator.delete_product(SHOP, id).unwrap();
    let deleted = receiver.wait_for(3).await.remove(2);
    assert_eq!((deleted.header("x-shopify-topic"), deleted.json()), ("products/delete", json!({ "id": id })));
    setup.emulator.settled().await;
    assert_eq!(receiver.received().len(), 3);
    setup.emulator.stop().await;
}

#[tokio::test]
async fn the_oldest_secret_signs_until_it_is_revoked() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, OF_PRODUCTS);
    let id = setup.some_product().id;
    setup.emulator.rotate_secret(APP, "newer").unwrap();
    setup.merchant_sets_title(id, "during");
    assert_signed(&receiver.wait_for(1).await[0], SECRET);
    setup.emulator.revoke_previous_secret(APP).unwrap();
    setup.merchant_sets_title(id, "after");
    assert_signed(&receiver.wait_for(2).await[1], "newer");
}

#[tokio::test]
async fn nine_attempts_then_the_subscription_goes() {
    let setup = Setup::new(Config { speed: FAST, ..config() }, Plan::Standard, 1).await;
    // A redirect is a failure too.
    let receiver = Receiver::start(|_, before| [500, 302, 404][before % 3]).await;
    setup.subscribe(&receiver, &[Topic::ProductsUpdate]);
    let mut events = setup.emulator.events();
    let id = setup.some_product().id;
    setup.merchant_sets_title(id, "first");
    setup.emulator.settled().await;

    let came = receiver.received();
    assert_eq!(came.len(), 9);
    for again in &came {
        assert_eq!((again.webhook_id(), &again.body), (came[0].webhook_id(), &came[0].body));
    }
    assert!(setup.emulator.subscriptions(APP, SHOP).unwrap().is_empty());
    let mut attempts = Vec::new();
    let mut ended = None;
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Sent(attempt) => attempts.push(attempt.attempt),
            Event::Unsubscribed { why, .. } => ended = Some(why),
            _ => {}
        }
    }
    assert_eq!((attempts, ended), ((1..=9).collect(), Some(Unsubscribed::Failures)));
    setup.merchant_sets_title(id, "second");
    setup.emulator.settled().await;
    assert_eq!(receiver.received().len(), 9);
}

#[tokio::test]
async fn a_retry_carries_what_was_said_first() {
    let setup = Setup::new(Config { speed: FAST, ..config() }, Plan::Standard, 1).await;
    let changed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&changed);
    let receiver = Receiver::start(move |_, _| if seen.load(Ordering::SeqCst) { 204 } else { 503 }).await;
    setup.subscribe(&receiver, &[Topic::ProductsUpdate]);
    let id = setup.some_product().id;
    setup.merchant_sets_title(id, "first");
    let first = receiver.wait_for(1).await.remove(0);
    setup.merchant_sets_title(id, "second");
    changed.store(true, Ordering::SeqCst);
    setup.emulator.settled().await;

    let came = receiver.received();
    let (again, later): (Vec<_>, Vec<_>) = came.iter().partition(|other| other.webhook_id() == first.webhook_id());
    assert!(again.len() > 1 && again.iter().all(|again| again.json()["title"] == "first"));
    assert!(!later.is_empty() && later.iter().all(|later| later.json()["title"] == "second"));
    assert_eq!(setup.emulator.subscriptions(APP, SHOP).unwrap().len(), 1, "it came through in the end");
}

#[tokio::test]
async fn rapid_edits_are_told_together() {
    // An hour that takes a second: longer than three edits take.
    let slow = Config { debounce: Duration::from_hours(1), speed: 3_600, ..config() };
    let setup = Setup::new(slow, Plan::Standard, 2).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, OF_PRODUCTS);
    let mut events = setup.emulator.events();
    let id = setup.some_product().id;
    for title in ["one", "two", "three"] {
        setup.merchant_sets_title(id, title);
    }
    setup.emulator.settled().await;
    let titles: Vec<_> = receiver.received().iter().map(|came| came.json()["title"].clone()).collect();
    assert_eq!(titles, ["three"]);
    let mut collapsed = 0;
    while let Ok(event) = events.try_recv() {
        collapsed += usize::from(matches!(event, Event::Withheld { why: Withheld::Collapsed, .. }));
    }
    assert_eq!(collapsed, 2);
}

#[tokio::test]
async fn what_would_say_the_same_is_not_said() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let receiver = Receiver::accepting().await;
    let fields = vec!["id".to_owned(), "title".to_owned()];
    let new = NewSubscription::new(Topic::ProductsUpdate, receiver.url());
    setup.emulator.subscribe(APP, SHOP, NewSubscription { include_fields: fields, ..new }).unwrap();
    let id = setup.some_product().id;
    let mut events = setup.emulator.events();
    setup.merchant_sets_title(id, "Hat");
    let tags = ProductEdit { tags: Some(vec!["unseen".to_owned()]), ..ProductEdit::default() };
    setup.emulator.edit_product(SHOP, id, &tags).unwrap();
    setup.emulator.settled().await;
    let came = receiver.received();
    assert_eq!(came.len(), 1);
    assert_eq!(came[0].json(), json!({ "id": id, "title": "Hat" }));
    let mut equal = 0;
    while let Ok(event) = events.try_recv() {
        equal += usize::from(matches!(event, Event::Withheld { why: Withheld::Equal, .. }));
    }
    assert_eq!(equal, 1);
    // And an edit after which nothing is different is no change at all.
    setup.emulator.edit_product(SHOP, id, &tags).unwrap();
    assert!(events.is_empty());
}

#[tokio::test]
async fn faults_strike_when_they_are_switched_on() {
    let setup = Setup::new(Config { speed: FAST, ..config() }, Plan::Standard, 1).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, OF_PRODUCTS);
    let id = setup.some_product().id;
    let titles = |came: &[Received]| came.iter().map(|one| one.json()["title"].clone()).collect::<Vec<_>>();

    setup.emulator.set_faults(SHOP, Faults { twice: 1.0, ..Faults::default() }).unwrap();
    setup.merchant_sets_title(id, "twice");
    setup.emulator.settled().await;
    let came = receiver.received();
    assert_eq!(titles(&came), ["twice", "twice"]);
    assert_eq!(came[0].webhook_id(), came[1].webhook_id());

    setup.emulator.set_faults(SHOP, Faults { lost: 1.0, ..Faults::default() }).unwrap();
    setup.merchant_sets_title(id, "lost");
    setup.emulator.settled().await;
    assert_eq!(receiver.received().len(), 2);

    let late = Faults { late: 1.0, late_max: Duration::from_hours(1), ..Faults::default() };
    setup.emulator.set_faults(SHOP, late).unwrap();
    setup.merchant_sets_title(id, "late");
    assert_eq!(titles(&receiver.wait_for(3).await)[2], "late");
}

#[tokio::test]
async fn a_webhook_can_be_overtaken() {
    // At the usual speed nobody gives up waiting to be overtaken before the next one is sent.
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, &[Topic::ProductsUpdate]);
    let id = setup.some_product().id;
    setup.emulator.set_faults(SHOP, Faults { overtaken: 1.0, ..Faults::default() }).unwrap();
    setup.merchant_sets_title(id, "first");
    setup.emulator.set_faults(SHOP, Faults::default()).unwrap();
    setup.merchant_sets_title(id, "second");
    let titles: Vec<_> = receiver.wait_for(2).await.iter().map(|one| one.json()["title"].clone()).collect();
    assert_eq!(titles, ["second", "first"]);
}

#[tokio::test]
async fn a_burst_is_one_webhook_for_each_product() {
    let setup = Setup::new(config(), Plan::Standard, 30).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, &[Topic::ProductsUpdate]);
    setup.emulator.burst(SHOP, 20).unwrap();
    setup.emulator.settled().await;
    let mut ids: Vec<_> = receiver.received().iter().map(|one| one.json()["id"].as_u64()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((receiver.received().len(), ids.len()), (20, 20));
}

#[tokio::test]
async fn an_app_learns_that_it_was_uninstalled() {
    let setup = Setup::new(config(), Plan::Plus, 1).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, &[Topic::AppUninstalled, Topic::ShopUpdate, Topic::ProductsUpdate]);
    setup.emulator.rename_shop(SHOP, "New Hats").unwrap();
    let renamed = receiver.wait_for(1).await.remove(0);
    assert_eq!((renamed.header("x-shopify-topic"), &renamed.json()["name"]), ("shop/update", &json!("New Hats")));
    setup.emulator.uninstall(APP, SHOP).unwrap();
    let told = receiver.wait_for(2).await.remove(1);
    assert_eq!((told.header("x-shopify-topic"), &told.json()["myshopify_domain"]), ("app/uninstalled", &json!(SHOP)));
    assert_signed(&told, SECRET);
    setup.merchant_sets_title(setup.some_product().id, "unheard");
    setup.emulator.settled().await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(setup.rest("GET", "shop.json", None).await.0, 401);
}

#[tokio::test]
async fn a_hundred_variants_are_told_in_full() {
    let setup = Setup::new(config(), Plan::Standard, 0).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, OF_PRODUCTS);
    let variants = (0..150).map(|size| VariantEdit { choices: Some(vec![size.to_string()]), ..VariantEdit::default() });
    let edit = ProductEdit {
        title: Some("Hat".to_owned()),
        options: Some(vec![("Size".to_owned(), Vec::new())]),
        variants: variants.collect(),
        ..ProductEdit::default()
    };
    setup.emulator.create_product(SHOP, &edit).unwrap();
    let body = receiver.wait_for(1).await[0].json();
    assert_eq!(body["variants"].as_array().unwrap().len(), 100);
    assert_eq!(body["variant_gids"].as_array().unwrap().len(), 150);
}

/// What the platform documents to be in a body is in ours.
#[tokio::test]
async fn bodies_have_the_documented_fields() {
    let Some(documented) = acceptance::lines("webhooks/shopify-docs-2026-07.jsonl").unwrap() else {
        println!("{}", acceptance::skipped("bodies_have_the_documented_fields"));
        return;
    };
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let receiver = Receiver::accepting().await;
    setup.subscribe(&receiver, OF_PRODUCTS);
    let product = setup.some_product();
    let made = ProductEdit { title: Some("Hat".to_owned()), ..ProductEdit::default() };
    setup.emulator.create_product(SHOP, &made).unwrap();
    setup.merchant_sets_title(product.id, "Hat");
    setup.emulator.delete_product(SHOP, product.id).unwrap();
    let came = receiver.wait_for(3).await;
    let mut missing = Vec::new();
    for one in came {
        let topic = one.header("x-shopify-topic");
        let sample = documented.iter().find(|sample| sample["topic"] == topic).unwrap();
        absent(topic, &sample["payload"], &one.json(), &mut missing);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The documented fields that are not there, in objects and in the first of each list.
fn absent(path: &str, documented: &Value, ours: &Value, missing: &mut Vec<String>) {
    match (documented, ours) {
        (Value::Object(documented), Value::Object(ours)) => {
            for (field, value) in documented {
                match ours.get(field) {
                    Some(ours) => absent(&format!("{path}.{field}"), value, ours, missing),
                    None => missing.push(format!("{path}.{field}")),
                }
            }
        }
        (Value::Array(documented), Value::Array(ours)) => {
            if let (Some(documented), Some(ours)) = (documented.first(), ours.first()) {
                absent(path, documented, ours, missing);
            }
        }
        _ => {}
    }
}
