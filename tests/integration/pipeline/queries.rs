//! A plugin's query that reaches a limit is the plugin's own error: it is told so, its attempts count, and nobody else
//! notices.

use serde_json::{Value, json};
use tradewind_host::pipeline::{Ended, reason};
use tradewind_model::RecordKey;
use tradewind_store::QUERY_RESULT_BYTES_MAX;
use tradewind_tests::host::TestHost;
use tradewind_tests::stores::{Build as _, commit, on_both, unit};

/// Stores notes that are together more than one query may read.
async fn fill(host: &TestHost) {
    let document = format!(r#"{{"text":"{}"}}"#, "x".repeat(8 << 20));
    for id in 0..=QUERY_RESULT_BYTES_MAX / document.len() {
        commit(&host.store, unit().insert(&RecordKey::new("note", id.to_string()), &document)).await;
    }
}

async fn play(host: &TestHost, steps: Value) -> i64 {
    host.deliver("products/update", &json!({"id": "1", "title": "Hat", "script": steps})).await
}

#[tokio::test]
async fn a_query_at_its_limit_is_an_error_of_the_plugin() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        fill(&host).await;
        let seq = play(
            &host,
            json!([
                {"find-many": ["note", {"first": 250}]},
                {"count": ["note", {}]},
                {"count": ["shopify/product", {"filter": {"title": {"contains": "x".repeat(1_025)}}}]},
                {"set": {"title": "gone on"}},
            ]),
        )
        .await;
        let ends = host.drain().await;
        assert!(ends.iter().all(|end| matches!(end, Ended::Done(_))), "{ends:?}");
        let answers = host.result_of(seq, "follow").await;
        let count = QUERY_RESULT_BYTES_MAX / (8 << 20);
        let refused = json!({"error": "invalid-argument"});
        assert_eq!((&answers[0], &answers[1], &answers[2]), (&refused, &json!(count), &refused), "{answers}");
        assert_eq!(host.record("shopify/product", "1").await["title"], "gone on");

        // A plugin that does not go on is parked for it, at its first attempt.
        play(&host, json!([{"find-many": ["note", {"first": 250}], "or-fail": true}])).await;
        host.drain().await;
        let (reason, error) = host.parked().await;
        assert_eq!(reason, reason::PERMANENT_ERROR);
        assert!(error["message"].as_str().unwrap().contains("`query_result_bytes_max`"), "{error}");
        assert_eq!(host.jobs().await[0].attempts, 1);
    })
    .await;
}

/// A bulk write of records that are together more than one call may read is refused, and takes no memory for it.
#[tokio::test]
async fn a_bulk_write_reads_no_more_than_a_query() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        fill(&host).await;
        let count = QUERY_RESULT_BYTES_MAX / (8 << 20);
        let ids: Vec<_> = (0..count).map(|id| id.to_string()).collect();
        let seq = play(&host, json!([{"bulk-delete": ["note", ids]}, {"bulk-delete": ["note", ids[..2]]}])).await;
        host.drain().await;
        let answers = host.result_of(seq, "follow").await;
        assert_eq!(answers, json!([{"error": "invalid-argument"}, null]), "{:?}", place.engine());
        assert_eq!(host.record("note", "0").await, Value::Null);
        assert!(host.stored("note", &ids[count - 1]).await.is_some());
    })
    .await;
}

/// No database has such an id, and PostgreSQL refuses the question: the store has not failed for it.
#[tokio::test]
async fn an_id_with_nul_is_nobody_s() {
    on_both(async |place| {
        let host = TestHost::new(&place, &["puppet"]).await;
        let odd = "a\0";
        let seq = play(
            &host,
            json!([
                {"status": odd},
                {"cancel": odd},
                {"find": ["note", odd]},
                {"find-by": ["badge", {"code": odd}]},
                {"count": ["note", {"filter": {"id": {"equals": odd}}}]},
                {"set": {"title": "gone on"}},
            ]),
        )
        .await;
        host.drain().await;
        let answers = host.result_of(seq, "follow").await;
        assert_eq!(answers, json!([{"error": "not-found"}, false, null, null, 0, null]), "{:?}", place.engine());
        assert_eq!(host.record("shopify/product", "1").await["title"], "gone on");
    })
    .await;
}
