//! Webhooks that are signed and still not what they say: kept, answered 200, and parked instead of being applied.

use serde_json::json;
use tradewind_host::config;
use tradewind_store::{Job, JobFilter, JobState};
use tradewind_tests::serving::{CONNECTION, Running, SHOP, Served, app, connection, server};
use tradewind_tests::stores::{Place, on_both};
use tradewind_tests::webhook::Request;

/// Another shop of the same app.
const OTHER: &str = "caps.myshopify.com";

async fn two_shops(place: &Place) -> Served {
    let mut connection = connection();
    let api_url = connection.shops[0].api_url.clone();
    connection.shops.push(config::Shop { api_url, ..config::Shop::new(OTHER, "token") });
    Served::start(place, server(place, vec![app(vec![(CONNECTION, connection)], Vec::new())]), Running::new()).await
}

async fn sent(served: &Served, request: &Request) -> Vec<Job> {
    assert_eq!(request.send(served.host.public()).await.status, 200);
    served.idle().await
}

fn reasons(parked: &[Job]) -> Vec<(&str, &str)> {
    parked.iter().map(|job| (&*job.shop.id, job.reason.as_deref().unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_body_of_another_shop_is_parked_until_an_operator_wants_it() {
    on_both(async |place| {
        let served = two_shops(&place).await;
        let body = r#"{"id":1,"title":"Hat","updated_at":"2026-05-01T10:00:00Z"}"#;
        let stolen = |id: &str, topic: &str| {
            Served::webhook(id, body).with("X-Shopify-Shop-Domain", OTHER).with("X-Shopify-Topic", topic)
        };
        assert_eq!(sent(&served, &Served::webhook("w-1", body)).await, []);
        // With another id, and again; under another topic too.
        for (at, topic) in ["products/update", "products/update", "products/create"].into_iter().enumerate() {
            sent(&served, &stolen(&format!("s-{at}"), topic)).await;
        }
        let parked = served.idle().await;
        assert_eq!(reasons(&parked), [(OTHER, "replayed-body"); 3]);
        assert_eq!(served.seen.delivered(), ["stored"]);
        // The shop whose body it is sends it again, and under another topic, as the platform does.
        assert_eq!(sent(&served, &Served::webhook("w-2", body)).await.len(), 3);
        let created = Served::webhook("w-3", body).with("X-Shopify-Topic", "products/create");
        assert_eq!(sent(&served, &created).await.len(), 3);
        assert_eq!(served.seen.delivered().len(), 3);

        let filter = JobFilter { seq: Some(parked[0].seq), ..JobFilter::default() };
        let changed = served.store().retry_jobs(&filter).await.unwrap();
        assert_eq!(changed.len(), 1);
        served.host.scheduler().look(changed[0].part, &changed[0].shop);
        assert_eq!(served.idle().await.len(), 2);
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn bodies_of_one_batch_are_compared_too() {
    on_both(async |place| {
        let served = two_shops(&place).await;
        let requests: Vec<_> = (0..20)
            .map(|at| {
                let shop = if at % 2 == 0 { SHOP } else { OTHER };
                Served::webhook(&format!("w-{at}"), r#"{"id":1}"#).with("X-Shopify-Shop-Domain", shop)
            })
            .collect();
        let answers = requests.iter().map(|request| request.send(served.host.public()));
        for answer in tradewind_tests::stores::together(answers).await {
            assert_eq!(answer.status, 200);
        }
        let parked = served.idle().await;
        assert!(parked.iter().all(|job| job.state == JobState::Parked && job.shop == parked[0].shop), "{parked:#?}");
        assert_eq!((parked.len(), served.seen.delivered().len()), (10, 10));
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_not_of_its_shop_or_topic_is_parked() {
    on_both(async |place| {
        let served = two_shops(&place).await;
        let of_shop = |domain: &str| json!({"id": 7, "name": "Hats", "myshopify_domain": domain}).to_string();
        let product = json!({"id": 1, "title": "Hat", "admin_graphql_api_id": "gid://shopify/Product/1"}).to_string();
        for (id, topic, body, reason) in [
            ("w-1", "shop/update", of_shop(OTHER), Some("other-shop")),
            ("w-2", "shop/update", product.clone(), Some("wrong-shape")),
            ("w-3", "products/update", of_shop(SHOP), Some("wrong-shape")),
            (
                "w-4",
                "products/delete",
                json!({"id": 1, "a": 1, "b": 1, "c": 1, "d": 1}).to_string(),
                Some("wrong-shape"),
            ),
            (
                "w-8",
                "products/update",
                json!({"id": "c-1", "token": "c-1", "line_items": []}).to_string(),
                Some("wrong-shape"),
            ),
            ("w-5", "shop/update", of_shop(SHOP), None),
            ("w-6", "products/create", product.clone(), None),
            ("w-7", "products/update", product, None),
        ] {
            let before = served.idle().await.len();
            let request = Served::webhook(id, body).with("X-Shopify-Topic", topic);
            let parked = sent(&served, &request).await;
            let newest = parked.iter().max_by_key(|job| job.seq).filter(|_| parked.len() > before);
            assert_eq!(newest.and_then(|job| job.reason.as_deref()), reason, "{id}");
        }
        assert_eq!(served.record("shopify/shop", "7").await["name"], "Hats");
        assert_eq!(served.record("shopify/product", "1").await["title"], "Hat");
        served.host.stop().await;
    })
    .await;
}

/// A payload that claims a time of far ahead, of a product or of its variant, keeps later updates away for no longer than a day.
#[tokio::test]
async fn a_time_that_a_body_claims_ends_a_day_after_the_arrival() {
    on_both(async |place| {
        let served = two_shops(&place).await;
        let product = |title: &str, at: &str, variants: serde_json::Value| {
            json!({"id": 1, "title": title, "updated_at": at, "variants": variants}).to_string()
        };
        let variant = |price: &str, at: &str| json!([{"id": 2, "price": price, "updated_at": at}]);
        let far = "2136-01-01T00:00:00Z";
        // Before it, an update of two days later is news.
        let two_days_later_us =
            (i64::try_from(tradewind_tests::NOW.as_millis()).unwrap() + 2 * 24 * 60 * 60 * 1_000) * 1_000;
        let time_of = async |model: &str, id: &str| {
            let stored = served.stored(model, id).await.unwrap_or_else(|| panic!("no {model} {id}"));
            stored.platform_updated_us.unwrap()
        };
        sent(&served, &Served::webhook("w-1", product("far", far, variant("1.00", far)))).await;
        assert_eq!(served.record("shopify/product", "1").await["title"], "far");
        for (model, id) in [("shopify/product", "1"), ("shopify/product-variant", "2")] {
            assert!(time_of(model, id).await < two_days_later_us, "{model}");
        }
        // Nor does what such a product leaves out stay away for longer.
        sent(&served, &Served::webhook("w-2", product("farther", "2137-01-01T00:00:00Z", json!([])))).await;
        assert_eq!(served.record("shopify/product-variant", "2").await, serde_json::Value::Null);
        assert!(time_of("~shopify/product-variant", "2").await < two_days_later_us);
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

/// A captured deletion that is sent again, with a time of far ahead or with none, keeps later changes away for no longer than
/// a day.
#[tokio::test]
async fn a_time_that_a_header_claims_ends_with_the_arrival() {
    on_both(async |place| {
        let served = two_shops(&place).await;
        let later = |days: i64| {
            let now = i64::try_from(tradewind_tests::NOW.as_millis()).unwrap();
            let at = tradewind_model::value::show_ms(now + days * 24 * 60 * 60 * 1_000 + 3_600_000);
            format!(r#"{{"id":1,"title":"Hat {days}","updated_at":"{at}"}}"#)
        };
        let title = async || served.record("shopify/product", "1").await["title"].clone();
        let delete = |id: &str| {
            let request = Served::webhook(id, r#"{"id":1}"#).with("X-Shopify-Topic", "products/delete");
            request.with("X-Shopify-Triggered-At", "2136-01-01T00:00:00Z")
        };
        sent(&served, &delete("w-1")).await;
        sent(&served, &Served::webhook("w-2", later(0))).await;
        assert_eq!(title().await, "Hat 0");
        sent(&served, &delete("w-3").without("X-Shopify-Triggered-At")).await;
        assert_eq!(title().await, serde_json::Value::Null);
        sent(&served, &Served::webhook("w-4", later(0).replace("Hat", "Cap"))).await;
        assert_eq!(title().await, serde_json::Value::Null);
        sent(&served, &Served::webhook("w-5", later(2))).await;
        assert_eq!(title().await, "Hat 2");
        served.host.stop().await;
    })
    .await;
}
