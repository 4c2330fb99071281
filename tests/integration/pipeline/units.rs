//! One unit of work: everything that the plugins of a change write is there, or nothing is.

use serde_json::{Value, json};
use tradewind_host::pipeline::{Ended, NOT_INSTALLED_AFTER_MS, NOT_INSTALLED_PARK_AFTER_MS, reason};
use tradewind_model::Json;
use tradewind_runtime::Limits;
use tradewind_store::{JobState, NewJob};
use tradewind_tests::host::{APP, MODELS, TestHost};
use tradewind_tests::stores::{NOW_MS, Place, json as parsed, on_both, shop};
use tradewind_tests::{install, limits, runtime};

async fn puppet(place: &Place) -> TestHost {
    TestHost::new(place, &["puppet"]).await
}

/// Delivers a product whose fields are scripts.
async fn play(host: &TestHost, fields: Value) -> i64 {
    let mut body = json!({"id": "1", "title": "Hat"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    host.deliver("products/update", &body).await
}

#[tokio::test]
async fn plugins_see_what_those_before_them_did() {
    on_both(async |place| {
        let host = puppet(&place).await;
        let seq = play(
            &host,
            json!({
                "last": [{"get": "title"}, {"find": ["shopify/product", "1", {"select": {"title": true}}]},
                    {"find": ["note", "made"]}, {"set": {"order": "first, script, last"}}],
                "script": [{"get": "title"}, {"is-new": true}, {"find": ["note", "made", {"select": {"by": true}}]},
                    {"set": {"title": "from script", "order": "first, script"}}],
                "first": [{"set": {"title": "from first", "order": "first"}},
                    {"create": ["note", {"id": "made", "by": "first"}, {"internal": true}]}],
            }),
        )
        .await;
        host.drain().await;
        let record = host.record("shopify/product", "1").await;
        assert_eq!((&record["title"], &record["order"]), (&json!("from script"), &json!("first, script, last")));
        let script = host.result_of(seq, "follow").await;
        let expected = json!(["from first", true, {"by": "first"}, null]);
        assert_eq!(script, expected);
        let last = host.result_of(seq, "last").await;
        assert_eq!((&last[0], &last[1]), (&json!("from script"), &json!({"title": "from script"})));
        assert_eq!(last[2]["by"], "first");
        let log = host.log_of(seq).await;
        assert_eq!(log[..4], ["puppet/first run ok", "puppet/follow run ok", "puppet/last run ok", "ran"]);
        // What was not of interest is told.
        let seq = play(&host, json!({"title": "Cap", "script": null})).await;
        host.drain().await;
        assert_eq!(host.log_of(seq).await[..2], ["puppet/follow run ok", "ran"]);
        let entry = host.entries_of(seq).await.into_iter().find(|entry| entry.outcome == "ran").unwrap();
        let detail: Value = entry.detail.unwrap().to().unwrap();
        let skipped = json!({"skipped": "puppet/first", "record": "shopify/product 1", "unchanged": ["first"]});
        assert_eq!(detail["remarks"][0], skipped);
    })
    .await;
}

#[tokio::test]
async fn a_failed_run_leaves_nothing_and_is_tried_again() {
    on_both(async |place| {
        for end in [json!({"fail": {"code": "mine", "retryable": true}}), json!({"trap": true})] {
            let host = puppet(&place).await;
            let before = host.jobs().await.len();
            assert_eq!(before, 0, "{end}");
            let seq = play(
                &host,
                json!({"first": [{"create": ["note", {"id": "by-first"}, {"internal": true}]}, {"enqueue": ["play", null]}],
                    "script": [{"set": {"x": 1}}, {"save": true}, {"create": ["note", {"id": "1"}, {"internal": true}]},
                        {"enqueue": ["play", null, {"id": "once"}]}, end]}),
            )
            .await;
            let ends = host.drain().await;
            let [Ended::Again { run_at_ms, attempts: 1, .. }] = ends[..] else { panic!("{ends:?}") };
            // Half of a second to a second, by chance.
            assert!((NOW_MS + 500..=NOW_MS + 1_000).contains(&run_at_ms), "{run_at_ms}");
            assert_eq!(host.record("shopify/product", "1").await, Value::Null);
            assert_eq!(host.record("note", "1").await, Value::Null);
            assert_eq!(host.record("note", "by-first").await, Value::Null);
            assert_eq!(host.log_of(seq).await.last().unwrap(), "retried");
            let mut last_ms = NOW_MS;
            let mut intervals = Vec::new();
            loop {
                let [job] = &host.jobs().await[..] else { panic!("not one job") };
                if job.state == JobState::Parked {
                    break;
                }
                intervals.push(job.run_at_ms - last_ms);
                last_ms = job.run_at_ms;
                host.move_to(last_ms);
                host.drain().await;
            }
            // Sixteen retries, up to six hours apart.
            assert_eq!(intervals.len(), 16);
            assert!(intervals.windows(2).take(9).all(|pair| pair[0] < pair[1] * 2), "{intervals:?}");
            assert!(intervals.iter().all(|interval| *interval <= 6 * 60 * 60 * 1_000), "{intervals:?}");
            let (why, error) = host.parked().await;
            assert_eq!(why, reason::RETRIES_EXHAUSTED);
            assert_eq!(error["code"], if end.get("trap").is_some() { "trap" } else { "mine" });
            assert_eq!(host.jobs().await[0].attempts, 17);
            host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn an_endless_run_is_ended_and_tried_again() {
    on_both(async |place| {
        let host = TestHost::bare(&place).await;
        let puppet = install(runtime(), "puppet").await.unwrap().with_limits(Limits { cpu_ms_max: 50, ..limits() });
        host.install(APP, MODELS, vec![("puppet", puppet.unwrap().into())]).await;
        play(&host, json!({"script": [{"create": ["note", {"id": "1"}, {"internal": true}]}, {"spin": true}]})).await;
        let ends = host.drain().await;
        assert!(matches!(ends[..], [Ended::Again { attempts: 1, .. }]), "{ends:?}");
        assert_eq!(host.record("note", "1").await, Value::Null);
        let error: Value = host.jobs().await[0].error.as_ref().unwrap().to().unwrap();
        assert_eq!(error["code"], "limit");
    })
    .await;
}

#[tokio::test]
async fn an_error_that_is_for_ever_parks_at_once() {
    on_both(async |place| {
        let host = puppet(&place).await;
        let seq = play(&host, json!({"script": [{"fail": {"code": "never"}}]})).await;
        let ends = host.drain().await;
        assert!(matches!(&ends[..], [Ended::Parked { reason: why, .. }] if why == reason::PERMANENT_ERROR), "{ends:?}");
        let (_, error) = host.parked().await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!("never"), &json!(false)));
        assert_eq!(host.log_of(seq).await, ["puppet/follow run returned", "parked"]);
        assert_eq!(host.record("shopify/product", "1").await, Value::Null);
        // Deliveries behind a parked one go on.
        play(&host, json!({"title": "Cap"})).await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await["title"], "Cap");
    })
    .await;
}

#[tokio::test]
async fn the_mirror_moves_on_without_an_action_that_keeps_the_record() {
    on_both(async |place| {
        let host = puppet(&place).await;
        let seq = play(
            &host,
            json!({
                "first": [{"set": {"by": "first"}}, {"create": ["note", {"id": "by-first"}, {"internal": true}]}],
                "firstAfter": [{"log": "first succeeded"}],
                "keep": [{"about": true}, {"set": {"kept": "set"}}, {"save": true}, {"create": ["note", {"id": "by-keep"}, {"internal": true}]},
                    {"find": ["note", "allowed"], "or-fail": true}, {"run-action": ["play", {"script":
                        [{"find": ["note", "allowed", {"select": {"id": true}}], "expect": {"id": "allowed"}}]}], "or-fail": true}],
                "last": [{"get": "kept"}, {"get": "by"}],
                "updated_at": "2024-05-01T10:00:00Z",
            }),
        )
        .await;
        host.drain().await;
        // What the failed action wrote is gone, what the others wrote is there.
        let record = host.record("shopify/product", "1").await;
        assert_eq!((record.get("kept"), &record["by"], &record["title"]), (None, &json!("first"), &json!("Hat")));
        assert_ne!(host.record("note", "by-first").await, Value::Null);
        assert_eq!(host.record("note", "by-keep").await, Value::Null);
        assert_eq!(host.result_of(seq, "last").await, json!([null, "first"]));
        assert_eq!(host.logged(), ["first succeeded"]);
        // Its own part was tried again in a job of its own, and failed there for good.
        let (why, _) = host.parked().await;
        assert_eq!(why, reason::PERMANENT_ERROR);

        // Meanwhile the record moves on; then the action is allowed to.
        host.deliver("products/update", &json!({"id": 1, "title": "Cap", "updated_at": "2024-05-01T11:00:00Z"})).await;
        let allow = json!({"id": 2, "script": [{"create": ["note", {"id": "allowed"}, {"internal": true}]}]});
        host.deliver("products/create", &allow).await;
        host.drain().await;
        host.retry().await;
        host.drain().await;
        let record = host.record("shopify/product", "1").await;
        assert_eq!((&record["kept"], &record["title"]), (&json!("set"), &json!("Cap")));
        assert_ne!(host.record("note", "by-keep").await, Value::Null);
        assert!(host.jobs().await.is_empty());
        let entries = host.entries_of(seq).await;
        let about = |entry: &&tradewind_store::LoggedInvocation| {
            entry.action.as_deref() == Some("keep") && entry.outcome == "ok" && entry.phase.as_deref() == Some("run")
        };
        let late = entries.iter().find(about).unwrap().detail.as_ref().unwrap();
        let late: Value = late.to().unwrap();
        assert_eq!(late[0]["attempt"], 2);
        assert_eq!(late[0]["trigger"]["kind"], "webhook");
        assert_eq!(late[0]["payload"]["id"], "1");
        assert_eq!(late[0]["key"], format!("delivery:{seq}:puppet:keep:shopify/product/1:run"));
    })
    .await;
}

#[tokio::test]
async fn a_deletion_moves_on_without_an_action_that_keeps_the_record() {
    on_both(async |place| {
        let host = puppet(&place).await;
        play(&host, json!({"keepDeleted": [{"create": ["note", {"id": "made"}, {"internal": true}]}, {"fail": {"code": "no"}}]})).await;
        host.drain().await;
        host.deliver("products/delete", &json!({"id": "1"})).await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await, Value::Null);
        assert_eq!(host.record("note", "made").await, Value::Null);
        assert_eq!(host.parked().await.0, reason::PERMANENT_ERROR);
    })
    .await;
}

#[tokio::test]
async fn manual_save_keeps_what_was_saved() {
    on_both(async |place| {
        let host = puppet(&place).await;
        let note = |id: &str, script: Value| json!([{"create": ["note", {"id": id, "script": script}]}]);
        let saved = note("saved", json!([{"set": {"a": 1}}, {"save": true}, {"set": {"b": 2}}]));
        play(&host, json!({"script": saved, "first": note("unsaved", json!([{"set": {"a": 1}}]))})).await;
        host.drain().await;
        let stored = host.record("note", "saved").await;
        assert_eq!((&stored["a"], stored.get("b")), (&json!(1), None));
        assert_eq!(host.record("note", "unsaved").await, Value::Null);
    })
    .await;
}

#[tokio::test]
async fn an_action_may_write_its_own_record_by_other_ways() {
    on_both(async |place| {
        let host = puppet(&place).await;
        // A nested write and the handle's own change of another field are both kept.
        let script = json!([{"update": ["shopify/product", "1", {"tags": ["nested"]}, {"internal": true}]}, {"set": {"own": 1}}]);
        play(&host, json!({"title": "Hat"})).await;
        host.drain().await;
        play(&host, json!({"script": script})).await;
        host.drain().await;
        let record = host.record("shopify/product", "1").await;
        assert_eq!((&record["tags"], &record["own"]), (&json!(["nested"]), &json!(1)));
        // What is reverted after it was saved is reverted in the unit, too.
        play(&host, json!({"script": [{"set": {"own": 2, "more": true}}, {"save": true}, {"revert": true}]})).await;
        host.drain().await;
        let record = host.record("shopify/product", "1").await;
        assert_eq!((&record["own"], record.get("more")), (&json!(1), None));
        // `flush` moves only the plugin's own baseline.
        play(&host, json!({"script": [{"set": {"own": 3}}, {"flush": true}], "last": [{"changed": true}]})).await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await["own"], 3);
        // Unset and set to what is no value of the type.
        let seq = play(&host, json!({"script": [{"unset": "own"}, {"set": {"stock": "many"}}]})).await;
        host.drain().await;
        assert_eq!(host.parked().await.1["code"], "validation-failed");
        assert_eq!(host.log_of(seq).await.last().unwrap(), "parked");
        assert_eq!(host.record("shopify/product", "1").await["own"], 3);
    })
    .await;
}

#[tokio::test]
async fn a_record_that_its_own_action_deletes_is_gone() {
    on_both(async |place| {
        let host = puppet(&place).await;
        play(&host, json!({})).await;
        host.drain().await;
        let script = json!([{"delete": ["shopify/product", "1", {"internal": true}]}, {"set": {"own": 1}}]);
        let seq = play(&host, json!({"script": script, "last": [{"get": "title"}]})).await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await, Value::Null);
        assert!(!host.log_of(seq).await.contains(&"puppet/last run ok".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_touched_record_gets_a_new_version() {
    on_both(async |place| {
        let host = puppet(&place).await;
        let script = json!([{"touch": true}]);
        for _ in 0..2 {
            play(&host, json!({"script": script})).await;
            host.drain().await;
        }
        let first = host.stored("shopify/product", "1").await.unwrap();
        play(&host, json!({"script": script})).await;
        host.drain().await;
        let second = host.stored("shopify/product", "1").await.unwrap();
        assert_eq!(second.doc.as_str(), first.doc.as_str());
        assert!(second.version > first.version);
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_parks_until_it_is_there() {
    on_both(async |place| {
        let host = TestHost::bare(&place).await;
        let seq = play(&host, json!({})).await;
        let created_ms = host.now_ms();
        // Hosts start one after another, so it waits at first, and waiting is no attempt.
        for _ in 0..2 {
            let run_at_ms = host.now_ms() + NOT_INSTALLED_AFTER_MS;
            let ends = host.drain().await;
            assert!(
                matches!(ends[..], [Ended::Again { attempts: 0, run_at_ms: at, .. }] if at == run_at_ms),
                "{ends:?}"
            );
            let error: Value = host.jobs().await[0].error.as_ref().unwrap().to().unwrap();
            assert_eq!((&error["code"], &error["retryable"]), (&json!(reason::NOT_INSTALLED), &json!(true)));
            host.move_to(run_at_ms);
        }
        assert_eq!(host.log_of(seq).await, [""; 0]);
        host.move_to(created_ms + NOT_INSTALLED_PARK_AFTER_MS);
        host.drain().await;
        assert_eq!(host.parked().await.0, reason::NOT_INSTALLED);
        let puppet = tradewind_tests::installed("puppet").await.unwrap();
        host.install(APP, MODELS, vec![("puppet", puppet)]).await;
        host.retry().await;
        let job = host.next().await.unwrap();
        host.run(&job).await;
        assert_eq!(host.record("shopify/product", "1").await["title"], "Hat");
        // Between the change and its `success` the plugin is taken away.
        host.install(APP, MODELS, Vec::new()).await;
        host.drain().await;
        host.move_to(host.now_ms() + NOT_INSTALLED_PARK_AFTER_MS);
        host.drain().await;
        let (why, error) = host.parked().await;
        assert_eq!(why, reason::NOT_INSTALLED);
        assert!(error["message"].as_str().unwrap().contains("`puppet` has no action `follow`"), "{error}");
        let puppet = tradewind_tests::installed("puppet").await.unwrap();
        host.install(APP, MODELS, vec![("puppet", puppet)]).await;
        host.retry().await;
        host.drain().await;
        assert!(host.jobs().await.is_empty());

        host.deliver_to(&shop(), "products/update", b"{}", |new| new.platform = "bigcommerce".into()).await;
        let ends = host.drain().await;
        assert!(matches!(ends[..], [Ended::Again { attempts: 0, .. }]), "{ends:?}");
        host.move_to(host.now_ms() + NOT_INSTALLED_PARK_AFTER_MS);
        host.drain().await;
        assert_eq!(host.parked().await.0, reason::NOT_INSTALLED);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_parks() {
    on_both(async |place| {
        let host = puppet(&place).await;
        let check = async |expected: &str| {
            host.drain().await;
            let (why, error) = host.parked().await;
            assert_eq!(why, expected, "{error}");
            host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        };
        for body in [&b"{\"id\":"[..], b"\xff", b"{\"title\":\"no id\"}"] {
            host.deliver_to(&shop(), "products/update", body, |_| ()).await;
            check(reason::UNREADABLE).await;
        }
        host.deliver_to(&shop(), "products/update", b"{}", |new| {
            new.body = tradewind_tests::stores::body(b"\x05\0\0\0x");
        })
        .await;
        check(reason::UNREADABLE).await;
        host.deliver_to(&shop(), "products/update", b"{\"id\":1}", |new| new.depth = 11).await;
        check(reason::CAUSAL_DEPTH).await;
        let action = |payload: Option<Json>| NewJob::new(tradewind_store::JobKind::Action, payload);
        for payload in [None, Some(parsed("{}")), Some(parsed("[]")), Some(parsed(r#"{"work":{"dance":1}}"#))] {
            host.enqueue(&shop(), action(payload)).await;
            check(reason::DAMAGED).await;
        }
        // Deliveries that are read together with a damaged one are read all the same.
        let damaged = |new: &mut tradewind_store::NewDelivery| new.body = tradewind_tests::stores::body(b"\x05\0\0\0x");
        let bad = host.deliver_to(&shop(), "products/update", b"{}", damaged).await;
        let good = host.deliver("products/update", &json!({"id": 1})).await;
        let read = tradewind_tests::stores::together([bad, good, bad].map(|seq| host.store.delivery(seq))).await;
        assert_eq!(read.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await, json!({}));
        host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        // A topic and a model that nobody mirrors are no trouble.
        for topic in ["unknown/create", "unknown/delete", "orders/create"] {
            let seq = host.deliver(topic, &json!({"id": 1})).await;
            host.drain().await;
            assert_eq!(host.log_of(seq).await, ["skipped"]);
        }
        assert!(host.jobs().await.is_empty());
    })
    .await;
}

/// An app that is configured and cannot be installed is mended by a person, which takes longer than a deployment.
#[tokio::test]
async fn jobs_of_an_app_that_is_expected_wait_however_old_they_are() {
    on_both(async |place| {
        let host = TestHost::bare(&place).await;
        host.pipeline.expect(APP);
        play(&host, json!({})).await;
        host.move_to(host.now_ms() + 2 * NOT_INSTALLED_PARK_AFTER_MS);
        let ends = host.drain().await;
        assert!(matches!(ends[..], [Ended::Again { attempts: 0, .. }]), "{ends:?}");
        let puppet = tradewind_tests::installed("puppet").await.unwrap();
        host.install(APP, MODELS, vec![("puppet", puppet)]).await;
        host.move_to(host.now_ms() + NOT_INSTALLED_AFTER_MS);
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await["title"], "Hat");
        assert!(host.jobs().await.is_empty());
    })
    .await;
}
