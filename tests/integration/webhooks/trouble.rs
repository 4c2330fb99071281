//! What goes wrong between a shop and its host, and ends well all the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tradewind_emulator::{Event, Faults, Product, ProductEdit};
use tradewind_host::config::App;
use tradewind_model::schema::{Field, FieldType, Model};
use tradewind_tests::serving::{APP, CONNECTION, Running, SHOP, Served, connection, plugin, server};
use tradewind_tests::stores::on_both;

use super::{Way, probe};

/// A description that makes tags of its own.
fn described(word: &str) -> ProductEdit {
    ProductEdit { body_html: Some(format!("<p>{word} {word}</p>")), ..ProductEdit::default() }
}

fn has(product: &Product, tag: &str) -> bool {
    product.tags.iter().any(|known| known == tag)
}

#[tokio::test]
async fn duplicates_delays_and_overtaking_end_with_the_shops_state() {
    on_both(async |place| {
        let way = Way::new(&place, vec![plugin("product-tagger")], 8).await;
        let faults = Faults { twice: 0.4, overtaken: 0.3, late: 0.4, late_max: Duration::from_millis(300), lost: 0.0 };
        way.emulator.set_faults(SHOP, faults).unwrap();
        let products = way.products();
        for round in 0..4 {
            for product in &products {
                let edit = ProductEdit { title: Some(format!("round {round}")), ..described(&format!("round{round}")) };
                way.edit(product.id, &edit);
            }
            // The shop tells of this round before the next.
            let debounced = way.served.seen.delivered().len();
            way.served.seen.until("something was delivered", |_| way.served.seen.delivered().len() > debounced).await;
        }
        way.settled_well().await;
        way.assert_mirrored().await;
        for product in way.products() {
            assert!(has(&product, "round3"), "{product:#?}");
        }
        // Some came twice, and some too late: otherwise nothing went wrong here.
        let delivered = way.served.seen.delivered();
        assert!(delivered.iter().any(|outcome| outcome == "stale"), "{delivered:?}");
        let twice = way.emulator.attempts().len() > way.served.deliveries().await.len();
        assert!(twice, "{} deliveries", way.served.deliveries().await.len());
        way.stop().await;
    })
    .await;
}

/// The budget is used up before a burst begins, and all of it is tagged all the same.
#[tokio::test]
async fn a_shop_without_budget_gets_all_its_tags() {
    on_both(async |place| {
        let way = Way::new(&place, vec![plugin("product-tagger")], 15).await;
        let mut events = way.emulator.events();
        let query = json!({ "query": "{ products(first: 250) { nodes { id variants(first: 3) { nodes { id } } } } }" })
            .to_string();
        loop {
            let answer = way.ask("POST", "graphql.json", &query).await;
            if answer["errors"][0]["extensions"]["code"] == "THROTTLED" {
                break;
            }
            assert_eq!(answer["errors"], Value::Null, "{answer:#}");
        }
        for product in way.products() {
            way.edit(product.id, &described("scarce"));
        }
        way.settled_well().await;
        for product in way.products() {
            assert!(has(&product, "scarce"), "{product:#?}");
        }
        way.assert_mirrored().await;
        let mut calls = 0;
        while let Ok(event) = events.try_recv() {
            calls += u32::from(matches!(&event, Event::Called { cost, .. } if *cost > 0));
        }
        assert!(calls >= 15, "{calls}");
        way.stop().await;
    })
    .await;
}

/// What cannot be read waits for a person, and holds back nothing of any record.
#[tokio::test]
async fn a_body_that_nobody_can_map_is_parked_and_says_why() {
    on_both(async |place| {
        let way = Way::silent(&place, vec![probe(&[])], 0).await;
        way.tell("w-1", "products/update", r#"{"title":"no id"}"#).await;
        way.tell("w-2", "products/update", r#"{"id":1,"variants":7}"#).await;
        way.tell("w-3", "products/update", r#"{"id":1,"title":"Hat"}"#).await;
        let parked = way.settled().await;
        let reasons: Vec<_> = parked.iter().map(|job| job.reason.as_deref().unwrap_or_default()).collect();
        assert_eq!(reasons, ["unreadable", "unreadable"]);
        let why: Vec<_> = parked
            .iter()
            .map(|job| tradewind_tests::host::value(job.error.as_ref().unwrap())["message"].clone())
            .collect();
        assert!(why[0].as_str().unwrap().contains("`id` is not a number or a text"), "{why:?}");
        assert_eq!(why[1], "`variants` is not a list");
        // A record's later webhooks do not wait for it, and nothing of it is kept.
        assert_eq!(way.served.record("shopify/product", "1").await["title"], "Hat");
        way.stop().await;
    })
    .await;
}

/// The platform begins to send a member whose name an app has given to a field of its own: what the app keeps there stays.
#[tokio::test]
async fn a_platform_takes_no_field_that_is_the_apps_own() {
    on_both(async |place| {
        let own = Field::new("careNote", FieldType::String);
        let own = Model { name: "shopify/product".to_owned(), fields: vec![own], uniques: Vec::new() };
        let connections = BTreeMap::from([(CONNECTION.to_owned(), connection())]);
        let app = App::new(APP, connections, vec![own], Vec::new(), Path::new(".")).unwrap();
        let served = Served::start(&place, server(&place, vec![app]), Running::new()).await;
        let body = r#"{"id":1,"title":"Hat","careNote":"theirs","care_note":"theirs too","brand_new":7}"#;
        assert_eq!(Served::webhook("w-1", body).send(served.host.public()).await.status, 200);
        served.idle().await;
        assert_eq!(served.record("shopify/product", "1").await, json!({ "title": "Hat", "brandNew": 7 }));
        served.host.stop().await;
    })
    .await;
}
