//! Background work: what a plugin enqueues is there when its unit is, and runs as its options say.

use serde_json::{Value, json};
use tradewind_host::pipeline::{Ended, reason};
use tradewind_model::retry::RetryPolicy;
use tradewind_store::{Fence, Job, JobKind, JobState, NewJob};
use tradewind_tests::host::{TestHost, value};
use tradewind_tests::stores::{NOW_MS, on_both, shop};

/// Has a product play a script.
async fn play(host: &TestHost, script: Value) -> i64 {
    let number = host.store.deliveries(&tradewind_store::DeliveryFilter::default(), 1_000).await.unwrap().len();
    host.deliver("products/create", &json!({"id": format!("player-{number}"), "script": script})).await
}

async fn called(host: &TestHost, id: &str) -> Option<Job> {
    host.store.job_by_id(&shop(), id).await.unwrap()
}

#[tokio::test]
async fn options_are_stored_as_they_are_given() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let options = json!({"id": "full", "queue": {"name": "sync", "maxConcurrency": 4}, "priority": "low",
            "startAt": "2026-05-28T21:26:40Z", "retries": {"retryCount": 2, "initialIntervalMs": 50}});
        let script = json!([
            {"enqueue": ["play", {"script": []}, options]},
            {"enqueue": ["play", null, {"id": "plain"}]},
            {"enqueue": ["play", null, {"id": "one-at-a-time", "queue": "sync", "priority": "high"}]},
            {"enqueue": ["thing.perform", {"id": "7"}, {"id": "on-record"}]},
            {"enqueue": ["thing.perform", {"id": "7"}, {"id": "on-record-first", "priority": "high"}]},
            {"enqueue": ["thing.perform", {"id": "7"}, {"id": "on-record-in-queue", "queue": "sync"}]},
            {"enqueue": ["play", null, {"prio": 1}]},
            {"enqueue": ["play", null]},
            {"enqueue-call": [{"platform": "shopify", "graphql": {"query": "{ shop { name } }"}}, {"id": "call"}]},
        ]);
        let seq = play(&host, script).await;
        let job = host.next().await.unwrap();
        host.run(&job).await;
        let full = called(&host, "full").await.unwrap();
        assert_eq!((full.queue, full.rank, full.state), (Some(("sync".to_owned(), 4)), 2, JobState::Delayed));
        assert_eq!((full.run_at_ms, full.depth, full.attempts), (NOW_MS + 3_600_000, 0, 0));
        let policy = RetryPolicy::parse(&full.policy.unwrap(), &RetryPolicy::DELIVERY).unwrap();
        assert_eq!(policy, RetryPolicy { retry_count: 2, initial_interval_ms: 50, ..RetryPolicy::JOB });
        let plain = called(&host, "plain").await.unwrap();
        assert_eq!((plain.queue, plain.rank, plain.state, plain.lane), (None, 1, JobState::Queued, None));
        let queued = called(&host, "one-at-a-time").await.unwrap();
        assert_eq!((queued.queue, queued.rank), (Some(("sync".to_owned(), 1)), 0));
        // Jobs of one action on one record keep their order, unless another one is asked for.
        assert_eq!(called(&host, "on-record").await.unwrap().lane.as_deref(), Some("thing.perform 7"));
        let first = called(&host, "on-record-first").await.unwrap();
        assert_eq!((first.lane, first.rank), (None, 0));
        let queued = called(&host, "on-record-in-queue").await.unwrap();
        assert_eq!((queued.lane, queued.queue), (None, Some(("sync".to_owned(), 1))), "a queue is another order");
        assert_eq!(called(&host, "call").await.unwrap().kind, JobKind::Call);
        let answers = host.result_of(seq, "follow").await;
        assert_eq!(answers[6], json!({"error": "invalid-argument"}));
        assert_eq!(answers[7].as_str().unwrap().len(), 27);
        host.leave_jobs();
    })
    .await;
}

#[tokio::test]
async fn an_id_is_taken_until_its_job_is_finished() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let script = json!([
            {"enqueue": ["play", {"script": [{"log": "first"}]}, {"id": "once"}], "expect": "once"},
            {"enqueue": ["play", {"script": [{"log": "second"}]}, {"id": "once"}], "expect": {"error": "not-unique"}},
            {"enqueue": ["play", {"script": [{"log": "third"}]}, {"id": "once", "onDuplicateId": "ignore"}], "expect": "once"},
            {"status": "once", "expect": {"id": "once", "state": "queued", "attempts": 0, "result": null, "error": null}},
            {"cancel": "once", "expect": true},
            {"status": "once", "expect": {"error": "not-found"}},
            {"enqueue": ["play", {"script": [{"log": "fourth"}]}, {"id": "once", "startAt": "2026-05-28T21:13:20Z"}]},
        ]);
        play(&host, script).await;
        host.drain().await;
        assert_eq!(host.logged(), [""; 0]);
        // The same against what is stored.
        let script = json!([
            {"status": "once", "expect": {"id": "once", "state": "delayed", "attempts": 0, "result": null, "error": null}},
            {"enqueue": ["play", null, {"id": "once"}], "expect": {"error": "not-unique"}},
            {"enqueue": ["play", null, {"id": "once", "onDuplicateId": "ignore"}], "expect": "once"},
            {"cancel": "once", "expect": true},
            {"cancel": "once", "expect": false},
            {"status": "once", "expect": {"error": "not-found"}},
            {"enqueue": ["play", {"script": [{"log": "fifth"},
                {"enqueue": ["play", {"script": [{"log": "sixth"}]}, {"id": "once", "startAt": "2026-05-28T21:13:20Z"}], "or-fail": true},
                {"cancel": "nothing", "expect": false}]}, {"id": "once"}], "expect": "once"},
        ]);
        play(&host, script).await;
        host.drain().await;
        assert!(host.jobs().await.iter().all(|job| job.state == JobState::Delayed), "{:?}", host.jobs().await);
        assert_eq!(host.logged(), ["fifth"]);
        host.move_to(NOW_MS + 3_600_000);
        host.drain().await;
        assert_eq!(host.logged(), ["fifth", "sixth"]);
        play(&host, json!([{"status": "once", "expect":
            {"id": "once", "state": "done", "attempts": 1, "result": [null], "error": null}}])).await;
        host.drain().await;
        assert!(host.jobs().await.is_empty(), "{:?}", host.jobs().await);
    })
    .await;
}

#[tokio::test]
async fn a_job_is_retried_and_parked_and_its_status_says_so() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let fails = json!([{"about": true}, {"create": ["note", {"id": "never"}, {"internal": true}]},
            {"fail": {"code": "not-yet", "retryable": true}}]);
        let retries = json!({"retryCount": 1, "initialIntervalMs": 100, "randomizeInterval": false});
        play(&host, json!([{"enqueue": ["play", {"script": fails}, {"id": "a", "retries": retries}]}])).await;
        host.drain().await;
        let job = called(&host, "a").await.unwrap();
        assert_eq!((job.attempts, job.run_at_ms, job.state), (1, NOW_MS + 100, JobState::Delayed));
        play(
            &host,
            json!([{"status": "a", "expect": {"id": "a", "state": "delayed", "attempts": 1, "result": null,
            "error": {"code": "not-yet", "message": "as told", "retryable": true}}},
            {"cancel": "a", "expect": false}]),
        )
        .await;
        host.drain().await;
        host.move_to(NOW_MS + 100);
        host.drain().await;
        let (why, error) = host.parked().await;
        assert_eq!((why.as_str(), &error["code"]), (reason::RETRIES_EXHAUSTED, &json!("not-yet")));
        play(&host, json!([{"status": "a"}])).await;
        host.drain().await;
        assert_eq!(host.record("note", "never").await, Value::Null);
        let logged = host.store.invocations_of_job(&shop(), "a", 10).await.unwrap();
        let shown: Vec<_> = logged.iter().rev().map(|entry| (entry.outcome.as_str(), entry.attempt)).collect();
        assert_eq!(shown, [("returned", 1), ("retried", 1), ("returned", 2), ("parked", 2)]);
    })
    .await;
}

#[tokio::test]
async fn a_job_goes_on_from_its_checkpoint() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        // The first attempt writes, makes a checkpoint, and dies; the second finds what it left.
        let script = json!([
            {"unless-checkpoint": [
                {"create": ["note", {"id": "before"}, {"internal": true}]},
                {"enqueue": ["play", {"script": [{"log": "job of the checkpoint"}]}, {"id": "early"}]},
                {"checkpoint": {"page": 9_007_199_254_740_993_u64}},
                {"create": ["note", {"id": "after"}, {"internal": true}]},
                {"trap": true}]},
            {"checkpoint-state": true},
            {"update": ["note", "before", {"again": true}, {"internal": true}], "or-fail": true},
        ]);
        play(
            &host,
            json!([{"enqueue": ["play", {"script": script}, {"id": "long", "retries": {"initialIntervalMs": 1}}]}]),
        )
        .await;
        host.drain().await;
        assert_ne!(host.record("note", "before").await, Value::Null);
        assert_eq!(host.record("note", "after").await, Value::Null);
        assert_eq!(host.logged(), ["job of the checkpoint"]);
        host.move_to(NOW_MS + 10);
        host.drain().await;
        assert_eq!(host.record("note", "before").await, json!({"again": true}));
        let logged = host.store.invocations_of_job(&shop(), "long", 1).await.unwrap();
        let result = value(logged[0].detail.as_ref().unwrap());
        assert_eq!((&result[0], &result[1]), (&Value::Null, &json!({"page": 9_007_199_254_740_993_u64})));
        assert!(host.jobs().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_keeps_the_record_that_the_action_is_about() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        host.deliver("products/create", &json!({"id": "1", "title": "Hat"})).await;
        host.drain().await;
        let script = json!([{"set": {"a": 1}}, {"checkpoint": 1, "or-fail": true}, {"set": {"b": 2}}, {"save": true},
            {"checkpoint": 2, "or-fail": true}, {"set": {"c": 3}}, {"checkpoint": 3, "or-fail": true}]);
        perform(&host, &script).await;
        let ends = host.drain().await;
        assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?}");
        let record = host.record("shopify/product", "1").await;
        assert_eq!(
            (&record["title"], &record["a"], &record["b"], &record["c"]),
            (&json!("Hat"), &json!(1), &json!(2), &json!(3))
        );
        // An attempt that dies after it: the next one has the record as it was saved, and ends the work.
        let script = json!([
            {"unless-checkpoint": [{"set": {"d": 4}}, {"save": true}, {"checkpoint": 4, "or-fail": true}, {"trap": true}]},
            {"get": "d", "expect": 4}, {"set": {"e": 5}}]);
        perform(&host, &script).await;
        host.drain().await;
        host.move_to(host.now_ms() + 1_000);
        host.drain().await;
        let record = host.record("shopify/product", "1").await;
        assert_eq!((&record["d"], &record["e"]), (&json!(4), &json!(5)));
        assert!(host.jobs().await.is_empty(), "{:?}", host.jobs().await);
    })
    .await;
}

/// Enqueues an action on the product 1 as somebody outside does.
async fn perform(host: &TestHost, script: &Value) {
    let action = json!({"action": "shopify/product.perform", "params": {"id": "1", "script": script}});
    let payload = tradewind_tests::stores::json(&json!({"work": {"action": action}}).to_string());
    host.enqueue(&shop(), NewJob::new(JobKind::Action, Some(payload))).await;
}

#[tokio::test]
async fn a_delivery_makes_no_checkpoint() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        // Were the record committed, the next attempt would find nothing new in the delivery.
        let script = json!([{"set": {"a": 1}}, {"save": true}, {"checkpoint": 1, "expect": {"error": "not-available"}},
            {"find": ["note", "allowed", {"select": {"id": true}}]}, {"unset": "a"}, {"trap": true}]);
        let body = json!({"id": "1", "first": script, "updated_at": "2024-05-01T10:00:00Z"});
        let seq = host.deliver("products/create", &body).await;
        let ends = host.drain().await;
        assert!(matches!(ends[..], [Ended::Again { attempts: 1, .. }]), "{ends:?}");
        assert_eq!(host.record("shopify/product", "1").await, Value::Null);
        host.move_to(NOW_MS + 1_000);
        host.drain().await;
        let log = host.log_of(seq).await;
        assert_eq!(log, ["puppet/first run trap", "retried", "puppet/first run trap", "retried"]);
        // Neither does a job that does what every model can.
        let create = json!({"id": "2", "script": [{"checkpoint": 1, "expect": {"error": "not-available"}}]});
        let work =
            json!([{"enqueue": ["shopify/product.create", {"values": create}, {"id": "create"}], "or-fail": true}]);
        play(&host, work).await;
        host.drain().await;
        assert!(host.stored("shopify/product", "2").await.is_some(), "{:?}", host.jobs().await);
        host.leave_jobs();
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_kept_does_not_keep_a_job_from_its_end() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        // A result is as deep as its steps and the value in the innermost one together: deeper than the log keeps JSON.
        let inner = (0..100).fold(json!(1), |inner, _| json!([inner]));
        let script = (0..40).fold(json!([{"get": "deep"}]), |inner, _| json!([{"unless-checkpoint": inner}]));
        let seq = host.deliver("products/create", &json!({"id": "1", "deep": inner, "script": script})).await;
        let ends = host.drain().await;
        assert!(matches!(&ends[..], [Ended::Parked { reason: why, .. }] if why == reason::PERMANENT_ERROR), "{ends:?}");
        let (_, error) = host.parked().await;
        assert_eq!(error["code"], "validation-failed");
        assert!(error["message"].as_str().unwrap().contains("nested deeper"), "{error}");
        // What ran is told, without what it returned.
        let entries = host.entries_of(seq).await;
        assert_eq!(host.log_of(seq).await, ["puppet/follow run ok", "parked"]);
        assert!(entries.iter().all(|entry| entry.detail.is_none()), "{entries:?}");
        host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();

        // An error's details: it is retried as it says, without them.
        let details = ["[".repeat(200), "]".repeat(200)].concat();
        for (retryable, end) in [(true, "retried"), (false, "parked")] {
            let fail = json!([{"fail": {"code": "mine", "retryable": retryable, "details": details}}]);
            let seq = host.deliver("products/create", &json!({"id": "2", "script": fail})).await;
            host.drain().await;
            assert_eq!(host.log_of(seq).await, ["puppet/follow run returned", end]);
            let jobs = host.jobs().await;
            let [job] = &jobs[..] else { panic!("not one job: {jobs:?}") };
            assert_eq!((job.attempts, job.state == JobState::Parked), (1, !retryable));
            assert_eq!(job.run_at_ms > NOW_MS, retryable);
            let error = job.error.as_ref().map(value).unwrap();
            assert_eq!(error, json!({"code": "mine", "message": "as told", "retryable": retryable}));
            host.store.park_jobs(&tradewind_store::JobFilter::default(), "test", NOW_MS).await.unwrap();
            host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_lost_lease_and_a_job_that_was_taken_back_write_nothing() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let script = json!([{"create": ["note", {"id": "1"}, {"internal": true}]}]);
        play(&host, json!([{"enqueue": ["play", {"script": script}, {"id": "job"}]}])).await;
        let delivery = host.next().await.unwrap();
        host.run(&delivery).await;
        let job = called(&host, "job").await.unwrap();
        let stale = Fence { part: job.shop.partition(), epoch: -1 };
        assert!(matches!(host.pipeline.run(&job, stale).await, Ended::Fenced));
        play(&host, json!([{"cancel": "job", "expect": true}])).await;
        while let Some(other) = host.next().await {
            if other.id.is_none() {
                host.run(&other).await;
            } else {
                // It was chosen before it was taken back.
                break;
            }
        }
        if called(&host, "job").await.is_some() {
            let other = host.jobs().await.into_iter().find(|job| job.kind == JobKind::Delivery).unwrap();
            host.run(&other).await;
        }
        assert!(matches!(host.run(&job).await, Ended::Gone));
        assert_eq!(host.record("note", "1").await, Value::Null);
        host.drain().await;
    })
    .await;
}

#[tokio::test]
async fn actions_run_by_name() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let script = json!([
            {"create": ["thing", {"id": "1", "colour": "blue"}]},
            {"run-action": ["thing.perform", {"id": "1", "script": [{"set": {"colour": "red"}}, {"about": true}]}]},
            {"run-action": ["thing.perform", {"id": 1, "script": [{"get": "colour"}]}], "expect": ["red"]},
            {"run-action": ["thing.perform", {"id": "9"}], "expect": {"error": "not-found"}},
            {"run-action": ["thing.perform", {}], "expect": {"error": "invalid-argument"}},
            {"run-action": ["thing.perform", {"id": "1", "other": 1}], "expect": {"error": "invalid-argument"}},
            {"run-action": ["thing.dance", {"id": "1"}], "expect": {"error": "not-found"}},
            {"run-action": ["dance", null], "expect": {"error": "not-found"}},
            {"run-action": ["play", {"scripts": 1}], "expect": {"error": "invalid-argument"}},
            {"run-action": ["thing.update", {"id": "1", "values": {"size": 3}, "options": {"select": {"size": true}}}]},
            {"run-action": ["thing.update", {"id": "1"}], "expect": {"error": "invalid-argument"}},
            {"run-action": ["thing.bulk-delete", {"ids": ["1"]}], "expect": null},
            // A failure inside takes back what was done inside.
            {"run-action": ["play", {"script": [{"create": ["thing", {"id": "inner"}]}, {"fail": {"code": "inside"}}]}],
                "expect": {"error": "inside"}},
            {"run-action": ["play", {"script": [{"create": ["thing", {"id": "trapped"}]}, {"trap": true}]}],
                "expect": {"error": "internal"}},
            {"find": ["thing", "inner"], "expect": null},
            {"create": ["thing", {"id": "outer"}]},
        ]);
        let seq = play(&host, script).await;
        host.drain().await;
        let answers = host.result_of(seq, "follow").await;
        let about = &answers[1][1];
        assert_eq!(about["trigger"], json!({"kind": "action", "plugin": "puppet", "action": "follow"}));
        assert_eq!((&about["verb"], &about["payload"]), (&json!("perform"), &Value::Null));
        assert_eq!(about["params"].get("id"), None);
        assert_eq!(answers[9], json!({"size": 3}));
        let things = [("1", false), ("inner", false), ("trapped", false), ("outer", true)];
        for (id, there) in things {
            assert_eq!(host.stored("thing", id).await.is_some(), there, "{id}");
        }
        assert!(host.jobs().await.is_empty(), "{:?}", host.jobs().await);
    })
    .await;
}

#[tokio::test]
async fn actions_inside_one_another_end() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        // Each update of the thing runs the script of the thing, which updates the thing.
        let again = json!([{"update": ["thing", "1", {"size": 1}], "or-fail": true}]);
        let seq = play(&host, json!([{"create": ["thing", {"id": "1", "script": again}], "or-fail": true}])).await;
        host.drain().await;
        let (_, error) = host.parked().await;
        // A record that is not written yet is not there to be updated by its own creation.
        assert_eq!(error["code"], "not-found", "{error}");
        host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        let script = json!([{"create": ["thing", {"id": "1", "script": again}, {"internal": true}]},
            {"update": ["thing", "1", {"size": 2}], "expect": {"error": "invalid-argument"}}]);
        let other = play(&host, script).await;
        host.drain().await;
        let runs = host.log_of(other).await;
        assert_eq!(runs.iter().filter(|line| line.contains(" run ")).count(), 8, "{runs:?}");
        assert_eq!(host.record("thing", "1").await.get("size"), None);
        assert_ne!(seq, other);
    })
    .await;
}
