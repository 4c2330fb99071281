//! The invocation log, and what is deleted when it is old.

use tradewind_model::{Json, RecordKey, Shop};
use tradewind_store::{DeliveryFilter, NewInvocation, Store, Unit};
use tradewind_tests::stores::{
    Build as _, NOW_MS, commit, commit_together, delivery, ingest, json, on_both, other_shop, park, shop, unit,
};

fn entry(outcome: &str) -> NewInvocation {
    NewInvocation {
        delivery_seq: None,
        job_seq: None,
        job_id: None,
        plugin: None,
        version: None,
        action: None,
        phase: None,
        outcome: outcome.to_owned(),
        detail: None,
        attempt: 1,
        duration_us: 0,
    }
}

fn logged(entries: Vec<NewInvocation>) -> Unit {
    Unit { log: entries, ..unit() }
}

#[tokio::test]
async fn what_ran_is_found_by_its_delivery_and_by_its_job() {
    on_both(async |place| {
        let store = place.open().await;
        let full = NewInvocation {
            delivery_seq: Some(7),
            job_seq: Some(8),
            job_id: Some("nightly".to_owned()),
            plugin: Some("tagger".to_owned()),
            version: Some("1.2.3".to_owned()),
            action: Some("tag".to_owned()),
            phase: Some("run"),
            detail: Some(json(r#"{"tags":["é"]}"#)),
            attempt: 3,
            duration_us: 1_234_567_890_123,
            ..entry("ok")
        };
        let of_job = NewInvocation { job_id: Some("nightly".to_owned()), ..entry("plugin.trap") };
        commit(&store, logged(vec![full, of_job.clone()])).await;
        commit(&store, logged(vec![NewInvocation { delivery_seq: Some(7), ..entry("no-plugin") }])).await;
        commit(&store, logged(vec![of_job]).of(&other_shop(0))).await;

        let of_delivery = store.invocations_of_delivery(7, 10).await.unwrap();
        let outcomes: Vec<_> = of_delivery.iter().map(|entry| &*entry.outcome).collect();
        assert_eq!(outcomes, ["ok", "no-plugin"]);
        let full = &of_delivery[0];
        assert_eq!((&full.shop, full.at_ms, full.job_seq), (&shop(), NOW_MS, Some(8)));
        assert_eq!((full.plugin.as_deref(), full.version.as_deref()), (Some("tagger"), Some("1.2.3")));
        assert_eq!((full.action.as_deref(), full.phase.as_deref()), (Some("tag"), Some("run")));
        assert_eq!(full.detail.as_ref().map(Json::as_str), Some(r#"{"tags":["é"]}"#));
        assert_eq!((full.attempt, full.duration_us), (3, 1_234_567_890_123));
        assert_eq!(store.invocations_of_delivery(7, 1).await.unwrap().len(), 1);

        let of_job = async |shop: &Shop, id| -> Vec<String> {
            let found = store.invocations_of_job(shop, id, 10).await.unwrap();
            found.into_iter().map(|entry| entry.outcome).collect()
        };
        assert_eq!(of_job(&shop(), "nightly").await, ["plugin.trap", "ok"], "the newest first");
        assert_eq!(of_job(&other_shop(0), "nightly").await, ["plugin.trap"]);
        assert_eq!(of_job(&shop(), "weekly").await, Vec::<String>::new());
    })
    .await;
}

async fn kept(store: &Store) -> Vec<String> {
    let deliveries = store.deliveries(&DeliveryFilter::default(), 10_000).await.unwrap();
    deliveries.into_iter().rev().map(|delivery| delivery.webhook_id).collect()
}

#[tokio::test]
async fn old_deliveries_go_unless_a_job_needs_them() {
    on_both(async |place| {
        let store = place.open().await;
        // More that are kept for their jobs than are looked at in one go.
        let parked = (0..1_100).map(|id| unit().delivery(delivery(&format!("parked {id}"), b"")));
        for committed in commit_together(&store, parked.collect()).await {
            committed.unwrap();
        }
        for (id, now_ms) in [("old", NOW_MS), ("older", NOW_MS - 1), ("young", NOW_MS + 100), ("waits", NOW_MS)] {
            let committed = commit(&store, Unit { now_ms, ..unit() }.delivery(delivery(id, b""))).await;
            let tradewind_store::Ingested::New { job, .. } = committed.deliveries[0] else { panic!("`{id}` is new") };
            if id != "waits" {
                commit(&store, unit().finish(job, tradewind_store::How::Done)).await;
            }
        }
        let (seq, job) = ingest(&store, delivery("parked at last", b"x")).await;
        commit(&store, unit().finish(job, park("plugin.trap"))).await;

        assert_eq!(store.prune(NOW_MS - 1, 0, i64::MIN).await.unwrap(), 0);
        assert_eq!(store.prune(NOW_MS + 1, 0, i64::MIN).await.unwrap(), 2);
        assert_eq!(store.prune(NOW_MS + 1, 0, i64::MIN).await.unwrap(), 0);
        assert_eq!(kept(&store).await[1_100..], ["young", "waits", "parked at last"]);
        assert_eq!(store.delivery(seq).await.unwrap().unwrap().body, b"x");
    })
    .await;
}

#[tokio::test]
async fn old_entries_of_the_log_go() {
    on_both(async |place| {
        let store = place.open().await;
        let many = |count, now_ms| Unit {
            now_ms,
            ..logged(vec![NewInvocation { delivery_seq: Some(1), ..entry("ok") }; count])
        };
        commit(&store, many(1_200, NOW_MS)).await;
        commit(&store, many(3, NOW_MS + 1)).await;
        assert_eq!(store.prune(i64::MAX, NOW_MS, i64::MIN).await.unwrap(), 0);
        assert_eq!(store.prune(i64::MAX, NOW_MS + 1, i64::MIN).await.unwrap(), 1_200);
        assert_eq!(store.invocations_of_delivery(1, 10_000).await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn old_notes_beside_records_go_and_records_stay() {
    on_both(async |place| {
        let store = place.open().await;
        let write = |model: &str, id: &str| tradewind_store::Write {
            before: None,
            key: RecordKey::new(model, id),
            expected: None,
            doc: Some(Json::object([])),
            platform_updated_us: None,
        };
        let all = [("shopify/product", "1"), ("^family", "1"), ("~echo", "1"), ("~shopify/product", "2")];
        for (model, id) in all {
            commit(&store, Unit { writes: vec![write(model, id)], ..unit() }).await;
        }
        commit(&store, Unit { now_ms: NOW_MS + 5, writes: vec![write("~echo", "young")], ..unit() }).await;
        assert_eq!(store.prune(i64::MIN, i64::MIN, NOW_MS).await.unwrap(), 0);
        assert_eq!(store.prune(i64::MIN, i64::MIN, NOW_MS + 1).await.unwrap(), 2);
        let keys = [("shopify/product", "1"), ("^family", "1"), ("~echo", "1"), ("~echo", "young")];
        let keys = keys.map(|(model, id)| RecordKey::new(model, id));
        let there: Vec<_> = store.records(&shop(), &keys).await.unwrap().iter().map(Option::is_some).collect();
        assert_eq!(there, [true, true, false, true]);
    })
    .await;
}
