//! Records of the app's own through the contract's `data`, in a real store.

use serde_json::{Value, json};
use tradewind_host::pipeline::{Ended, UNIT_WRITES_MAX, reason};
use tradewind_runtime::Limits;
use tradewind_store::{JobKind, NewJob};
use tradewind_tests::host::{APP, MODELS, TestHost, value};
use tradewind_tests::stores::{json as parsed, on_both, shop};
use tradewind_tests::{install, limits, runtime};

/// Plays a script as a global action and answers what its steps were answered.
async fn play(host: &TestHost, script: &Value) -> Value {
    let work = json!({"work": {"action": {"action": "play", "params": {"script": script}}}});
    let job = NewJob { id: Some("play".to_owned()), ..NewJob::new(JobKind::Action, Some(parsed(&work.to_string()))) };
    host.enqueue(&shop(), job).await;
    let ends = host.drain().await;
    assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?} {:#?}", host.jobs().await);
    let logged = host.store.invocations_of_job(&shop(), "play", 1).await.unwrap();
    logged[0].detail.as_ref().map_or(Value::Null, value)
}

#[tokio::test]
async fn a_unit_sees_its_own_writes_in_queries() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let things: Vec<_> = (0..10)
            .map(|id| json!({"id": id.to_string(), "colour": if id % 2 == 0 { "blue" } else { "red" }, "size": id}))
            .collect();
        play(&host, &json!([{"bulk-create": ["thing", things, {"internal": true}], "or-fail": true}])).await;
        let ids = |answer: &Value| -> Vec<String> {
            answer.as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
        };
        let blue =
            json!({"filter": {"colour": {"equals": "blue"}}, "sort": [{"size": "descending"}], "select": {"id": true}});
        let answers = play(
            &host,
            &json!([
                {"find-many": ["thing", blue]},
                {"delete": ["thing", "8"]},
                {"update": ["thing", "1", {"colour": "blue", "size": 100}]},
                {"create": ["thing", {"id": "new", "colour": "blue", "size": 5}]},
                {"update": ["thing", "0", {"colour": null}]},
                {"find-many": ["thing", blue]},
                {"count": ["thing", {"filter": {"colour": {"equals": "blue"}}}]},
                {"count": ["thing", null]},
                {"find-first": ["thing", {"filter": {"size": {"greaterThan": 50}}, "select": {"id": true}}]},
            ]),
        )
        .await;
        assert_eq!(ids(&answers[0]), ["8", "6", "4", "2", "0"]);
        assert_eq!(ids(&answers[5]), ["1", "6", "new", "4", "2"]);
        assert_eq!((&answers[6], &answers[7], &answers[8]), (&json!(5), &json!(10), &json!({"id": "1"})));
        // And so does everybody else afterwards.
        let answers = play(&host, &json!([{"find-many": ["thing", blue]}])).await;
        assert_eq!(ids(&answers[0]), ["1", "6", "new", "4", "2"]);
    })
    .await;
}

#[tokio::test]
async fn writes_are_held_to_the_model() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let invalid = json!({"error": "validation-failed"});
        let answers = play(&host, &json!([
            {"create": ["part", {"id": "1"}], "expect": invalid},
            {"create": ["part", {"id": "1", "name": null}], "expect": invalid},
            {"create": ["thing", {"id": "1", "size": "1"}], "expect": invalid},
            {"create": ["nothing", {"id": "1"}], "expect": {"error": "not-found"}},
            {"create": ["thing", {"id": "1", "size": 9_007_199_254_740_993_u64, "other": 18_446_744_073_709_551_615_u64}]},
            {"create": ["thing", {"id": "1"}], "expect": {"error": "not-unique"}},
            {"create": ["thing", {"colour": "blue"}, {"select": {"colour": true}}], "expect": {"colour": "blue"}},
            {"update": ["thing", "9", {}], "expect": {"error": "not-found"}},
            {"update": ["thing", "1", {"size": 1.5}], "expect": invalid},
            {"delete": ["thing", "9"], "expect": {"error": "not-found"}},
            // All of a bulk write is there, or nothing is.
            {"bulk-create": ["thing", [{"id": "a"}, {"id": "b", "size": "x"}]], "expect": invalid},
            {"find": ["thing", "a"], "expect": null},
            {"bulk-update": ["thing", [{"id": "1", "colour": "red"}, {"colour": "red"}]], "expect": {"error": "invalid-argument"}},
            {"find": ["thing", "1", {"select": {"colour": true}}], "expect": {}},
            {"find": ["thing", "1", {"where": 1}], "expect": {"error": "invalid-argument"}},
        ]))
        .await;
        assert_eq!(answers[4]["other"], 18_446_744_073_709_551_615_u64);
        assert_eq!(host.stored("thing", "1").await.unwrap().doc.as_str(), r#"{"other":18446744073709551615,"size":9007199254740993}"#);
    })
    .await;
}

#[tokio::test]
async fn children_converge_with_their_actions() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        play(&host, &json!([
            {"create": ["thing", {"id": "1", "parts": {"_converge": {"values": [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}]}}}], "or-fail": true},
            {"create": ["thing", {"id": "2"}]},
            {"create": ["part", {"id": "z", "name": "Z", "thing": {"_link": "2"}}], "or-fail": true},
        ]))
        .await;
        assert_eq!(host.record("part", "a").await, json!({"name": "A", "thing": "1"}));
        assert_eq!(host.record("part", "z").await, json!({"name": "Z", "thing": "2"}));
        let answers = play(&host, &json!([
            {"converge": ["thing", "1", "parts", [{"id": "b", "name": "B2"}, {"id": "c", "name": "C"}], {"select": {"id": true, "name": true}}]},
            {"converge": ["thing", "9", "parts", []], "expect": {"error": "not-found"}},
            {"converge": ["thing", "1", "colour", []], "expect": {"error": "invalid-argument"}},
            {"converge": ["thing", "1", "parts", [{"id": "d"}]], "expect": {"error": "validation-failed"}},
            {"create": ["thing", {"id": "3", "parts": []}], "expect": {"error": "invalid-argument"}},
        ]))
        .await;
        assert_eq!(answers[0], json!([{"id": "b", "name": "B2"}, {"id": "c", "name": "C"}]));
        for (id, name) in [("a", Value::Null), ("b", json!("B2")), ("c", json!("C")), ("z", json!("Z"))] {
            assert_eq!(host.record("part", id).await["name"], name, "{id}");
        }
        assert_eq!(host.record("thing", "1").await, json!({}));
        // The children's own actions run: those of variants, which puppet follows.
        let made = json!([{"create": ["note", {"id": "from-child"}, {"internal": true}]}]);
        play(&host, &json!([
            {"create": ["shopify/product", {"id": "1"}, {"internal": true}], "or-fail": true},
            {"converge": ["shopify/product", "1", "variants", [{"id": "v", "script": made}]], "or-fail": true},
        ]))
        .await;
        assert!(host.stored("note", "from-child").await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_unique_value_is_had_once() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        play(&host, &json!([
            {"create": ["badge", {"id": "1", "code": "A", "holder": "x"}], "or-fail": true},
            {"upsert": ["badge", ["code"], {"code": "A", "holder": "y"}], "or-fail": true},
            {"find-by": ["badge", {"code": "A"}, {"select": {"id": true, "holder": true}}], "expect": {"id": "1", "holder": "y"}},
            {"upsert": ["badge", ["code"], {"code": "B", "holder": "x"}], "or-fail": true},
            {"upsert": ["badge", ["code"], {"holder": "x"}], "expect": {"error": "invalid-argument"}},
        ]))
        .await;
        let script = json!([{"create": ["note", {"id": "lost"}, {"internal": true}]},
            {"create": ["badge", {"id": "2", "code": "A", "holder": "z"}], "or-fail": true}]);
        let work = json!({"work": {"action": {"action": "play", "params": {"script": script}}}});
        host.enqueue(&shop(), NewJob::new(JobKind::Action, Some(parsed(&work.to_string())))).await;
        host.drain().await;
        let (why, error) = host.parked().await;
        assert_eq!((why.as_str(), &error["code"]), (reason::PERMANENT_ERROR, &json!("not-unique")));
        assert_eq!(error["message"], "another record has the same `code` of `badge`");
        assert_eq!(host.record("note", "lost").await, Value::Null);
        host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        // The value of a delivery may be free when the other record's delivery comes.
        let models = MODELS.replace(r#"{"name": "title", "type": "string"},
        {"name": "price""#, r#"{"name": "title", "type": "string", "unique": true},
        {"name": "price""#);
        assert_ne!(models, MODELS);
        host.install(APP, &models, Vec::new()).await;
        for id in [1, 2] {
            host.deliver("products/create", &json!({"id": id, "title": "Hat"})).await;
        }
        let ends = host.drain().await;
        assert!(matches!(ends[..], [Ended::Done(_), Ended::Again { .. }]), "{ends:?}");
        host.deliver("products/update", &json!({"id": 1, "title": "Cap"})).await;
        host.drain().await;
        host.move_to(host.now_ms() + 1_000);
        host.drain().await;
        assert_eq!(host.record("shopify/product", "2").await["title"], "Hat");
    })
    .await;
}

#[tokio::test]
async fn a_unit_of_work_is_bounded() {
    on_both(async |place| {
        // The bound of a call comes before that of a unit, unless actions are inside one another.
        let host = TestHost::bare(&place).await;
        let wide = Limits { writes_max: 2 * UNIT_WRITES_MAX as u64, ..limits() };
        let puppet = install(runtime(), "puppet").await.unwrap().with_limits(wide);
        host.install(APP, MODELS, vec![("puppet", puppet.unwrap().into())]).await;
        let things = |from: usize, count: usize| -> Vec<_> { (from..from + count).map(|id| json!({"id": id.to_string()})).collect() };
        let script = json!([
            {"bulk-create": ["thing", things(0, UNIT_WRITES_MAX - 1), {"internal": true, "select": {"id": true}}], "or-fail": true},
            {"bulk-create": ["thing", things(UNIT_WRITES_MAX, 2), {"internal": true}], "expect": {"error": "invalid-argument"}},
            {"create": ["thing", {"id": "last"}, {"internal": true}], "or-fail": true},
            {"count": ["thing", null]},
        ]);
        let answers = play(&host, &script).await;
        assert_eq!(answers[3], json!(UNIT_WRITES_MAX));
        let answers = play(&host, &json!([{"count": ["thing", null]}])).await;
        assert_eq!(answers, json!([UNIT_WRITES_MAX]));
    })
    .await;
}

/// Each element of a bulk upsert finds what the elements before it have written, moved away and taken back.
#[tokio::test]
async fn a_bulk_upsert_finds_its_own_records_by_their_keys() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let options = json!({"internal": true, "select": {"id": true, "code": true}});
        let answers = play(
            &host,
            &json!([
                {"create": ["badge", {"id": "b", "code": "two", "holder": "x"}, options]},
                {"bulk-upsert": ["badge", ["code"], [
                    {"id": "a", "code": "one", "holder": "x"}, {"code": "one", "holder": "y"},
                    {"code": "two", "holder": "y"}], options]},
                {"update": ["badge", "b", {"code": "three"}, options]},
                {"delete": ["badge", "a", options]},
                {"bulk-upsert": ["badge", ["code"], [
                    {"id": "c", "code": "one", "holder": "z"}, {"id": "d", "code": "two", "holder": "z"},
                    {"code": "three", "holder": "z"}], options]},
                {"count": ["badge", {"filter": {"holder": {"equals": "z"}}}]},
            ]),
        )
        .await;
        let badge = |id: &str, code: &str| json!({"id": id, "code": code});
        assert_eq!(answers[1], json!([badge("a", "one"), badge("a", "one"), badge("b", "two")]));
        assert_eq!(answers[4], json!([badge("c", "one"), badge("d", "two"), badge("b", "three")]));
        assert_eq!(answers[5], 3);
        // The same of what is stored.
        let stored = json!([{"bulk-upsert": ["badge", ["code"], [{"code": "three", "holder": "y"}], options]}]);
        assert_eq!(play(&host, &stored).await[0], json!([badge("b", "three")]));
    })
    .await;
}
