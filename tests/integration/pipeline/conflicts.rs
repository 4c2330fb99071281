//! Somebody else writes between a plugin's reads and its commit: the work is done again on what is there now.
//!
//! The other writer comes when the plugin logs, in the middle of its run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tradewind_host::pipeline::{CONFLICT_AFTER_MS, CONFLICT_RERUNS_MAX, Ended};
use tradewind_model::{Json, RecordKey};
use tradewind_store::{Store, Unit, Write};
use tradewind_tests::host::TestHost;
use tradewind_tests::stores::{NOW_MS, on_both, shop};

/// Writes a record over whatever is there, from another thread, because the plugin's own waits for it.
fn write(store: &Arc<Store>, model: &str, id: &str, doc: &Value) {
    let (store, key) = (Arc::clone(store), RecordKey::new(model, id));
    let doc = Json::of(doc).unwrap();
    let handle = tokio::runtime::Handle::current();
    let written = std::thread::spawn(move || {
        handle.block_on(async {
            let stored = store.record(&shop(), &key).await.unwrap();
            let expected = stored.as_ref().map(|stored| stored.version);
            let write = Write {
                before: None,
                key,
                expected,
                doc: Some(doc),
                platform_updated_us: stored.and_then(|old| old.platform_updated_us),
            };
            store.commit(Unit { writes: vec![write], ..Unit::new(shop(), NOW_MS) }).await.unwrap();
        });
    });
    written.join().unwrap();
}

/// Has the record written by somebody else the first so many times that a plugin logs `now`.
fn interfere(host: &TestHost, model: &'static str, id: &'static str, times: u32) -> Arc<AtomicU32> {
    let store = Arc::clone(&host.store);
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    host.on_log(move |message| {
        if message == "now" && counted.fetch_add(1, Ordering::Relaxed) < times {
            write(&store, model, id, &json!({"by": "other", "count": counted.load(Ordering::Relaxed)}));
        }
    });
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_is_done_again_on_what_is_there_now() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        write(&host.store, "note", "1", &json!({"by": "us"}));
        write(&host.store, "shopify/product", "1", &json!({"title": "Old"}));
        // A record that the plugin writes, one that it only read, and the one that it runs on.
        let write_note = json!([{"log": "now"}, {"find": ["note", "1", {"select": {"by": true}}]}, {"log": "now"},
            {"update": ["note", "1", {"mine": true}, {"internal": true}]}]);
        let read_note = json!([{"find": ["note", "1", {"select": {"count": true}}]}, {"log": "now"},
            {"find": ["note", "1", {"select": {"count": true}}]}]);
        let own = json!([{"log": "now"}, {"get": "by"}]);
        for (script, model, id) in [(write_note, "note", "1"), (read_note, "note", "1"), (own, "shopify/product", "1")]
        {
            let count = interfere(&host, model, id, 2);
            let seq = host.deliver("products/update", &json!({"id": "1", "title": "New", "script": script})).await;
            let ends = host.drain().await;
            assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?}");
            assert!(count.load(Ordering::Relaxed) >= 2);
            let log = host.log_of(seq).await;
            assert!(log.contains(&"puppet/follow run conflict".to_owned()), "{log:?}");
            assert!(log.contains(&"puppet/follow run ok".to_owned()), "{log:?}");
            // Reads of one run agree, whatever happens meanwhile.
            let answers = host.result_of(seq, "follow").await;
            if answers[0].get("count").is_some() {
                assert_eq!(answers[0], answers[2]);
            }
        }
        assert_eq!(host.record("note", "1").await["by"], "other");
        let product = host.record("shopify/product", "1").await;
        assert_eq!((&product["title"], &product["by"]), (&json!("New"), &json!("other")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_done_again_for_ever() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        write(&host.store, "note", "1", &json!({"by": "us"}));
        let count = interfere(&host, "note", "1", u32::MAX);
        let script = json!([{"find": ["note", "1"]}, {"log": "now"}]);
        let seq = host.deliver("products/update", &json!({"id": "1", "script": script})).await;
        let ends = host.drain().await;
        // It waits, which is no attempt.
        let expected = NOW_MS + CONFLICT_AFTER_MS;
        let is_as_expected = matches!(ends[..], [Ended::Again { attempts: 0, run_at_ms, .. }] if run_at_ms == expected);
        assert!(is_as_expected, "{ends:?}");
        assert_eq!(count.load(Ordering::Relaxed), CONFLICT_RERUNS_MAX + 1);
        let error: Value = host.jobs().await[0].error.as_ref().unwrap().to().unwrap();
        assert_eq!(error["code"], "conflict");
        assert_eq!(error["message"], "`note 1` of `tagger/hats.example` was written meanwhile");
        // The log has the last of them.
        assert_eq!(host.log_of(seq).await, vec!["puppet/follow run conflict"; 20]);
        assert_eq!(host.record("shopify/product", "1").await, Value::Null);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_success_is_decided_again() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        write(&host.store, "note", "1", &json!({"by": "us"}));
        // The action that `success` runs reads, is overtaken, and writes.
        let nested = json!([{"find": ["note", "1"]}, {"log": "now"}, {"update": ["note", "1", {"mine": true}, {"internal": true}]}]);
        let after = json!([{"run-action": ["play", {"script": nested}], "or-fail": true}]);
        let count = interfere(&host, "note", "1", 2);
        host.deliver("products/update", &json!({"id": "1", "scriptAfter": after})).await;
        host.drain().await;
        assert_eq!(count.load(Ordering::Relaxed), 3);
        assert_eq!(host.record("note", "1").await, json!({"by": "other", "count": 2, "mine": true}));
        assert!(host.jobs().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_that_comes_late_updates() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let store = Arc::clone(&host.store);
        host.on_log(move |_| {
            if tokio::runtime::Handle::try_current().is_ok() {
                write_once(&store);
            }
        });
        let script = json!([{"upsert": ["badge", ["code"], {"code": "A", "holder": "us"}]}, {"log": "now"}]);
        host.deliver("products/update", &json!({"id": "1", "script": script})).await;
        let ends = host.drain().await;
        assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?}");
        assert_eq!(host.record("badge", "theirs").await, json!({"code": "A", "holder": "us"}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_knows_more_than_the_unit_is_not_trusted() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        write(&host.store, "thing", "1", &json!({}));
        let late = |model: &'static str, id: &'static str, doc: Value| {
            let (store, count) = (Arc::clone(&host.store), AtomicU32::new(0));
            host.on_log(move |_| {
                if count.fetch_add(1, Ordering::Relaxed) == 0 {
                    write(&store, model, id, &doc);
                }
            });
        };
        // A child that comes after the unit has looked for it by its id: one to delete, and one to keep.
        for (left, expected) in [(json!([]), Value::Null), (json!([{"id": "a", "name": "B"}]), json!("B"))] {
            late("part", "a", json!({"thing": "1", "name": "A"}));
            let script = json!([{"find": ["part", "a"]}, {"log": "now"},
                {"converge": ["thing", "1", "parts", left], "or-fail": true}]);
            host.deliver("products/update", &json!({"id": "1", "script": script})).await;
            let ends = host.drain().await;
            assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?}");
            assert_eq!(host.record("part", "a").await["name"], expected);
        }
        // A record that had another key when the unit read it is not the one to update.
        write(&host.store, "badge", "b", &json!({"code": "old", "holder": "them"}));
        late("badge", "b", json!({"code": "new", "holder": "them"}));
        let script = json!([{"find": ["badge", "b"]}, {"log": "now"},
            {"upsert": ["badge", ["code"], {"code": "new", "holder": "us"}], "or-fail": true}]);
        host.deliver("products/update", &json!({"id": "1", "script": script})).await;
        // What the plugin was answered is not so any more: it runs again.
        let ends = host.drain().await;
        assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?}");
        assert_eq!(host.record("badge", "b").await, json!({"code": "new", "holder": "us"}));
        assert!(host.jobs().await.is_empty());
    })
    .await;
}

fn write_once(store: &Arc<Store>) {
    let (store, handle) = (Arc::clone(store), tokio::runtime::Handle::current());
    let written = std::thread::spawn(move || {
        handle.block_on(async {
            let key = RecordKey::new("badge", "theirs");
            let doc = Some(Json::parse(r#"{"code":"A","holder":"them"}"#).unwrap());
            let write = Write { before: None, key, expected: None, doc, platform_updated_us: None };
            // The second time it is there.
            drop(store.commit(Unit { writes: vec![write], ..Unit::new(shop(), NOW_MS) }).await);
        });
    });
    written.join().unwrap();
}
