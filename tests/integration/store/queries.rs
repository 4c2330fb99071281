//! Queries of plugins: each ends at its limits, and nothing else of the store waits for them.

use std::pin::Pin;
use std::task::Poll;

use tradewind_model::Shop;
use tradewind_model::query::{Query, Reach};
use tradewind_model::schema::Model;
use tradewind_store::{Engine, QUERY_RESULT_BYTES_MAX, QueryLimit, Store, StoreError};
use tradewind_tests::postgres::shared;
use tradewind_tests::stores::{
    Build as _, Place, commit, commit_together, json, on_both, other_shop, product, shop, unit,
};

/// Far more than any test takes: only what a test does ends a query.
const NEVER_MS: u64 = 3_600_000;

fn model() -> Model {
    let fields = r#"[{"name":"title","type":"string"},{"name":"stock","type":"integer"}]"#;
    serde_json::from_str(&format!(r#"{{"name":"shopify/product","fields":{fields}}}"#)).unwrap()
}

fn query(text: &str) -> Query {
    Query::parse(&model(), &json(text), Reach::App).unwrap()
}

/// A query with as many conditions as there may be, all of which hold.
fn expensive() -> Query {
    let conditions: Vec<_> = (0..200).map(|at| format!(r#"{{"title":{{"notEquals":"not {at}"}}}}"#)).collect();
    query(&format!(r#"{{"sort":{{"title":"descending"}},"filter":{{"AND":[{}]}}}}"#, conditions.join(",")))
}

/// Gives shops so many records that [`expensive`] queries take seconds.
async fn fill(store: &Store, shops: &[Shop]) {
    for shop in shops {
        let batch = |from: u32| {
            (from..from + 1_000).fold(unit().of(shop), |unit, id| {
                unit.insert(&product(&id.to_string()), &format!(r#"{{"title":"Hat {id}","stock":{id}}}"#))
            })
        };
        for committed in commit_together(store, (0..4).map(|at| batch(at * 1_000)).collect()).await {
            committed.unwrap();
        }
    }
}

fn limit<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> QueryLimit {
    match answer {
        Err(StoreError::Query(limit)) => limit,
        other => panic!("{other:?}"),
    }
}

/// Starts futures, and leaves them.
async fn begin<T>(futures: &mut [Pin<Box<dyn Future<Output = T> + '_>>]) {
    std::future::poll_fn(|cx| {
        for future in &mut *futures {
            assert!(future.as_mut().poll(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
}

/// Statements on records that the server is running or that wait for a lock.
fn running(place: &Place) -> usize {
    let Place::Postgres(url) = place else { panic!("asks a server") };
    let asks = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
                and query like '%FROM records%' and pid <> pg_backend_pid()";
    shared().psql(url, asks).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_query_ends_at_its_time_and_the_store_goes_on() {
    on_both(async |place| {
        let store = place.open().await.with_query_ms_max(20);
        fill(&store, &[shop()]).await;
        for _ in 0..2 {
            assert_eq!(
                limit(store.search_count(&shop(), &model(), &expensive(), &[]).await),
                QueryLimit::Time { ms_max: 20 },
                "{:?}",
                place.engine()
            );
            assert_eq!(
                limit(store.search(&shop(), &model(), &expensive(), 0).await),
                QueryLimit::Time { ms_max: 20 },
                "{:?}",
                place.engine()
            );
        }
        let store = place.open().await;
        let first = store.search(&shop(), &model(), &query(r#"{"first":1}"#), 0).await.unwrap();
        assert_eq!((first.len(), first[0].id.as_str()), (2, "0"));
    })
    .await;
}

/// Many queries of many apps and shops run for ever: leases are renewed, partitions and jobs are read.
#[tokio::test]
async fn leases_and_the_schedule_do_not_wait_for_queries() {
    on_both(async |place| {
        let store = place.open().await.with_query_ms_max(NEVER_MS);
        let shops: Vec<_> =
            (0..40).map(|at| Shop::new(format!("app-{}", at % 10), format!("shop-{at}.example"))).collect();
        fill(&store, &shops[..4]).await;
        let (model, query) = (model(), expensive());
        let lock = Locked::records(&place);
        let mut queries: Vec<Pin<Box<dyn Future<Output = _> + '_>>> = shops
            .iter()
            .map(|shop| Box::pin(store.search_count(shop, &model, &query, &[])) as Pin<Box<dyn Future<Output = _>>>)
            .collect();
        begin(&mut queries).await;
        // Let each of them get as far as it can.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let free = store.partitions().await.unwrap();
        store.take_partition(&free[0], "host").await.unwrap().unwrap();
        for _ in 0..10 {
            assert_eq!(store.renew_leases("host").await.unwrap().len(), 1);
            assert_eq!(store.queued_jobs(0, &shop(), 1, i64::MIN, 10).await.unwrap(), []);
            store.ping().await.unwrap();
        }
        drop(queries);
        drop(lock);
        store.close().await;
    })
    .await;
}

/// Holds all reads of records back on PostgreSQL until it is dropped. SQLite has nothing like it.
struct Locked(Option<tokio::runtime::Runtime>, Option<sqlx::PgConnection>);

impl Locked {
    fn records(place: &Place) -> Self {
        let Place::Postgres(url) = place else { return Self(None, None) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = url.clone();
        let connection = std::thread::scope(|scope| {
            let lock = || {
                runtime.block_on(async {
                    use sqlx::Connection as _;
                    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                    let lock = "begin; lock table records in access exclusive mode";
                    sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
                    connection
                })
            };
            scope.spawn(lock).join().unwrap()
        });
        Self(Some(runtime), Some(connection))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.1.take());
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A query whose caller was cancelled is ended inside of the database, and its shop's next one runs.
#[tokio::test]
async fn an_abandoned_query_is_ended() {
    let place = Place::postgres();
    let store = place.open().await.with_query_ms_max(NEVER_MS);
    let (shop, model, all) = (shop(), model(), query("{}"));
    let lock = Locked::records(&place);
    let mut queries: Vec<Pin<Box<dyn Future<Output = _> + '_>>> =
        vec![Box::pin(store.search_count(&shop, &model, &all, &[]))];
    begin(&mut queries).await;
    while running(&place) == 0 {
        tokio::task::yield_now().await;
    }
    drop(queries);
    while running(&place) > 0 {
        tokio::task::yield_now().await;
    }
    // The lock was held all the time.
    drop(lock);
    assert_eq!(store.search_count(&shop, &model, &all, &[]).await.unwrap(), 0);
    store.close().await;
}

/// A server's process that went away is not asked again.
#[tokio::test]
async fn a_query_s_connection_that_was_cut_is_made_again() {
    let place = Place::postgres();
    let store = place.open().await;
    for _ in 0..3 {
        assert_eq!(store.search_count(&shop(), &model(), &query("{}"), &[]).await.unwrap(), 0);
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid()";
        super::run_sql(&place, cut).await;
    }
}

/// The bytes that one query reads are bounded.
#[tokio::test]
async fn a_page_of_large_documents_ends_at_its_bytes() {
    on_both(async |place| {
        let store = place.open().await.with_query_ms_max(NEVER_MS);
        let document = format!(r#"{{"title":"{}"}}"#, "x".repeat(8 << 20));
        let fit = QUERY_RESULT_BYTES_MAX / document.len();
        for id in 0..=fit {
            commit(&store, unit().insert(&product(&id.to_string()), &document)).await;
        }
        for sort in ["", r#","sort":{"stock":"descending"}"#] {
            let page = async |first: usize| {
                let query = query(&format!(r#"{{"first":{first}{sort}}}"#));
                store.search(&shop(), &model(), &query, 0).await
            };
            assert_eq!(limit(page(250).await), QueryLimit::ResultBytes { max: QUERY_RESULT_BYTES_MAX });
            // One more tells whether there is another page.
            assert_eq!(page(fit - 1).await.unwrap().len(), fit);
        }
        assert_eq!(
            store.search_count(&shop(), &model(), &query("{}"), &[]).await.unwrap(),
            fit as u64 + 1,
            "{:?}",
            place.engine()
        );
    })
    .await;
}

/// The time of `contains` is the sum of both lengths, and not their product: the worst text for the plain way.
#[tokio::test]
async fn contains_is_linear() {
    on_both(async |place| {
        let store = place.open().await.with_query_ms_max(30_000);
        commit(&store, unit().insert(&product("1"), &format!(r#"{{"title":"{}"}}"#, "a".repeat(7 << 20)))).await;
        for needle in [format!("{}b", "a".repeat(1_023)), format!("b{}", "a".repeat(1_023))] {
            // Twenty times: 150 GB to compare the plain way.
            let conditions = vec![format!(r#"{{"title":{{"contains":"{needle}"}}}}"#); 20].join(",");
            let none = query(&format!(r#"{{"filter":{{"OR":[{conditions}]}}}}"#));
            assert_eq!(store.search_count(&shop(), &model(), &none, &[]).await.unwrap(), 0, "{:?}", place.engine());
        }
        let found = query(&format!(r#"{{"filter":{{"title":{{"contains":"{}"}}}}}}"#, "a".repeat(1_024)));
        assert_eq!(store.search_count(&shop(), &model(), &found, &[]).await.unwrap(), 1);
    })
    .await;
}

/// Texts that mean something in patterns, regular expressions and SQL are looked for as they are.
#[tokio::test]
async fn contains_takes_texts_as_they_are() {
    on_both(async |place| {
        let store = place.open().await;
        let titles = ["a.c", "abc", "***=b", "a\\\\c", "50%", "x_y", "(?i)A", "", "a\\nb", "caf\u{e9}", "cafe\u{301}"];
        for (id, title) in titles.iter().enumerate() {
            commit(&store, unit().insert(&product(&id.to_string()), &format!(r#"{{"title":"{title}"}}"#))).await;
        }
        commit(&store, unit().insert(&product("none"), "{}")).await;
        let check = async |operator: &str, text: &str, expected: u64| {
            let filter = format!(r#"{{"title":{{"contains":"{text}"}}}}"#);
            let filter = if operator == "NOT" { format!(r#"{{"NOT":{filter}}}"#) } else { filter };
            let query = query(&format!(r#"{{"filter":{filter}}}"#));
            let count = store.search_count(&shop(), &model(), &query, &[]).await.unwrap();
            assert_eq!(count, expected, "{operator} {text:?} on {:?}", place.engine());
        };
        let all = titles.len() as u64;
        for (text, expected) in [
            ("a.c", 1),
            (".", 1),
            ("*", 1),
            ("***=", 1),
            ("***=b", 1),
            ("***:b", 0),
            ("\\\\", 1),
            ("%", 1),
            ("_", 1),
            ("(?i)a", 0),
            ("(?i)A", 1),
            ("A", 1),
            ("", all),
            ("\\n", 1),
            ("\u{e9}", 1),
            ("e", 1),
            ("$", 0),
            ("^a", 0),
        ] {
            check("", text, expected).await;
            // Null is no text that contains it.
            check("NOT", text, all + 1 - expected).await;
        }
    })
    .await;
}

/// PostgreSQL looks whether it was interrupted between the conditions on one document, and not only between documents.
#[tokio::test]
async fn many_conditions_are_interruptible() {
    let place = Place::postgres();
    let store = place.open().await.with_query_ms_max(100);
    assert_eq!(store.engine(), Engine::Postgres);
    let plan = store.search_plan(&shop(), &model(), &expensive()).await.unwrap().join("\n");
    assert!(plan.contains("SubPlan"), "{plan}");
    let few = query(r#"{"filter":{"title":{"equals":"a"},"stock":{"lessThan":5}}}"#);
    let plan = store.search_plan(&shop(), &model(), &few).await.unwrap().join("\n");
    assert!(!plan.contains("SubPlan"), "{plan}");
    let dense = format!(r#"{{"raw":[{}1]}}"#, "1,".repeat(2_000_000));
    commit(&store, unit().insert(&product("1"), &dense)).await;
    let none: Vec<_> = (0..200).map(|_| r#"{"title":{"isSet":false}}"#).collect();
    let none = query(&format!(r#"{{"filter":{{"AND":[{}]}}}}"#, none.join(",")));
    let ended = limit(store.search_count(&shop(), &model(), &none, &[]).await);
    assert_eq!(ended, QueryLimit::Time { ms_max: 100 });
    assert_eq!(running(&place), 0, "it was answered when it had ended");
    assert_eq!(store.search_count(&other_shop(0), &model(), &none, &[]).await.unwrap(), 0);
}
