//! Units that were decided on answers of queries: committed while the answers hold, refused when they do not.

use tradewind_model::query::{Query, Reach};
use tradewind_model::schema::Model;
use tradewind_model::{RecordKey, Shop};
use tradewind_store::{CommitError, Store, Unit, WATCH_QUERIES_MAX, Watch};
use tradewind_tests::stores::{Build as _, commit, commit_together, json, on_both, other_shop, shop, unit, version};

fn model() -> Model {
    json(r#"{"name":"thing","fields":[{"name":"colour","type":"string"}]}"#).to().unwrap()
}

fn thing(id: &str) -> RecordKey {
    RecordKey::new("thing", id)
}

/// A watch for a count of the blue ones.
fn counts(store: &Store, of: &Shop, scope: &str) -> Watch {
    let watch = store.watch(of);
    let text = format!(r#"{{"filter":{{"colour":{{"equals":"blue"}}}},"scope":"{scope}"}}"#);
    watch.add("thing", &Query::parse(&model(), &json(&text), Reach::App).unwrap(), true);
    watch
}

/// A unit that writes something else, decided on a watch.
fn decided_on(watch: &Watch, id: &str) -> Unit {
    Unit { queries: Some(watch.clone()), ..unit().insert(&RecordKey::new("note", id), "{}") }
}

#[tokio::test]
async fn a_unit_is_refused_when_an_answer_changed_before_it() {
    on_both(async |place| {
        let store = place.open().await;
        let conflict = |id: &str| Err(CommitError::Conflict { shop: shop(), key: thing(id) });
        let watch = counts(&store, &shop(), "shop");
        commit(&store, unit().insert(&thing("red"), r#"{"colour":"red"}"#)).await;
        commit(&store, decided_on(&watch, "1")).await;
        commit(&store, unit().insert(&thing("blue"), r#"{"colour":"blue"}"#)).await;
        assert_eq!(watch.outdated().unwrap().key, thing("blue"));
        assert_eq!(store.commit(decided_on(&watch, "2")).await, conflict("blue"));
        // Without effects it was decided on nothing that matters.
        commit(&store, Unit { queries: Some(watch.clone()), ..unit() }).await;
        // An update whose earlier document is not known counts.
        let (later, red) = (counts(&store, &shop(), "shop"), version(&store, &thing("red")).await);
        commit(&store, unit().update(&thing("red"), red, r#"{"colour":"red"}"#)).await;
        assert!(later.outdated().is_some());
        // What was refused has changed nothing.
        let later = counts(&store, &shop(), "shop");
        let wrong = unit().update(&thing("blue"), red, r#"{"colour":"red"}"#);
        assert!(store.commit(wrong).await.is_err() && later.outdated().is_none());
    })
    .await;
}

#[tokio::test]
async fn units_of_one_batch_are_held_to_one_another() {
    on_both(async |place| {
        let store = place.open().await;
        let watch = counts(&store, &shop(), "shop");
        let paints = |id: &str| unit().insert(&thing(id), r#"{"colour":"blue"}"#);
        // The one that was decided on the answer comes before, then behind what changes it.
        let answers =
            commit_together(&store, vec![decided_on(&watch, "1"), paints("a"), decided_on(&watch, "2")]).await;
        assert!(answers[0].is_ok() && answers[1].is_ok(), "{answers:?}");
        assert_eq!(answers[2], Err(CommitError::Conflict { shop: shop(), key: thing("a") }));
    })
    .await;
}

#[tokio::test]
async fn other_shops_matter_to_a_query_that_reaches_them() {
    on_both(async |place| {
        let store = place.open().await;
        let (own, all) = (counts(&store, &shop(), "shop"), counts(&store, &shop(), "app"));
        let elsewhere = Shop::new("other", &*shop().id);
        commit(&store, unit().of(&elsewhere).insert(&thing("a"), r#"{"colour":"blue"}"#)).await;
        assert!(own.outdated().is_none() && all.outdated().is_none());
        commit(&store, unit().of(&other_shop(0)).insert(&thing("a"), r#"{"colour":"blue"}"#)).await;
        assert!(own.outdated().is_none() && all.outdated().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_watch_of_many_queries_watches_the_model() {
    on_both(async |place| {
        let store = place.open().await;
        let few = store.watch(&shop());
        let many = store.watch(&shop());
        for at in 0..=WATCH_QUERIES_MAX {
            let text = format!(r#"{{"filter":{{"colour":{{"equals":"colour {at}"}}}}}}"#);
            let query = Query::parse(&model(), &json(&text), Reach::Shop).unwrap();
            for watch in [&few, &many].into_iter().skip(usize::from(at == WATCH_QUERIES_MAX)) {
                watch.add("thing", &query, true);
            }
        }
        commit(&store, unit().insert(&thing("a"), r#"{"colour":"none of them"}"#)).await;
        assert!(few.outdated().is_none() && many.outdated().is_some());
    })
    .await;
}
