//! Records: exact documents, and no write on top of what somebody else wrote meanwhile.

use tradewind_model::{RecordKey, Shop};
use tradewind_store::{CommitError, KEY_BYTES_MAX, Store, Unit, Write};
use tradewind_tests::stores::{
    Build as _, NOW_MS, action, commit, commit_together, jobs, json, on_both, other_shop, product, record, shop, unit,
    version,
};

async fn is_conflict(store: &Store, unit: Unit, key: &RecordKey) {
    let expected = CommitError::Conflict { shop: unit.shop.clone(), key: key.clone() };
    assert_eq!(store.commit(unit).await, Err(expected));
}

#[tokio::test]
async fn a_record_is_written_read_and_deleted() {
    on_both(async |place| {
        let store = place.open().await;
        let key = product("1");
        assert_eq!(record(&store, &key).await, None);
        let first = commit(&store, unit().insert(&key, r#"{"title":"Hat"}"#)).await.versions[0];
        let stored = record(&store, &key).await.unwrap();
        assert_eq!((stored.version, stored.doc.as_str()), (first, r#"{"title":"Hat"}"#));
        assert_eq!((stored.created_ms, stored.updated_ms), (NOW_MS, NOW_MS));
        assert_eq!(stored.platform_updated_us, Some(NOW_MS * 1_000));

        let later = Unit { now_ms: NOW_MS + 5, ..unit() };
        let second = commit(&store, later.update(&key, first, r#"{"title":"Cap"}"#)).await.versions[0];
        assert!(second > first);
        let stored = record(&store, &key).await.unwrap();
        assert_eq!((stored.version, stored.doc.as_str()), (second, r#"{"title":"Cap"}"#));
        assert_eq!((stored.created_ms, stored.updated_ms, stored.platform_updated_us), (NOW_MS, NOW_MS + 5, None));

        commit(&store, unit().delete(&key, second)).await;
        assert_eq!(record(&store, &key).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_record_belongs_to_its_shop_and_model() {
    on_both(async |place| {
        let store = place.open().await;
        let model = |name: &str| RecordKey::new(name, "1");
        let other = other_shop(0);
        commit(&store, unit().insert(&model("a"), "1").insert(&model("b"), "2")).await;
        commit(&store, unit().of(&other).insert(&model("a"), "3")).await;
        let keys = [model("b"), model("a"), model("c"), model("b")];
        let docs = async |shop: Shop| {
            let records = store.records(&shop, &keys).await.unwrap();
            records.into_iter().map(|stored| stored.map(|stored| stored.doc.as_str().to_owned())).collect::<Vec<_>>()
        };
        let texts = |texts: [Option<&str>; 4]| texts.map(|text| text.map(str::to_owned)).to_vec();
        assert_eq!(docs(shop()).await, texts([Some("2"), Some("1"), None, Some("2")]));
        assert_eq!(docs(other).await, texts([None, Some("3"), None, None]));
    })
    .await;
}

#[tokio::test]
async fn documents_come_back_to_the_letter() {
    on_both(async |place| {
        let store = place.open().await;
        let large = format!(r#"{{"text":"{}"}}"#, "0123456789abcdef".repeat(8 << 16));
        let docs = [
            r#"{"id":9223372036854775807,"min":-9223372036854775808,"more":18446744073709551615}"#,
            r#"{"b":1,"a":2,"b":3}"#,
            r#"{"n":[1.0,1.00,1e0,-0,1E+2,0.1e-400]}"#,
            r#"{"text":"\" \\ \/ \u00e9 é \ud83d\ude00 😀 \u0000 \ud800"}"#,
            r#"{ "space" : [ 1 , 2 ] }"#,
            "{}",
            &large,
        ];
        for (at, doc) in docs.iter().enumerate() {
            let key = product(&format!("é \" ' \\ % _ 😀 {at}"));
            commit(&store, unit().insert(&key, doc)).await;
            let stored = record(&store, &key).await.unwrap();
            assert!(stored.doc.as_str() == *doc, "{} became {}", &doc[..doc.len().min(99)], &stored.doc.as_str()[..99]);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_on_an_old_version_is_refused() {
    on_both(async |place| {
        let store = place.open().await;
        let (key, absent, fresh) = (product("1"), product("2"), product("3"));
        let old = commit(&store, unit().insert(&key, "1")).await.versions[0];
        let new = commit(&store, unit().update(&key, old, "2")).await.versions[0];

        is_conflict(&store, unit().update(&key, old, "3"), &key).await;
        is_conflict(&store, unit().delete(&key, old), &key).await;
        is_conflict(&store, unit().insert(&key, "3"), &key).await;
        is_conflict(&store, unit().update(&absent, new, "3"), &absent).await;
        is_conflict(&store, unit().delete(&absent, new), &absent).await;

        // What was only read counts as well, as soon as there is an effect.
        is_conflict(&store, unit().read(&key, Some(old)).insert(&fresh, "1"), &key).await;
        is_conflict(&store, unit().read(&key, None).job(action()), &key).await;
        is_conflict(&store, unit().read(&key, Some(old)).cancel("some"), &key).await;
        is_conflict(&store, unit().read(&absent, Some(old)).job(action()), &absent).await;
        commit(&store, unit().read(&key, Some(old))).await;
        commit(&store, unit().read(&key, Some(new)).read(&absent, None).job(action())).await;
        assert_eq!(jobs(&store).await.len(), 1);
        assert_eq!(record(&store, &fresh).await, None);
        assert_eq!(record(&store, &key).await.unwrap().doc.as_str(), "2");

        // Whoever writes what it read is held to the version that it writes.
        commit(&store, unit().read(&key, Some(new)).update(&key, new, "4")).await;
    })
    .await;
}

#[tokio::test]
async fn a_record_that_was_made_anew_is_another_one() {
    on_both(async |place| {
        let store = place.open().await;
        let key = product("1");
        let first = commit(&store, unit().insert(&key, "1")).await.versions[0];
        commit(&store, unit().delete(&key, first)).await;
        commit(&store, unit().insert(&key, "1")).await;
        is_conflict(&store, unit().update(&key, first, "2"), &key).await;
        is_conflict(&store, unit().read(&key, Some(first)).job(action()), &key).await;
        assert_ne!(version(&store, &key).await, first);
    })
    .await;
}

#[tokio::test]
async fn a_record_that_a_unit_made_and_deleted_must_not_be_there() {
    on_both(async |place| {
        let store = place.open().await;
        let (key, fresh) = (product("1"), product("2"));
        let nothing = |unit: Unit, key: &RecordKey| {
            let mut unit = unit;
            unit.writes.push(Write {
                before: None,
                key: key.clone(),
                expected: None,
                doc: None,
                platform_updated_us: None,
            });
            unit
        };
        let committed = commit(&store, nothing(unit().job(action()), &key)).await;
        assert_eq!(committed.versions.len(), 1);
        assert_eq!(record(&store, &key).await, None);
        commit(&store, unit().insert(&key, "1")).await;
        is_conflict(&store, nothing(unit().insert(&fresh, "1"), &key), &key).await;
        assert_eq!(record(&store, &key).await.unwrap().doc.as_str(), "1");
    })
    .await;
}

/// Two that read what the other writes: one of them was decided on what is no more.
#[tokio::test]
async fn units_of_one_batch_see_each_other() {
    on_both(async |place| {
        let store = place.open().await;
        let (left, right) = (product("left"), product("right"));
        let versions = commit(&store, unit().insert(&left, "1").insert(&right, "1")).await.versions;
        let crossed = vec![
            unit().read(&left, Some(versions[0])).update(&right, versions[1], "2"),
            unit().read(&right, Some(versions[1])).update(&left, versions[0], "2"),
        ];
        let answers = commit_together(&store, crossed).await;
        assert!(answers[0].is_ok(), "{answers:?}");
        assert_eq!(answers[1], Err(CommitError::Conflict { shop: shop(), key: right.clone() }));

        let fresh = product("fresh");
        let answers = commit_together(
            &store,
            vec![
                unit().insert(&fresh, "1"),
                unit().insert(&fresh, "2"),
                unit().read(&fresh, None).job(action()),
                unit().of(&other_shop(0)).insert(&fresh, "3"),
            ],
        )
        .await;
        let conflict = Err(CommitError::Conflict { shop: shop(), key: fresh.clone() });
        assert!(answers[0].is_ok() && answers[3].is_ok(), "{answers:?}");
        assert_eq!(answers[1..3], [conflict.clone(), conflict]);
        assert_eq!(record(&store, &fresh).await.unwrap().doc.as_str(), "1");
    })
    .await;
}

/// SQLite would keep some of these: what one database refuses, the store refuses on both.
#[tokio::test]
async fn values_that_cannot_be_kept_are_refused() {
    on_both(async |place| {
        let store = place.open().await;
        let deep = |depth: usize| json(&["[".repeat(depth), "]".repeat(depth)].concat());
        let long = |bytes: usize| product(&"x".repeat(bytes));
        let refused = [
            ("a zero character in an id", unit().insert(&product("a\0b"), "1")),
            ("in what was looked for", unit().read(&product("a\0b"), None)),
            ("in a lane", unit().job(tradewind_store::NewJob { lane: Some("\0".to_owned()), ..action() })),
            ("in what is to be taken back", unit().cancel("\0")),
            ("a key that no index holds", unit().insert(&long(KEY_BYTES_MAX + 1), "1")),
            ("a document that nothing reads", unit().insert(&product("1"), deep(129).as_str())),
            ("a rank that there is not", unit().job(tradewind_store::NewJob { rank: 3, ..action() })),
            (
                "a rank within a lane",
                unit().job(tradewind_store::NewJob { rank: 0, lane: Some("a".to_owned()), ..action() }),
            ),
            (
                "a lane and a queue",
                unit().job(tradewind_store::NewJob {
                    lane: Some("a".to_owned()),
                    queue: Some(("sync".to_owned(), 1)),
                    ..action()
                }),
            ),
            ("any deeper", unit().insert(&product("1"), deep(100_000).as_str())),
        ];
        for (case, unit) in refused {
            let answer = store.commit(unit).await;
            assert!(matches!(answer, Err(CommitError::Refused { .. })), "{case}: {answer:?}");
        }
        assert_eq!(record(&store, &product("a\0b")).await, None);
        let impossible = store.records(&shop(), &[product("\0")]).await.unwrap();
        assert_eq!(impossible, [None]);
        commit(&store, unit().insert(&long(KEY_BYTES_MAX), deep(128).as_str())).await;
        commit(&store, unit().insert(&product("\u{1}\u{7f}"), r#""\u0000""#)).await;
    })
    .await;
}
