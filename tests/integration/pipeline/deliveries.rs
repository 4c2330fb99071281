//! What a delivery makes of the mirror: created, updated, unchanged, stale, deleted.

use serde_json::{Value, json};
use tradewind_host::pipeline::{Ended, replay};
use tradewind_tests::host::TestHost;
use tradewind_tests::stores::{NOW_MS, on_both, shop};

/// A time so many seconds after the first.
fn at(second: u32) -> String {
    format!("2024-05-01T10:{:02}:{:02}Z", second / 60, second % 60)
}

async fn replayed(host: &TestHost, delivery: i64, force: bool) -> String {
    let delivery = host.store.delivery(delivery).await.unwrap().unwrap();
    let (shop, job) = replay(&delivery, force);
    host.enqueue(&shop, job).await;
    host.drain().await;
    host.log_of(delivery.seq).await.pop().unwrap()
}

#[tokio::test]
async fn a_record_is_created_and_updated_by_whether_it_is_there() {
    on_both(async |place| {
        let host = TestHost::new(&place, &[]).await;
        // The topic does not decide: an update of a record that is not there creates it, and the other way round.
        let first = host.deliver("products/update", &json!({"id": "1", "title": "Hat", "updated_at": at(1)})).await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await, json!({"title": "Hat", "updated_at": at(1)}));
        let second =
            host.deliver("products/create", &json!({"id": "1", "price": 2, "new": null, "updated_at": at(2)})).await;
        let ends = host.drain().await;
        assert!(matches!(&ends[..], [Ended::Done(made)] if made.is_empty()), "{ends:?}");
        // What does not come stays.
        let expected = json!({"title": "Hat", "updated_at": at(2), "price": 2, "new": null});
        assert_eq!(host.record("shopify/product", "1").await, expected);
        assert_eq!(
            (host.log_of(first).await, host.log_of(second).await),
            (vec!["stored".to_owned()], vec!["stored".to_owned()])
        );
        assert!(host.jobs().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_not_newer_is_stale_unless_it_is_forced() {
    on_both(async |place| {
        let host = TestHost::new(&place, &[]).await;
        let deliver = async |title: &str, second| {
            let seq =
                host.deliver("products/update", &json!({"id": 1, "title": title, "updated_at": at(second)})).await;
            host.drain().await;
            (seq, host.log_of(seq).await.pop().unwrap())
        };
        let (first, outcome) = deliver("first", 2).await;
        assert_eq!(outcome, "stored");
        for second in [1, 2] {
            assert_eq!(deliver("old", second).await.1, "stale");
        }
        assert_eq!(host.record("shopify/product", "1").await["title"], "first");
        deliver("second", 3).await;
        assert_eq!(replayed(&host, first, false).await, "stale");
        assert_eq!(host.record("shopify/product", "1").await["title"], "second");
        assert_eq!(replayed(&host, first, true).await, "stored");
        assert_eq!(host.record("shopify/product", "1").await["title"], "first");
        // The forced one is what is stored now, with its time.
        assert_eq!(deliver("third", 3).await.1, "stored");
    })
    .await;
}

#[tokio::test]
async fn what_means_the_same_is_not_written() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let body = r#"{"id":9007199254740993,"title":null,"price":10.50,"stock":"12","live":true,"admin":18446744073709551615,
            "published_at":"2024-05-01T10:00:00-04:00","options":{"a":1,"b":[1.0]}}"#;
        let first = host.deliver_to(&shop(), "products/create", body.as_bytes(), |_| ()).await;
        host.drain().await;
        let stored = host.stored("shopify/product", "9007199254740993").await.unwrap();
        let expected = r#"{"title":null,"price":10.50,"stock":12,"live":true,"admin":18446744073709551615,"published_at":"2024-05-01T14:00:00.000Z","options":{"a":1,"b":[1.0]}}"#;
        assert_eq!(stored.doc.as_str(), expected);
        let respelled = r#"{"id":9007199254740993,"options":{"b":[1],"a":1.0},"title":null,"price":1.05e1,"stock":12.0,
            "published_at":"2024-05-01T14:00:00Z","admin":18446744073709551615}"#;
        let second = host.deliver_to(&shop(), "products/update", respelled.as_bytes(), |_| ()).await;
        host.drain().await;
        assert_eq!(host.stored("shopify/product", "9007199254740993").await.unwrap(), stored);
        // An action without fields of interest runs on whatever comes; one with them does not.
        let ran = ["puppet/follow run ok", "puppet/follow success ok"];
        let log = |log: Vec<String>| log.into_iter().filter(|line| line != "ran").collect::<Vec<_>>();
        assert_eq!(log(host.log_of(first).await), ran);
        assert_eq!(log(host.log_of(second).await), ran);

        let host = TestHost::new(&place, &[]).await;
        host.deliver_to(&shop(), "products/update", respelled.as_bytes(), |_| ()).await;
        let third = host.deliver_to(&shop(), "products/update", body.as_bytes(), |_| ()).await;
        host.drain().await;
        assert_eq!(host.log_of(third).await, ["unchanged"]);
    })
    .await;
}

#[tokio::test]
async fn what_a_platform_misspells_is_stored_as_null_and_noted() {
    on_both(async |place| {
        let host = TestHost::new(&place, &[]).await;
        let seq = host.deliver("products/create", &json!({"id": "1", "stock": "many", "title": 7})).await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await, json!({"stock": null, "title": "7"}));
        let entry = host.entries_of(seq).await.pop().unwrap();
        let detail: Value = entry.detail.unwrap().to().unwrap();
        assert_eq!(detail["remarks"][0]["field"], "stock");
        assert_eq!(entry.at_ms, NOW_MS);
    })
    .await;
}

#[tokio::test]
async fn the_later_of_deletion_and_update_wins() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let deliver = async |topic: &str, second: u32| {
            let seq = host.deliver(topic, &json!({"id": "1", "title": "Hat", "updated_at": at(second)})).await;
            host.drain().await;
            host.log_of(seq).await
        };
        deliver("products/create", 1).await;
        let deleted = deliver("products/delete", 5).await;
        assert_eq!(deleted[..1], ["puppet/follow run ok"]);
        assert!(deleted.contains(&"puppet/keep-deleted run ok".to_owned()), "{deleted:?}");
        assert!(host.stored("shopify/product", "1").await.is_none());
        for second in [4, 5] {
            assert_eq!(deliver("products/update", second).await, ["stale"]);
        }
        // A second deletion finds nothing; an older one does not let older updates in.
        assert_eq!(deliver("products/delete", 5).await, ["unchanged"]);
        assert_eq!(deliver("products/delete", 2).await, ["unchanged"]);
        assert_eq!(deliver("products/update", 4).await, ["stale"]);
        // What is newer than the deletion is another record under the same id, and outlives a late deletion.
        assert_eq!(deliver("products/update", 6).await[0], "puppet/follow run ok");
        assert_eq!(deliver("products/delete", 5).await, ["stale"]);
        assert_eq!(host.record("shopify/product", "1").await["updated_at"], at(6));
        // A deletion without a time holds for a day after its arrival.
        host.deliver("products/delete", &json!({"id": "2"})).await;
        host.drain().await;
        let day_ms = 24 * 60 * 60 * 1_000;
        for (after_ms, expected) in [(0, "stale"), (day_ms, "stale"), (2 * day_ms, "puppet/follow run ok")] {
            host.move_to(NOW_MS + after_ms);
            let updated_at = tradewind_model::value::show_ms(NOW_MS + after_ms);
            let body = json!({"id": "2", "title": "Hat", "updated_at": updated_at});
            let seq = host.deliver("products/update", &body).await;
            host.drain().await;
            assert_eq!(host.log_of(seq).await[0], expected, "{after_ms}");
        }
    })
    .await;
}

#[tokio::test]
async fn children_go_with_their_parent() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        host.deliver("products/create", &json!({"id": "1", "title": "Hat", "updated_at": at(1)})).await;
        for (id, parent) in [(11, 1), (12, 1), (21, 2)] {
            host.deliver("variants/create", &json!({"id": id, "product": parent, "updated_at": at(1)})).await;
        }
        host.drain().await;
        let deleted = host.deliver("products/delete", &json!({"id": "1", "updated_at": at(9)})).await;
        host.drain().await;
        for (id, left) in [("11", false), ("12", false), ("21", true)] {
            assert_eq!(host.stored("shopify/product-variant", id).await.is_some(), left, "{id}");
        }
        let log = host.log_of(deleted).await;
        assert_eq!(log.iter().filter(|line| *line == "puppet/follow run ok").count(), 3, "{log:?}");
        let late = host.deliver("variants/update", &json!({"id": 12, "title": "late", "updated_at": at(8)})).await;
        host.drain().await;
        assert_eq!(host.log_of(late).await, ["stale"]);
    })
    .await;
}

/// Every order of these deliveries leaves what the newest says.
async fn every_order(host: &TestHost, deliveries: &[(&str, u32)], newest: Option<u32>, from: usize) -> usize {
    let mut orders = vec![Vec::new()];
    for _ in deliveries {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            let left = (0..deliveries.len()).filter(|at| !order.contains(at));
            left.map(|at| order.iter().copied().chain([at]).collect()).collect::<Vec<_>>()
        });
        orders = longer.collect();
    }
    for (number, order) in orders.iter().enumerate() {
        let id = (from + number).to_string();
        for &place in order {
            let (topic, second) = deliveries[place];
            host.deliver(topic, &json!({"id": id, "title": format!("as of {second}"), "updated_at": at(second)})).await;
        }
        host.drain().await;
        let expected = newest.map_or(Value::Null, |second| json!(format!("as of {second}")));
        assert_eq!(host.record("shopify/product", &id).await["title"], expected, "{order:?} of {deliveries:?}");
    }
    orders.len()
}

#[tokio::test]
async fn duplicate_reordered_and_stale_deliveries_leave_the_newest() {
    on_both(async |place| {
        let host = TestHost::new(&place, &[]).await;
        let (create, update, delete) = ("products/create", "products/update", "products/delete");
        // The last is the second once more, under another delivery id.
        let mut from = 0;
        from +=
            every_order(&host, &[(create, 1), (update, 2), (update, 3), (update, 4), (update, 2)], Some(4), from).await;
        from += every_order(&host, &[(create, 1), (update, 2), (delete, 3), (update, 2)], None, from).await;
        from +=
            every_order(&host, &[(create, 1), (update, 2), (delete, 3), (create, 4), (delete, 3)], Some(4), from).await;
        assert_eq!(from, 120 + 24 + 120);
    })
    .await;
}

#[tokio::test]
async fn a_record_belongs_to_its_shop() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let other = tradewind_tests::stores::other_shop(0);
        let of_other = json!({"id": "1", "title": "theirs", "colour": "blue"}).to_string();
        host.deliver_to(&other, "products/create", of_other.as_bytes(), |_| ()).await;
        host.drain().await;
        let script = json!([
            {"find": ["shopify/product", "1"]},
            {"find-many": ["shopify/product", {"filter": {"title": {"equals": "theirs"}}}]},
            {"count": ["shopify/product", null]},
            {"update": ["shopify/product", "1", {"title": "ours"}]},
            {"delete": ["shopify/product", "1"]},
            {"count": ["shopify/product", {"scope": "app"}]},
            {"update": ["shopify/product", "1", {"title": "ours"}, {"scope": "app"}]},
            {"about": true},
        ]);
        let seq = host.deliver("products/create", &json!({"id": "2", "script": script})).await;
        host.drain().await;
        let answers = host.result_of(seq, "follow").await;
        assert_eq!(answers[0], Value::Null);
        assert_eq!(answers[1], json!([]));
        // The one that comes in.
        assert_eq!(answers[2], json!(1));
        assert_eq!(answers[3], json!({"error": "not-found"}));
        assert_eq!(answers[4], json!({"error": "not-found"}));
        // Every shop's records take a grant that this plugin does not have.
        assert_eq!(answers[5], json!({"error": "not-granted"}));
        assert_eq!(answers[6], json!({"error": "not-granted"}));
        assert_eq!(answers[7]["shop"], json!({"id": &*shop().id}));
        let key = tradewind_tests::stores::product("1");
        let theirs = host.store.record(&other, &key).await.unwrap().unwrap();
        assert!(theirs.doc.as_str().contains("theirs"));
    })
    .await;
}
