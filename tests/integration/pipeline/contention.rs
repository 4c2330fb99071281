//! Many units that write one record: each waits in line and runs once more, and nobody uses an attempt by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use tradewind_host::pipeline::{Clients, Ended};
use tradewind_model::{Json, Shop};
use tradewind_platform::effect::{Effect, Expected};
use tradewind_runtime::session::{Answer, ClientShop, ListPage, Platform, PlatformCall, PlatformList, WhichShop};
use tradewind_store::Engine;
use tradewind_tests::host::{APP, TestHost};
use tradewind_tests::stores::{Place, json as parsed, on_both};

/// Jobs that run beside one another.
const AT_A_TIME: usize = 32;

fn all_done(ends: &[Ended]) {
    let other: Vec<_> = ends.iter().filter(|end| !matches!(end, Ended::Done(_))).collect();
    assert!(other.is_empty(), "{} of {}: {:?}", other.len(), ends.len(), &other[..other.len().min(3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_deliveries_add_to_one_record() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let script = json!([{"log": "runs"}, {"add-one": ["note", "total"], "or-fail": true}]);
        for id in 0..1_000 {
            host.deliver("products/update", &json!({"id": id, "script": script})).await;
        }
        let ends = host.drain_beside(AT_A_TIME).await;
        all_done(&ends);
        assert_eq!(host.record("note", "total").await["count"], 1_000);
        let runs = host.logged().len();
        assert!((1_000..=2_000).contains(&runs), "{runs} runs");
        // Nothing is left of the lines.
        assert!(host.jobs().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_lose_several_records_do_not_wait_for_one_another() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let add = |id: &str| json!({"add-one": ["note", id], "or-fail": true});
        for id in 0..120 {
            // In every order.
            let mut ids = ["a", "b", "c", "d"];
            ids.rotate_left(id % 4);
            if id % 2 == 0 {
                ids.reverse();
            }
            let script: Vec<_> = ids[..2 + id % 3].iter().map(|id| add(id)).collect();
            host.deliver("products/update", &json!({"id": id, "script": script})).await;
        }
        all_done(&host.drain_beside(AT_A_TIME).await);
        let mut sum = 0;
        for id in ["a", "b", "c", "d"] {
            sum += host.record("note", id).await["count"].as_u64().unwrap();
        }
        assert_eq!(sum, 40 * (2 + 3 + 4));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_write_of_success_waits_in_line() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        // The action that `success` runs reads and writes in one unit.
        let add = json!({"script": [{"add-one": ["note", "total"], "or-fail": true}]});
        let after = json!([{"run-action": ["play", add], "or-fail": true}]);
        for id in 0..200 {
            host.deliver("products/update", &json!({"id": id, "scriptAfter": after})).await;
        }
        all_done(&host.drain_beside(AT_A_TIME).await);
        assert_eq!(host.record("note", "total").await["count"], 200);
    })
    .await;
}

/// A platform whose every call changes the shop, and is counted.
#[derive(Default)]
struct OneShop(AtomicUsize);

#[async_trait]
impl Clients for OneShop {
    fn find(&self, current: &Shop, platform: Platform, _: &WhichShop) -> Option<ClientShop> {
        Some(ClientShop { platform, id: current.id.to_string(), name: current.id.to_string() })
    }

    fn writes(&self, _: Platform, call: &PlatformCall) -> bool {
        !call.only_reads()
    }

    fn effects(&self, _: Platform, _: &PlatformCall) -> Vec<Effect> {
        let fields = BTreeMap::from([("updatedAt".to_owned(), Expected::Moves)]);
        vec![Effect { model: "shopify/shop".to_owned(), id: "1".to_owned(), fields }]
    }

    fn created(&self, _: Platform, _: &Json) -> Vec<Effect> {
        Vec::new()
    }

    async fn call(&self, _: &str, _: &ClientShop, _: &PlatformCall) -> Answer<Json> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Json::object([]))
    }

    async fn next_page(&self, _: &str, _: &ClientShop, _: &PlatformList, _: Option<String>) -> Answer<ListPage> {
        Ok(ListPage { items: parsed("[]"), next: None })
    }

    fn budget(&self, _: &str, _: &ClientShop) -> Json {
        Json::null()
    }

    fn credentials(&self, _: &str, _: &ClientShop) -> Answer<Json> {
        Ok(Json::null())
    }

    async fn children(&self, _: &Shop, _: &str, _: &[String]) -> Answer<Json> {
        Ok(parsed("[]"))
    }
}

async fn shop_of(place: &Place) -> (TestHost, Arc<OneShop>) {
    const MODELS: &str = r#"[{"name": "shopify/product"}, {"name": "shopify/product-variant"}, {"name": "shopify/shop"},
        {"name": "thing"}, {"name": "note"}]"#;
    let clients = Arc::new(OneShop::default());
    let host = TestHost::connected(place, Some(Arc::clone(&clients) as _)).await;
    let puppet = tradewind_tests::installed("puppet").await.unwrap();
    host.install(APP, MODELS, vec![("puppet", puppet)]).await;
    (host, clients)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_change_one_setting_of_the_shop() {
    on_both(async |place| {
        let (host, clients) = shop_of(&place).await;
        let mutation =
            "mutation Set($set: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $set) { metafields { id } } }";
        let after = json!([{"graphql": [mutation, {"set": []}, null], "or-fail": true}]);
        let count = if place.engine() == Engine::Sqlite { 1_000 } else { 300 };
        for id in 0..count {
            host.deliver("products/update", &json!({"id": id, "scriptAfter": after})).await;
        }
        all_done(&host.drain_beside(AT_A_TIME).await);
        assert_eq!(clients.0.load(Ordering::Relaxed), count);
        let jobs = host.jobs().await;
        assert!(jobs.is_empty(), "{jobs:?}");
        assert_ne!(host.record("~echo", "shopify/shop/1").await, Value::Null);
    })
    .await;
}
