//! Quotas as plugins meet them: a plugin that enqueues itself fills its shop's share, and comes to an end.

use serde_json::{Value, json};
use tradewind_host::pipeline::{Ended, reason};
use tradewind_model::Shop;
use tradewind_store::{JobFilter, JobKind, JobState, NewJob, Quota, Quotas, Usage};
use tradewind_tests::host::{TestHost, value};
use tradewind_tests::stores::{NOW_MS, json as parsed, on_both, other_shop, shop};

/// A job that plays a script.
fn job(script: &Value) -> NewJob {
    let work = json!({"work": {"action": {"action": "play", "params": {"script": script}}}});
    NewJob { id: Some("root".to_owned()), ..NewJob::new(JobKind::Action, Some(parsed(&work.to_string()))) }
}

/// What the plugin of the job `root` was answered.
async fn answered(host: &TestHost, of: &Shop) -> Value {
    let logged = host.store.invocations_of_job(of, "root", 1).await.unwrap();
    logged[0].detail.as_ref().map_or(Value::Null, value)
}

async fn kept(host: &TestHost, of: &Shop) -> Usage {
    let counted = host.store.count_usage(of).await.unwrap();
    assert_eq!(counted.drift, Usage::default());
    counted.counted
}

#[tokio::test]
async fn a_plugin_that_enqueues_itself_ends_at_the_quota_and_the_shop_works_again() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        host.store.set_quotas(Quotas {
            shop_jobs_waiting_max: 300,
            shop_jobs_per_minute_max: 1_000,
            job_chain_max: 4,
            ..Quotas::default()
        });
        host.enqueue(&shop(), job(&json!([{"enqueue-itself": 999}]))).await;
        let mut largest = 0;
        for _ in 0..30 {
            let Some(next) = host.next().await else { break };
            host.run(&next).await;
            largest = largest.max(kept(&host, &shop()).await.jobs);
        }
        assert!((290..=300).contains(&largest), "{largest}");
        // Another shop's jobs are made and run meanwhile.
        let victim = other_shop(1);
        let seq = host.enqueue(&victim, job(&json!([{"enqueue": ["play", null], "or-fail": true}]))).await;
        let victims = host.store.job(seq).await.unwrap().unwrap();
        assert!(matches!(host.run(&victims).await, Ended::Done(made) if made.len() == 2), "a job and `success`");
        // What a platform reports is kept and processed.
        let delivered = host.deliver("products/create", &json!({"id": "1", "title": "Hat", "script": []})).await;
        let jobs = host.store.jobs_of_delivery(delivered, 10).await.unwrap();
        assert!(matches!(host.run(&jobs[0]).await, Ended::Done(made) if !made.is_empty()));
        assert_eq!(host.record("shopify/product", "1").await["title"], "Hat");
        // Chains end, minutes are bounded: everything is done in the end, with nothing left behind.
        let ends = host.drain().await;
        assert!(ends.len() < 5_000 && ends.iter().all(|end| matches!(end, Ended::Done(_))), "{}", ends.len());
        for of in [shop(), victim] {
            assert_eq!(kept(&host, &of).await.jobs, 0);
        }
        host.move_to(NOW_MS + 60_000);
        host.enqueue(&shop(), job(&json!([{"enqueue": ["play", {"script": [{"log": "again"}]}], "or-fail": true}])))
            .await;
        host.drain().await;
        assert_eq!(host.logged(), ["again"]);
        let refused: Vec<_> = host.store.quota_refusals().into_iter().map(|(_, quota, _)| quota).collect();
        assert!(refused.contains(&Quota::JobsWaiting), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_call_that_finds_no_room_says_so_at_once() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        host.store.set_quotas(Quotas {
            shop_jobs_waiting_max: 3,
            shop_records_max: 2,
            shop_record_bytes_max: 100,
            ..Quotas::default()
        });
        let script = json!([
            {"enqueue": ["play", null, {"id": "a"}], "expect": "a"},
            {"enqueue": ["play", null, {"id": "b"}], "expect": "b"},
            {"enqueue": ["play", null, {"id": "c"}], "expect": {"error": "quota-exceeded"}},
            {"cancel": "b", "expect": true},
            {"enqueue": ["play", null, {"id": "e"}], "expect": "e"},
            {"create": ["note", {"id": "1"}, {"internal": true}], "or-fail": true},
            {"create": ["note", {"id": "2", "text": "x".repeat(200)}, {"internal": true}], "expect": {"error": "quota-exceeded"}},
            {"bulk-create": ["note", [{"id": "2"}, {"id": "3"}], {"internal": true}], "expect": {"error": "quota-exceeded"}},
            {"create": ["note", {"id": "2"}, {"internal": true}], "or-fail": true},
            {"create": ["note", {"id": "3"}, {"internal": true}], "expect": {"error": "quota-exceeded"}},
            {"delete": ["note", "1"], "or-fail": true},
            {"create": ["note", {"id": "3"}, {"internal": true}], "or-fail": true},
        ]);
        host.enqueue(&shop(), job(&script)).await;
        let root = host.next().await.unwrap();
        let ended = host.run(&root).await;
        assert!(matches!(ended, Ended::Done(_)), "{ended:?}: {}", answered(&host, &shop()).await);
        let mut ids: Vec<_> = host.jobs().await.into_iter().filter_map(|job| job.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "e"]);
        assert_eq!(host.record("note", "2").await, json!({}));
        assert_eq!(kept(&host, &shop()).await.records, 2);
        host.leave_jobs();
    })
    .await;
}

#[tokio::test]
async fn a_chain_of_jobs_ends() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        host.store.set_quotas(Quotas { job_chain_max: 3, ..Quotas::default() });
        let body = json!({"id": "1", "script": [
            {"enqueue": ["play", {"script": [{"log": "1"}, {"enqueue": ["play", {"script": [{"log": "2"},
                {"enqueue": ["play", {"script": [{"log": "3"},
                    {"enqueue": ["play", {"script": [{"log": "4"}]}], "or-fail": true}]}, {"id": "third"}]}]}]}]}]}]});
        host.deliver("products/create", &body).await;
        let mut chains = Vec::new();
        while let Some(job) = host.next().await {
            if job.kind == JobKind::Action {
                chains.push(job.chain);
            }
            host.run(&job).await;
        }
        assert_eq!((host.logged(), chains), (vec!["1".to_owned(), "2".to_owned(), "3".to_owned()], vec![1, 2, 3]));
        let parked: Vec<_> = host.jobs().await.into_iter().filter(|job| job.state == JobState::Parked).collect();
        assert_eq!((parked.len(), parked[0].id.as_deref()), (1, Some("third")), "it is permanent");
        assert_eq!(
            value(parked[0].error.as_ref().unwrap()),
            json!({
                "code": "quota-exceeded",
                "message": "3 jobs that enqueued one another led here, at most 3 may (`job_chain_max`); hint: use \
                            `checkpoint` to go on within one job",
                "details": {"limit": "job_chain_max", "max": 3, "used": 3},
                "retryable": false,
            })
        );
    })
    .await;
}

#[tokio::test]
async fn a_mirror_that_is_full_retries_and_then_parks_with_its_reason() {
    on_both(async |place| {
        let host = TestHost::new(&place, &[]).await;
        host.store.set_quotas(Quotas { shop_records_max: 1, ..Quotas::default() });
        host.deliver("products/create", &json!({"id": "1", "title": "Hat"})).await;
        host.drain().await;
        host.deliver("products/create", &json!({"id": "2", "title": "Cap"})).await;
        let job = host.next().await.unwrap();
        assert!(matches!(host.run(&job).await, Ended::Again { attempts: 1, .. }));
        let mut ended = None;
        while let Some(job) = host.store.list_jobs(&JobFilter::default(), i64::MIN, 1).await.unwrap().pop() {
            if job.state == JobState::Parked {
                break;
            }
            host.move_to(job.run_at_ms);
            ended = Some(host.run(&job).await);
        }
        assert!(matches!(ended, Some(Ended::Parked { .. })), "{ended:?}");
        let (why, error) = host.parked().await;
        assert_eq!((why.as_str(), &error["code"]), (reason::QUOTA_EXCEEDED, &json!("quota-exceeded")));
        assert_eq!(error["details"], json!({"limit": "shop_records_max", "max": 1, "used": 1}));
        // What is there is still kept up to date, and room lets the other in.
        host.deliver("products/update", &json!({"id": "1", "title": "Top hat"})).await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "1").await["title"], "Top hat");
        host.store.set_quotas(Quotas::default());
        host.retry().await;
        host.drain().await;
        assert_eq!(host.record("shopify/product", "2").await["title"], "Cap");
    })
    .await;
}
