//! The whole contract, function by function, as a guest sees it: `plugins/contract-probe` calls everything and answers
//! what it saw. Here the record, the invocation and the storage.

use serde_json::{Value, json};
use tradewind_model::{Baseline, Json};
use tradewind_runtime::Outcome;
use tradewind_runtime::fake::{Entries, Journal};
use tradewind_runtime::session::LogEntry;
use tradewind_tests::{Fixture, installed};

pub(crate) fn seen(outcome: &Outcome) -> Value {
    match &outcome.result {
        Ok(result) => serde_json::from_str(result.as_str()).unwrap(),
        Err(failure) => panic!("{failure}\n{}", failure.backtrace().cloned().unwrap_or_default()),
    }
}

pub(crate) async fn see(action: &str, fixture: Fixture) -> (Value, Outcome) {
    let probe = installed("contract-probe").await.unwrap();
    let mut fixture = fixture;
    fixture.invocation.action = action.to_owned();
    let outcome = fixture.call(&probe).await;
    (seen(&outcome), outcome)
}

/// What `success`, which has no result, logged.
async fn see_after_commit(action: &str, fixture: Fixture) -> (Value, Outcome) {
    let probe = installed("contract-probe").await.unwrap();
    let mut fixture = fixture.success(r#"{"ran":true}"#);
    fixture.invocation.action = action.to_owned();
    let journal = fixture.session.journal.clone();
    let outcome = fixture.call(&probe).await;
    assert_eq!(outcome.result.as_ref().unwrap().as_str(), "null");
    let fields = logged(&journal, "success").fields;
    (serde_json::from_str(fields.as_str()).unwrap(), outcome)
}

fn logged(journal: &Journal, message: &str) -> LogEntry {
    let entries = journal.entries();
    entries.logs.iter().find(|entry| entry.message == message).unwrap().clone()
}

/// Shows one difference at a time: a whole answer is longer than a screen.
#[track_caller]
pub(crate) fn assert_seen(seen: &Value, expected: &Value) {
    let (seen, expected) = (seen.as_object().unwrap(), expected.as_object().unwrap());
    for (name, value) in expected {
        assert_eq!(seen.get(name), Some(value), "`{name}`");
    }
    let unexpected: Vec<_> = seen.iter().filter(|(name, _)| !expected.contains_key(*name)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

fn product() -> Fixture {
    let stored = r#"{"externalId":18446744073709551615,"title":"Hat","price":10,"vendor":"us"}"#;
    Fixture::new("").product(stored, r#"{"price":11.50,"title":"Hat"}"#)
}

#[tokio::test]
async fn record() {
    let (seen, outcome) = see("see-record", product()).await;
    assert_seen(
        &seen,
        &json!({
            "id": "42",
            "model": "shopify/product",
            "is-new": false,
            "is-empty": false,
            "fields": ["externalId", "title", "price", "vendor"],
            "get": 18_446_744_073_709_551_615_u64,
            "get-absent": "none",
            "get-many": [11.5, "none", "Hat", 11.5],
            "changed": true,
            "changed-price": true,
            "changed-title": false,
            "incoming": [["price", 10, 11.5, "external"]],
            "origin": "external",
            "origin-none": null,
            "set": "done",
            "set-not-json": {"error": "invalid-json"},
            "set-new": "done",
            "unset": "done",
            "apply": "done",
            "apply-not-an-object": {"error": "invalid-argument"},
            "changes": [
                ["title", "Hat", "CAP", "run"],
                ["price", 10, 12, "run"],
                ["vendor", "us", "none", "run"],
                ["parentId", "none", 18_446_744_073_709_551_615_u64, "run"],
                ["tags", "none", ["b"], "run"],
            ],
            "flush": "done",
            "set-after-flush": "done",
            "changes-persisted": [["price", 12, 13, "run"]],
            "change": ["price", 12, 13, "run"],
            "change-none": "none",
            "previous-loaded": 10,
            "previous-persisted": 12,
            "origin-run": "run",
            "to-changed-json": {"title": "CAP", "price": 13, "parentId": 18_446_744_073_709_551_615_u64, "tags": ["b"]},
            "to-changed-json-persisted": {"price": 13},
            "revert-field": "done",
            "reverted-field": 12,
            "touch": "done",
            "touched": true,
            "revert": "done",
            "untouched": false,
            "to-json": {
                "externalId": 18_446_744_073_709_551_615_u64,
                "title": "CAP",
                "price": 12,
                "parentId": 18_446_744_073_709_551_615_u64,
                "tags": ["b"],
            },
        }),
    );
    let record = outcome.record.unwrap();
    assert_eq!(record.get("parentId").map(Json::as_str), Some("18446744073709551615"));
    assert!(!record.changed(None, Baseline::Persisted));
}

#[tokio::test]
async fn new_and_empty_records() {
    for (stored, is_new, is_empty) in [("null", true, true), ("{}", false, true), (r#"{"a":1}"#, false, false)] {
        let (seen, _) = see("see-record", Fixture::new("").product(stored, r#"{"price":1}"#)).await;
        assert_eq!((&seen["is-new"], &seen["is-empty"]), (&json!(is_new), &json!(is_empty)), "{stored}");
    }
}

#[tokio::test]
async fn save_moves_the_persisted_baseline() {
    let fixture = product();
    let journal = fixture.session.journal.clone();
    let (seen, _) = see("see-save", fixture).await;
    let expected = json!({"set": "done", "save": "done", "changed-loaded": true, "changed-persisted": false});
    assert_seen(&seen, &expected);
    let entries = journal.entries();
    assert_eq!(
        (entries.writes[0].kind, entries.writes[0].values.as_str()),
        ("save", r#"{"title":"CAP","price":11.50}"#)
    );
}

#[tokio::test]
async fn the_record_is_read_only_after_the_commit() {
    let (seen, outcome) = see_after_commit("see-record", product()).await;
    let refused = json!({"error": "wrong-phase"});
    let expected = json!({
        "set": refused, "unset": refused, "apply": refused, "revert": refused, "flush": refused,
        "touch": refused, "save": refused,
        "get": "Hat", "changes": [["price", 10, 11.5, "external"]],
    });
    assert_seen(&seen, &expected);
    assert_eq!(outcome.record.unwrap().get("price").map(Json::as_str), Some("11.50"));
}

fn told() -> Fixture {
    let json = |text: &str| Json::parse(text).unwrap();
    let mut fixture = product().params(r#"{"limit":9007199254740993}"#);
    fixture.invocation.trigger = json(r#"{"kind":"webhook","topic":"products/update"}"#);
    fixture.invocation.verb = Some("update".to_owned());
    fixture.invocation.payload = Some(json(r#"{"id":820982911946154508}"#));
    fixture.invocation.caller = Some(json(r#"{"id":"u1","roles":["admin"]}"#));
    fixture.invocation.shop = Some(json(r#"{"id":"1","platform":"shopify","domain":"hats.myshopify.com"}"#));
    "delivery-7".clone_into(&mut fixture.invocation.idempotency_key);
    fixture.invocation.attempt = 2;
    fixture.invocation.depth = 3;
    fixture.invocation.checkpoint_state = Some(json(r#"{"page":2}"#));
    fixture
}

#[tokio::test]
async fn invocation() {
    let expected = |run_result: Value| {
        json!({
            "params": {"limit": 9_007_199_254_740_993_u64},
            "param": 9_007_199_254_740_993_u64,
            "param-absent": "none",
            "trigger": {"kind": "webhook", "topic": "products/update"},
            "verb": "update",
            "payload": {"id": 820_982_911_946_154_508_u64},
            "session": {"id": "u1", "roles": ["admin"]},
            "shop": {"id": "1", "platform": "shopify", "domain": "hats.myshopify.com"},
            "record": "42",
            "run-result": run_result,
            "idempotency-key": "delivery-7",
            "attempt": 2,
            "depth": 3,
            "remaining-ms": true,
            "checkpoint": {"error": "not-available"},
            "checkpoint-not-json": {"error": "invalid-json"},
            "checkpoint-state": {"page": 2},
            "prevent-cross-shop-access": "done",
        })
    };
    let (seen, _) = see("see-invocation", told()).await;
    assert_seen(&seen, &expected(json!("none")));
    let (seen, _) = see_after_commit("see-invocation", told()).await;
    assert_seen(&seen, &expected(json!({"ran": true})));

    let (seen, _) = see("see-invocation", Fixture::new("")).await;
    for absent in ["payload", "session", "shop", "run-result", "checkpoint-state"] {
        assert_eq!(seen[absent], "none", "`{absent}`");
    }
    assert_eq!((&seen["record"], &seen["verb"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn data() {
    let (seen, outcome) = see("see-data", Fixture::new("")).await;
    let first = json!({"id": "1", "colour": "blue", "size": 9_007_199_254_740_993_u64});
    let not_found = json!({"error": "not-found"});
    // The upsert by colour finds the first thing, and the last upsert the second.
    let blue = json!({"id": "1", "colour": "blue", "size": 2});
    assert_seen(
        &seen,
        &json!({
            "create": {"id": "1", "colour": "blue"},
            "create-again": {"error": "not-unique"},
            "create-not-json": {"error": "invalid-json"},
            "update": first,
            "update-absent": not_found,
            "upsert": blue,
            "converge": [{"id": "5"}],
            "bulk-create": [{"id": "2"}, {"id": "3"}],
            "bulk-update": [{"id": "2", "colour": "red"}],
            "bulk-upsert": [{"id": "2", "colour": "red", "size": 1}],
            "find-one": blue,
            "find-one-absent": not_found,
            "maybe-find-one": {"id": "2", "colour": "red", "size": 1},
            "maybe-find-one-absent": "none",
            "find-by": {"id": "2", "colour": "red", "size": 1},
            "find-by-absent": not_found,
            "maybe-find-by": "none",
            "find-first": blue,
            "find-first-absent": not_found,
            "maybe-find-first": "none",
            "count": 3,
            "count-all-shops": {"error": "not-granted"},
            "find-many": {
                "records": [blue], "has-next": false, "has-previous": false, "end-cursor": null, "start-cursor": null,
            },
            "delete": "done",
            "delete-absent": not_found,
            "bulk-delete": "done",
            "count-after": 0,
            "run-action": {"error": "not-available"},
        }),
    );
    assert_eq!((outcome.usage.reads, outcome.usage.writes), (14, 14));
}

#[tokio::test]
async fn queue() {
    let fixture = Fixture::new("");
    let journal = fixture.session.journal.clone();
    let (seen, outcome) = see("see-queue", fixture).await;
    let expected = json!({
        "enqueue-action": "once",
        "enqueue-again": {"error": "not-unique"},
        "enqueue-ignored": "once",
        "enqueue-call": "job-2",
        "enqueue-elsewhere": {"error": "invalid-argument"},
        "enqueue-other-platform": "job-3",
        "enqueue-not-json": {"error": "invalid-json"},
        "status": {"error": "not-available"},
        "cancel": {"error": "not-available"},
    });
    assert_seen(&seen, &expected);
    let Entries { jobs, .. } = &*journal.entries();
    assert_eq!((jobs.len(), outcome.usage.jobs), (3, 7));
}
