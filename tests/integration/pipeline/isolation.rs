//! What a call read holds at its commit: records by id, and the answers of queries. Its queries see what comes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tradewind_host::pipeline::Ended;
use tradewind_model::{Json, RecordKey};
use tradewind_store::{Store, Unit, Write};
use tradewind_tests::faults::totals;
use tradewind_tests::host::TestHost;
use tradewind_tests::stores::{NOW_MS, on_both, shop};

/// Writes records in one commit, over whatever is there, from another thread, because the plugin's own waits for it.
fn write(store: &Arc<Store>, records: &[(&'static str, &'static str, Value)]) {
    let (store, records) = (Arc::clone(store), records.to_vec());
    let handle = tokio::runtime::Handle::current();
    let written = std::thread::spawn(move || {
        handle.block_on(async {
            let mut unit = Unit::new(shop(), NOW_MS);
            for (model, id, doc) in records {
                let key = RecordKey::new(model, id);
                let stored = store.record(&shop(), &key).await.unwrap();
                let (expected, before) = stored.map(|stored| (stored.version, stored.doc)).unzip();
                let doc = (!doc.is_null()).then(|| Json::of(&doc).unwrap());
                unit.writes.push(Write { key, expected, before, doc, platform_updated_us: None });
            }
            store.commit(unit).await.unwrap();
        });
    });
    written.join().unwrap();
}

/// Does something when a plugin logs `now` for the first time, and counts how often it does.
fn at_now(host: &TestHost, deed: impl Fn(&Arc<Store>) + Send + Sync + 'static) -> Arc<AtomicU32> {
    let (store, count) = (Arc::clone(&host.store), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&count);
    host.on_log(move |message| {
        if message == "now" && counted.fetch_add(1, Ordering::Relaxed) == 0 {
            deed(&store);
        }
    });
    count
}

async fn play(host: &TestHost, fields: Value) -> i64 {
    let mut body = json!({"id": "1"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let seq = host.deliver("products/update", &body).await;
    let ends = host.drain().await;
    assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?}");
    seq
}

fn blue() -> Value {
    json!({"filter": {"colour": {"equals": "blue"}}})
}

/// A query's script beside a write of somebody else between it and the commit: whether the work is done again.
async fn check(
    host: &TestHost,
    query: &Value,
    before: &[(&'static str, &'static str, Value)],
    after: &[(&'static str, &'static str, Value)],
    is_again: bool,
) {
    write(&host.store, before);
    let written = after.to_vec();
    let count = at_now(host, move |store| write(store, &written));
    let note = json!({"create": ["note", {"about": "things"}, {"internal": true}]});
    play(host, json!({"script": [query, {"log": "now"}, note]})).await;
    assert_eq!(count.load(Ordering::Relaxed), 1 + u32::from(is_again), "{query} {before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_refused_when_a_query_would_be_answered_differently() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let thing = |doc: Value| [("thing", "new", doc)];
        let (none, is_blue, is_larger) = (Value::Null, json!({"colour": "blue"}), json!({"colour": "blue", "size": 2}));
        let (is_red, is_large_red) = (json!({"colour": "red"}), json!({"colour": "red", "size": 2}));
        let steps = [
            json!({"count": ["thing", blue()]}),
            json!({"find-many": ["thing", blue()]}),
            json!({"find-first": ["thing", blue()]}),
        ];
        for query in &steps {
            let is_count = query.get("count").is_some();
            for (before, after, is_again) in [
                (&none, &is_blue, true),
                (&is_blue, &is_larger, !is_count),
                (&is_blue, &is_red, true),
                (&is_red, &is_large_red, false),
                (&is_red, &none, false),
                (&is_blue, &none, true),
            ] {
                check(&host, query, &thing(before.clone()), &thing(after.clone()), is_again).await;
            }
        }
        let by_key = json!({"find-by": ["badge", {"code": "A"}]});
        let badge = |code: &str| [("badge", "new", json!({"code": code, "holder": "them"}))];
        check(&host, &by_key, &[], &badge("B"), false).await;
        check(&host, &by_key, &[], &badge("A"), true).await;
        // An upsert looks for its record, and a parent for its children.
        write(&host.store, &[("badge", "new", Value::Null), ("thing", "parent", json!({}))]);
        let upsert = json!({"upsert": ["badge", ["code"], {"code": "A", "holder": "us"}, {"internal": true}]});
        check(&host, &upsert, &[], &badge("A"), true).await;
        assert_eq!(host.record("badge", "new").await, json!({"code": "A", "holder": "us"}));
        let converge = json!({"converge": ["thing", "parent", "parts", [], {"internal": true}]});
        check(&host, &converge, &[], &[("part", "late", json!({"thing": "parent", "name": "x"}))], true).await;
        assert_eq!(host.record("part", "late").await, Value::Null);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_reads_of_a_call_agree_at_its_commit() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let by_id = json!({"find": ["note", "pair", {"select": {"blue": true}}]});
        let by_query = json!({"count": ["thing", blue()]});
        let make = json!({"create": ["note", {"about": "both"}, {"internal": true}]});
        for (at, script) in [
            json!([by_id, {"log": "now"}, by_query, make]),
            json!([by_query, {"log": "now"}, by_id, make]),
            json!([by_query, {"log": "now"}, by_query, make]),
        ]
        .into_iter()
        .enumerate()
        {
            let of = ["1", "2", "3"][at];
            write(&host.store, &[("note", "pair", json!({"blue": at}))]);
            // Somebody changes both in one commit.
            let count = at_now(&host, move |store| {
                write(store, &[("note", "pair", json!({"blue": at + 1})), ("thing", of, json!({"colour": "blue"}))]);
            });
            let seq = play(&host, json!({"script": script})).await;
            assert_eq!(count.load(Ordering::Relaxed), 2);
            let answers = host.result_of(seq, "follow").await;
            let numbers: Vec<_> = [&answers[0], &answers[2]]
                .map(|answer| answer.get("blue").unwrap_or(answer).as_u64())
                .into_iter()
                .collect();
            assert_eq!(numbers, [Some(at as u64 + 1); 2], "{script}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_each_rely_on_the_other_do_not_both_go() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let others_by_id = json!({"find": ["thing", "b", {"select": {"colour": true}}], "expect": {"colour": "blue"}});
        let others_by_query = json!({"count": ["thing", blue()], "expect": 2});
        for others in [others_by_id, others_by_query] {
            write(&host.store, &[("thing", "a", json!({"colour": "blue"})), ("thing", "b", json!({"colour": "blue"}))]);
            at_now(&host, |store| write(store, &[("thing", "b", json!({"colour": "red"}))]));
            let script =
                json!([others, {"log": "now"}, {"update": ["thing", "a", {"colour": "red"}, {"internal": true}]}]);
            host.deliver("products/update", &json!({"id": "1", "script": script})).await;
            host.drain().await;
            // It looked again, and found that it may not.
            assert_eq!(host.parked().await.1["code"], "unexpected");
            assert_eq!(host.record("thing", "a").await["colour"], "blue");
            host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_comes_from_what_is_not_so_any_more_is_none() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let reads = json!([{"find": ["note", "late"]}, {"log": "now"},
            {"find": ["note", "late", {"select": {"by": true}}], "expect": {"by": "other"}}]);
        let count = at_now(&host, |store| write(store, &[("note", "late", json!({"by": "other"}))]));
        play(&host, json!({"script": reads})).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        // The same in `success`, where the action that a call runs is the unit.
        write(&host.store, &[("note", "late", Value::Null)]);
        let count = at_now(&host, |store| write(store, &[("note", "late", json!({"by": "other"}))]));
        let after = json!([{"run-action": ["play", {"script": reads}], "or-fail": true}]);
        play(&host, json!({"script": null, "scriptAfter": after})).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        // One that comes from what is so is one.
        let seq = host.deliver("products/update", &json!({"id": "2", "script": [{"fail": {"code": "mine"}}]})).await;
        host.drain().await;
        assert_eq!(host.log_of(seq).await, ["puppet/follow run returned", "parked"]);
        host.parked().await;
    })
    .await;
}

#[tokio::test]
async fn queries_see_what_comes_in() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let titled = |title: &str| json!({"filter": {"title": {"equals": title}}});
        let count = |title: &str, expected: u32| json!({"count": ["shopify/product", titled(title)], "expect": expected});
        let shown = json!({"select": {"title": true}});
        let sees = |title: &str, other: &str| {
            let is = json!({"title": title});
            vec![
                count(title, 1),
                count(other, 0),
                json!({"find": ["shopify/product", "1", shown], "expect": is}),
                json!({"find-by": ["shopify/product", {"id": "1"}, shown], "expect": is}),
                json!({"find-first": ["shopify/product", {"filter": {"title": {"equals": title}}, "select": {"title": true}}],
                    "expect": is}),
                json!({"find-many": ["shopify/product", {"select": {"title": true}}], "expect": [is]}),
            ]
        };
        let both = |title: &str, other: &str| {
            let mut script = sees(title, other);
            // An action inside of it sees the same.
            script.push(json!({"run-action": ["play", {"script": sees(title, other)}], "or-fail": true}));
            script
        };
        play(&host, json!({"title": "Hat", "script": both("Hat", "Cap")})).await;
        let mut script = both("Cap", "Hat");
        // What it saves counts, and not what came in.
        script.extend([json!({"set": {"title": "CAP"}}), json!({"save": true})]);
        script.extend(both("CAP", "Cap"));
        // An action that does not hold the record back sees it, and those after one that failed do.
        let body = json!({"id": "1", "title": "Cap", "script": script, "first": both("Cap", "Hat"), "last": both("CAP", "Cap"),
            "keep": [{"find": ["shopify/product", "1", shown], "or-fail": true}, {"fail": {"code": "not-now"}}]});
        let seq = host.deliver("products/update", &body).await;
        host.drain().await;
        let log = host.log_of(seq).await;
        assert!(log.contains(&"puppet/last run ok".to_owned()), "{log:?}");
        assert_eq!(host.record("shopify/product", "1").await["title"], "CAP");
        host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        // A record that is being deleted is not there.
        let gone = json!([count("CAP", 0), count("Hat", 0), {"find": ["shopify/product", "1"], "expect": null},
            {"find-many": ["shopify/product"], "expect": []}]);
        play(&host, json!({"title": "CAP", "keepDeleted": gone, "script": null, "first": null, "last": null, "keep": null})).await;
        host.deliver("products/delete", &json!({"id": "1"})).await;
        host.drain().await;
        assert!(host.jobs().await.is_empty(), "{:?}", host.jobs().await);
    })
    .await;
}

#[tokio::test]
async fn what_comes_in_is_not_written_by_being_seen() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let sees = json!([{"count": ["note"], "expect": 1}, {"find": ["note", "n", {"select": {"by": true}}], "expect": {"by": "us"}}]);
        let note = json!({"create": ["note", {"id": "n", "by": "us", "script": sees}], "or-fail": true});
        let after = json!({"count": ["note"], "expect": 0});
        let seq = play(&host, json!({"script": [note, after]})).await;
        assert_eq!(host.record("note", "n").await, Value::Null, "it was not saved");
        assert!(host.log_of(seq).await.contains(&"puppet/manual run ok".to_owned()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_that_are_kept_by_counting_are_exact() {
    on_both(async |place| {
        let report = totals::rounds(&place, 1, 300, Duration::from_mins(5), 7).await.unwrap();
        assert_eq!(report.failures, 0, "{}", report.did);
    })
    .await;
}
