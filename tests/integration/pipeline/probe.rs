//! `contract-probe` in a real store: what the contract says of `data` and `queue` is what a plugin sees there, and the same
//! that it sees in memory (`contract`), where the two are the same by the contract.

use serde_json::{Value, json};
use tradewind_store::{JobKind, JobState, NewJob};
use tradewind_tests::host::{APP, TestHost, value};
use tradewind_tests::stores::{Place, json as parsed, on_both, shop};

use crate::contract::assert_seen;

const MODELS: &str = r#"[
    {"name": "thing", "fields": [
        {"name": "colour", "type": "string", "unique": true},
        {"name": "size", "type": "integer"},
        {"name": "parts", "type": "has-many", "model": "part", "by": "thing"}]},
    {"name": "part", "fields": [{"name": "thing", "type": "belongs-to", "model": "thing"}]}
]"#;

async fn see(place: &Place, action: &str) -> (Value, TestHost) {
    let host = TestHost::bare(place).await;
    let probe = tradewind_tests::installed("contract-probe").await.unwrap();
    host.install(APP, MODELS, vec![("probe", probe)]).await;
    let work = json!({"work": {"action": {"action": action, "params": {}}}});
    let job = NewJob { id: Some("see".to_owned()), ..NewJob::new(JobKind::Action, Some(parsed(&work.to_string()))) };
    host.enqueue(&shop(), job).await;
    host.drain().await;
    let logged = host.store.invocations_of_job(&shop(), "see", 1).await.unwrap();
    assert_eq!(logged[0].outcome, "done", "{logged:?}");
    (value(logged[0].detail.as_ref().unwrap()), host)
}

/// Records without their times, which every record has in a store.
fn timeless(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| name != "createdAt" && name != "updatedAt");
            Value::Object(kept.map(|(name, value)| (name, timeless(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(timeless).collect()),
        value => value,
    }
}

#[tokio::test]
async fn data() {
    on_both(async |place| {
        let (mut seen, _host) = see(&place, "see-data").await;
        assert_eq!(seen["create"]["createdAt"], "2026-05-28T20:26:40.000Z");
        // Cursors are the host's own.
        for cursor in ["end-cursor", "start-cursor"] {
            assert!(seen["find-many"][cursor].take().is_string());
        }
        let not_found = json!({"error": "not-found"});
        let blue = json!({"id": "1", "colour": "blue", "size": 2});
        let red = json!({"id": "2", "colour": "red", "size": 1});
        let expected = json!({
            "create": {"id": "1", "colour": "blue"},
            "create-again": {"error": "not-unique"},
            "create-not-json": {"error": "invalid-json"},
            "update": {"id": "1", "colour": "blue", "size": 9_007_199_254_740_993_u64},
            "update-absent": not_found,
            "upsert": blue,
            "converge": [{"id": "5", "thing": "1"}],
            "bulk-create": [{"id": "2"}, {"id": "3"}],
            "bulk-update": [{"id": "2", "colour": "red"}],
            "bulk-upsert": [red],
            "find-one": blue,
            "find-one-absent": not_found,
            "maybe-find-one": red,
            "maybe-find-one-absent": "none",
            "find-by": red,
            "find-by-absent": not_found,
            "maybe-find-by": "none",
            "find-first": blue,
            "find-first-absent": not_found,
            "maybe-find-first": "none",
            "count": 3,
            "count-all-shops": {"error": "not-granted"},
            "find-many": {"records": [blue], "has-next": false, "has-previous": false, "end-cursor": null, "start-cursor": null},
            "delete": "done",
            "delete-absent": not_found,
            "bulk-delete": "done",
            "count-after": 0,
            "run-action": not_found,
        });
        assert_seen(&timeless(seen), &expected);
    })
    .await;
}

#[tokio::test]
async fn queue() {
    on_both(async |place| {
        let (mut seen, host) = see(&place, "see-queue").await;
        // Ids that the host gives.
        for enqueued in ["enqueue-call", "enqueue-other-platform"] {
            assert!(seen[enqueued].take().is_string());
        }
        let expected = json!({
            "enqueue-action": "once",
            "enqueue-again": {"error": "not-unique"},
            "enqueue-ignored": "once",
            "enqueue-call": null,
            "enqueue-elsewhere": {"error": "invalid-argument"},
            "enqueue-other-platform": null,
            "enqueue-not-json": {"error": "invalid-json"},
            "status": {"id": "once", "state": "queued", "attempts": 0, "result": null, "error": null},
            "cancel": true,
        });
        assert_seen(&seen, &expected);
        let jobs = host.jobs().await;
        // Nothing here calls platforms: they wait for a person.
        assert_eq!(jobs.len(), 2);
        assert!(jobs.iter().all(|job| job.kind == JobKind::Call && job.state == JobState::Parked), "{jobs:?}");
    })
    .await;
}

#[tokio::test]
async fn a_topic_that_no_model_mirrors_runs_the_actions_that_hear_it() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let seq = host.deliver("app/uninstalled", &json!({"id": 1})).await;
        host.drain().await;
        assert_eq!(host.log_of(seq).await, ["puppet/play run ok", "ran", "puppet/play success ok"]);
    })
    .await;
}
