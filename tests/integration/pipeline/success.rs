//! What happens after the commit: once at least, with the record as it was committed.

use serde_json::{Value, json};
use tradewind_host::pipeline::Ended;
use tradewind_store::{Job, JobKind, LoggedInvocation};
use tradewind_tests::host::{TestHost, value};
use tradewind_tests::stores::{NOW_MS, on_both, shop};

use crate::store::run_sql;

#[tokio::test]
async fn success_sees_what_was_committed() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        host.deliver("products/create", &json!({"id": "1", "title": "Hat", "gone": 1, "was": null})).await;
        host.drain().await;
        let after = json!([
            {"get": "title", "expect": "CAP"},
            {"get": "gone", "expect": null},
            {"previous": "title", "expect": "Hat"},
            {"previous": "was", "expect": null},
            {"changed": true, "expect": [["gone", "run"], ["title", "run"], ["was", "external"], ["script", "external"], ["scriptAfter", "external"]]},
            {"is-new": true, "expect": false},
            {"set": {"title": "too late"}, "expect": {"error": "wrong-phase"}},
            {"save": true, "expect": {"error": "wrong-phase"}},
            {"checkpoint": 1, "expect": {"error": "not-available"}},
            {"create": ["note", {"id": "after", "script": null}, {"internal": true}]},
        ]);
        let script = json!([{"set": {"title": "CAP"}}, {"unset": "gone"}]);
        let body = json!({"id": "1", "title": "Cap", "was": 1, "script": script, "scriptAfter": after});
        let seq = host.deliver("products/update", &body).await;
        let job = host.next().await.unwrap();
        let Ended::Done(made) = host.run(&job).await else { panic!("not done") };
        assert_eq!(made.iter().map(|(_, job)| job.kind).collect::<Vec<_>>(), [JobKind::Success]);
        assert!(made[0].0 > job.seq && made[0].1.rank == 1);
        assert_eq!(made[0].1.lane.as_deref(), Some("shopify/product 1 after puppet"));
        // Meanwhile the record changes again.
        host.deliver("products/update", &json!({"id": "1", "title": "Later", "script": null, "scriptAfter": null})).await;
        host.drain().await;
        assert_eq!(host.log_of(seq).await, ["puppet/follow run ok", "ran", "puppet/follow success ok"], "{:?}", host.jobs().await);
        assert!(host.stored("note", "after").await.is_some());
    })
    .await;
}

#[tokio::test]
async fn success_runs_again_after_a_crash_with_the_same_key() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        // The first time it fails after it has written, which is what a crash looks like from outside.
        let after = json!([
            {"log-about": true},
            {"upsert": ["thing", ["id"], {"id": "seen"}, {"internal": true}]},
            {"run-action": ["play", {"script": [{"about": true}]}]},
            {"enqueue": ["play", {"script": []}, {"id": "once", "onDuplicateId": "ignore"}]},
        ]);
        let script = json!([{"about": true}]);
        for id in ["1", "2"] {
            host.deliver("products/create", &json!({"id": id, "script": script, "scriptAfter": after})).await;
        }
        while let Some(job) = host.next().await.filter(|job| job.kind == JobKind::Delivery) {
            host.run(&job).await;
        }
        let job = host.next().await.unwrap();
        assert_eq!(job.kind, JobKind::Success);
        // It is done twice: by a host that loses its lease before it can say so, and by the next one.
        let partitions = host.store.partitions().await.unwrap();
        let partition = partitions.iter().find(|partition| partition.id == job.shop.partition()).unwrap();
        let old = tradewind_store::Fence { part: partition.id, epoch: partition.epoch };
        host.store.take_partition(partition, "next").await.unwrap().unwrap();
        assert!(matches!(host.pipeline.run(&job, old).await, Ended::Fenced));
        assert!(matches!(host.run(&job).await, Ended::Done(_)));
        let key_of = |line: &String| serde_json::from_str::<Value>(line).unwrap()["key"].clone();
        let attempts: Vec<_> = host.logged().iter().map(key_of).collect();
        let expected = format!("job:{}:puppet:follow:shopify/product/1:success", job.seq);
        assert_eq!(attempts, [expected.as_str(), &expected]);
        assert!(matches!(host.run(&job).await, Ended::Gone));
        host.drain().await;
        assert_ne!(host.logged().last().map(key_of), Some(json!(expected)));
        let deliveries = host.store.deliveries(&tradewind_store::DeliveryFilter::default(), 10).await.unwrap();
        let mut keys = Vec::new();
        for delivery in deliveries {
            keys.push(host.result_of(delivery.seq, "follow").await[0]["key"].clone());
        }
        assert_ne!(keys[0], keys[1]);
    })
    .await;
}

#[tokio::test]
async fn every_attempt_at_success_is_told_the_same_but_for_its_number() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let after = json!([{"log-about": true}, {"fail": {"code": "not-yet", "retryable": true}}]);
        let body = json!({"id": "1", "script": [{"get": "id"}], "scriptAfter": after});
        let seq = host.deliver("products/create", &body).await;
        host.drain().await;
        host.move_to(NOW_MS + 1_000);
        host.drain().await;
        let mut seen: Vec<Value> = host.logged().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let job = host.jobs().await.pop().unwrap();
        assert_eq!((job.kind, job.attempts, job.delivery_seq), (JobKind::Success, 2, Some(seq)));
        assert_eq!(seen[0]["key"], format!("job:{}:puppet:follow:shopify/product/1:success", job.seq));
        assert_eq!((&seen[0]["result"], &seen[0]["payload"]), (&json!([null]), &body));
        assert_eq!((&seen[0]["verb"], &seen[0]["trigger"]["topic"]), (&json!("create"), &json!("products/create")));
        for (at, seen) in seen.iter_mut().enumerate() {
            assert_eq!(seen["attempt"].take(), json!(at + 1));
        }
        assert_eq!(seen[0], seen[1]);
        host.leave_jobs();
    })
    .await;
}

/// They are committed whatever becomes of the attempt, and lie where nobody else would look at once.
#[tokio::test]
async fn an_attempt_that_fails_says_which_jobs_it_made() {
    on_both(async |place| {
        for retryable in [true, false] {
            let host = TestHost::new(&place, &["puppet"]).await;
            let id = format!("made-{retryable}");
            let after = json!([{"enqueue": ["play", null, {"id": id, "queue": "sync"}]},
                {"fail": {"code": "not-yet", "retryable": retryable}}]);
            host.deliver("products/create", &json!({"id": id, "scriptAfter": after})).await;
            let fresh = async |kind| {
                let is_fresh = |job: &Job| job.kind == kind && job.attempts == 0;
                host.jobs().await.into_iter().find(is_fresh).unwrap()
            };
            host.run(&fresh(JobKind::Delivery).await).await;
            let ended = host.run(&fresh(JobKind::Success).await).await;
            let (Ended::Again { ref made, .. } | Ended::Parked { ref made, .. }) = ended else { panic!("{ended:?}") };
            assert_eq!(matches!(ended, Ended::Again { .. }), retryable);
            let kept = host.store.job_by_id(&shop(), &id).await.unwrap().unwrap();
            let made: Vec<_> = made.iter().map(|(seq, job)| (*seq, job.partition(&shop()))).collect();
            assert_eq!(made, [(kept.seq, shop().partition_of_job(Some("sync")))]);
            host.leave_jobs();
        }
    })
    .await;
}

#[tokio::test]
async fn each_call_in_success_is_a_unit_of_its_own() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let after = json!([
            {"create": ["note", {"id": "kept"}, {"internal": true}]},
            // An action that fails takes back what it did, and nothing else.
            {"run-action": ["play", {"script": [{"create": ["note", {"id": "inner"}, {"internal": true}]}, {"fail": {"code": "no"}}]}],
                "expect": {"error": "no"}},
            {"run-action": ["play", {"script": [{"create": ["note", {"id": "nested"}, {"internal": true}]},
                {"checkpoint": 1, "expect": {"error": "not-available"}}]}]},
            {"find": ["note", "nested", {"select": {"id": true}}], "expect": {"id": "nested"}},
            {"enqueue": ["play", {"script": [{"create": ["note", {"id": "job"}, {"internal": true}]}]}, {"id": "job"}], "expect": "job"},
            {"enqueue": ["play", null, {"id": "job"}], "expect": {"error": "not-unique"}},
            {"enqueue": ["play", null, {"id": "taken-back"}]},
            {"cancel": "taken-back", "expect": true},
            {"cancel": "taken-back", "expect": false},
            {"fail": {"code": "at-last"}},
        ]);
        let seq = host.deliver("products/create", &json!({"id": "1", "scriptAfter": after})).await;
        host.drain().await;
        for (note, there) in [("kept", true), ("inner", false), ("nested", true), ("job", true)] {
            assert_eq!(host.stored("note", note).await.is_some(), there, "{note}");
        }
        let (_, error) = host.parked().await;
        assert_eq!(error["code"], "at-last", "{error}");
        // Its change stays.
        assert!(host.stored("shopify/product", "1").await.is_some());
        let log = host.log_of(seq).await;
        assert!(log.contains(&"puppet/follow success returned".to_owned()), "{log:?}");
    })
    .await;
}

#[tokio::test]
async fn every_success_of_a_unit_has_a_key_of_its_own() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let after =
            json!([{"run-action": ["thing.perform", {"id": "seen", "script": [{"about": true}]}]}, {"about": true}]);
        let things: Vec<_> = (0..3).map(|id| json!({"id": id.to_string(), "scriptAfter": after})).collect();
        host.deliver("products/create", &json!({"id": "1", "script": [{"bulk-create": ["thing", things]}]})).await;
        host.drain().await;
        let jobs = host.jobs().await;
        assert!(jobs.is_empty(), "{jobs:?}");
        let entries: Vec<LoggedInvocation> = host
            .entries_of(host.store.deliveries(&tradewind_store::DeliveryFilter::default(), 1).await.unwrap()[0].seq)
            .await;
        let successes = entries.iter().filter(|entry| entry.phase.as_deref() == Some("success"));
        let seqs: std::collections::HashSet<_> = successes.map(|entry| entry.job_seq).collect();
        assert_eq!(seqs.len(), 4);
        let nested = entries.iter().filter(|entry| entry.phase.as_deref() == Some("run")).count();
        assert_eq!(nested, 4);
        let runs: Vec<Value> = entries.iter().filter_map(|entry| entry.detail.as_ref().map(value)).collect();
        assert!(!runs.is_empty());
    })
    .await;
}

/// A webhook's body is read for a `success` that asks for it, and for no other. When it cannot be read, that is no fault of
/// the plugin's: the job waits for a person.
#[tokio::test]
async fn a_payload_is_read_for_whoever_asks() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let script = json!([{"about": true}]);
        let mut seqs = Vec::new();
        for (id, after) in [("1", script.clone()), ("2", json!([{"get": "title", "expect": null}]))] {
            let body = json!({"id": id, "script": script, "scriptAfter": after});
            seqs.push(host.deliver("products/create", &body).await);
        }
        while let Some(job) = host.next().await.filter(|job| job.kind == JobKind::Delivery) {
            host.run(&job).await;
        }
        run_sql(&place, "update deliveries set body = substr(body, 1, 3)").await;
        host.drain().await;
        let (reason, error) = host.parked().await;
        assert_eq!(reason, "unreadable", "{error}");
        assert!(error["message"].as_str().unwrap().contains("the body of delivery"), "{error}");
        assert_eq!(host.jobs().await.iter().map(|job| job.delivery_seq).collect::<Vec<_>>(), [Some(seqs[0])]);
        assert_eq!(host.log_of(seqs[1]).await.last().unwrap(), "puppet/follow success ok");
    })
    .await;
}
