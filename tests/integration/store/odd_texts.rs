//! Texts and numbers that one of the databases would refuse, or take for something else.

use tradewind_model::query::{Query, Reach};
use tradewind_model::schema::Model;
use tradewind_model::{RecordKey, Shop};
use tradewind_store::{CommitError, How, NewInvocation, NewJob, Store, StoreError};
use tradewind_tests::postgres::shared;
use tradewind_tests::stores::{
    Build as _, Place, action, action_called, commit, delivery, enqueue, job, json, on_both, product, record, shop,
    unit,
};

/// JSON that a strict reader stumbles over: halves of surrogate pairs, NUL, numbers that nothing holds, doubled members, depth.
fn odd_json() -> Vec<String> {
    vec![
        r#"{"a":"\ud800"}"#.to_owned(),
        r#"{"a":"\udc00\ud800"}"#.to_owned(),
        r#"{"a\u0000":"\u0000"}"#.to_owned(),
        r#"{"a":1e999999999999}"#.to_owned(),
        r#"{"a":-0.0e-99999999999999999999}"#.to_owned(),
        format!(r#"{{"a":{}}}"#, "9".repeat(100_000)),
        r#"{"a":1,"a":2}"#.to_owned(),
        format!("{}1{}", "[".repeat(128), "]".repeat(128)),
        format!(r#"{{"{}":1}}"#, "k".repeat(1 << 20)),
        "\"\u{ffff}\u{10ffff}\"".to_owned(),
    ]
}

#[tokio::test]
async fn odd_json_is_kept_as_it_is() {
    on_both(async |place| {
        let store = place.open().await;
        for (at, text) in odd_json().into_iter().enumerate() {
            let odd = json(&text);
            let what = || format!("{} on {:?}", &text[..text.len().min(50)], place.engine());
            let seq =
                enqueue(&store, NewJob { payload: Some(odd.clone()), policy: Some(odd.clone()), ..action() }).await;
            commit(&store, unit().finish(seq, How::Checkpoint { state: odd.clone() })).await;
            let again = How::Again { attempts: 1, run_at_ms: 0, error: Some(odd.clone()) };
            commit(&store, unit().finish(seq, again)).await;
            let kept = job(&store, seq).await;
            for member in [kept.payload, kept.policy, kept.checkpoint, kept.error] {
                assert_eq!(member.as_ref(), Some(&odd), "{}", what());
            }
            let key = RecordKey::new("~note", at.to_string());
            commit(&store, unit().insert(&key, &text)).await;
            assert_eq!(record(&store, &key).await.unwrap().doc, odd, "{}", what());
            let entry = NewInvocation { detail: Some(odd.clone()), job_id: Some(at.to_string()), ..invocation() };
            commit(&store, tradewind_store::Unit { log: vec![entry], ..unit() }).await;
            let logged = store.invocations_of_job(&shop(), &at.to_string(), 1).await.unwrap();
            assert_eq!(logged[0].detail.as_ref(), Some(&odd), "{}", what());
        }
    })
    .await;
}

fn invocation() -> NewInvocation {
    NewInvocation {
        delivery_seq: None,
        job_seq: None,
        job_id: None,
        plugin: None,
        version: None,
        action: None,
        phase: None,
        outcome: "done".to_owned(),
        detail: None,
        attempt: 1,
        duration_us: 1,
    }
}

/// A text with NUL is in no database, so nothing is found by it, and nothing fails.
#[tokio::test]
async fn nothing_is_found_by_nul() {
    on_both(async |place| {
        let store = place.open().await;
        enqueue(&store, action_called("a")).await;
        let odd = "a\0";
        assert_eq!(store.job_by_id(&shop(), odd).await.unwrap(), None);
        assert_eq!(store.invocations_of_job(&shop(), odd, 1).await.unwrap(), []);
        assert_eq!(store.record(&shop(), &product(odd)).await.unwrap(), None);
        assert_eq!(store.record(&shop(), &RecordKey::new(odd, "1")).await.unwrap(), None);
        let text = r#"{"name":"shopify/product","fields":[{"name":"title","type":"string","unique":true}]}"#;
        let model: Model = serde_json::from_str(text).unwrap();
        commit(&store, unit().insert(&product("1"), r#"{"title":"a"}"#)).await;
        for filter in ["equals", "notEquals", "startsWith", "contains", "lessThan"] {
            for field in ["title", "id"] {
                let query = json(&format!(r#"{{"filter":{{"{field}":{{"{filter}":"a\u0000\ud800"}}}}}}"#));
                let query = Query::parse(&model, &query, Reach::App).unwrap();
                let count = store.search_count(&shop(), &model, &query, &[odd.to_owned()]).await.unwrap();
                assert_eq!(count, u64::from(filter == "notEquals" || filter == "lessThan"), "{field} {filter}");
                store.search(&shop(), &model, &query, 0).await.unwrap();
            }
        }
        let refused = |answer: Result<_, CommitError>| assert!(matches!(answer, Err(CommitError::Refused { .. })));
        refused(store.commit(unit().insert(&product(odd), "1")).await);
        refused(store.commit(unit().delivery(delivery(odd, b""))).await);
        refused(store.commit(unit().job(action_called(odd))).await);
        refused(store.commit(unit().cancel(odd)).await);
        refused(store.commit(unit().of(&Shop::new("app", odd)).job(action())).await);
        assert_eq!(store.commits_waiting(), 0);
    })
    .await;
}

/// Order and equality are those of bytes, in any language.
#[tokio::test]
async fn a_collation_changes_no_key() {
    let options = "template template0 encoding 'UTF8' locale_provider icu icu_locale 'de-u-kn-ks-level1'";
    let collated = Place::Postgres(shared().database_with("collated_keys", options).unwrap());
    for place in [Place::sqlite(), collated] {
        let store = place.open().await;
        let ids = ["a10", "a2", "A2", "\u{e4}", "a\u{308}", "z", "\u{ff41}"];
        for id in ids {
            commit(&store, unit().insert(&product(id), "{}").job(action_called(id)).delivery(delivery(id, b""))).await;
            let shop = Shop::new("tagger", format!("{id}.example"));
            commit(&store, unit().of(&shop).job(action())).await;
        }
        for id in ids {
            assert!(record(&store, &product(id)).await.is_some());
            assert_eq!(store.job_by_id(&shop(), id).await.unwrap().unwrap().id.as_deref(), Some(id));
            let again = store.commit(unit().job(action_called(id))).await;
            assert_eq!(again, Err(CommitError::DuplicateJob { id: id.to_owned() }));
        }
        let mut expected = ids.to_vec();
        expected.sort_unstable();
        let model: Model = serde_json::from_str(r#"{"name":"shopify/product"}"#).unwrap();
        let all = Query::parse(&model, &json("{}"), Reach::App).unwrap();
        let found = store.search(&shop(), &model, &all, 0).await.unwrap();
        assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected, "{:?}", place.engine());
        let mut waiting = 0;
        for part in 0..64 {
            waiting += store.waiting_shops(part).await.unwrap().len();
        }
        assert_eq!(waiting, ids.len() + 1, "{:?}", place.engine());
    }
}

#[tokio::test]
async fn a_database_that_lacks_characters_is_refused() {
    let latin = "template template0 encoding 'LATIN1' locale 'C'";
    let place = Place::Postgres(shared().database_with("latin", latin).unwrap());
    for refused in [Store::migrate(&place.location()).await.map(drop), Store::open(&place.location()).await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, StoreError::Encoding { encoding } if encoding == "LATIN1"), "{error:?}");
        assert!(error.to_string().contains("hint: "), "{error}");
    }
}
