//! Deploying models: indexes that are used, keys that are unique, views that people can read.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tradewind_model::query::{Query, Reach};
use tradewind_model::schema::{Model, Schema};
use tradewind_model::{RecordKey, Shop};
use tradewind_store::{CommitError, Deployed, Store, StoreError, Unit};
use tradewind_tests::stores::{Build as _, NOW_MS, Place, commit, commit_together, json, on_both, product, shop, unit};

fn schema(models: &[&str]) -> Schema {
    let model = |text: &&str| serde_json::from_str::<Model>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    Schema::new(models.iter().map(model)).unwrap()
}

async fn deploy(store: &Store, app: &str, schema: &Schema) -> Deployed {
    store.deploy(app, schema, NOW_MS).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Why a deployment failed, in words.
async fn refusal(store: &Store, schema: &Schema) -> String {
    match store.deploy("tagger", schema, NOW_MS).await {
        Err(error @ StoreError::Deploy { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn insert(store: &Store, id: &str, doc: &str) -> Result<(), CommitError> {
    store.commit(unit().insert(&product(id), doc)).await.map(drop)
}

/// The index that refused a unit.
fn index(refused: Result<(), CommitError>) -> String {
    match refused {
        Err(CommitError::NotUnique { index }) => index,
        other => panic!("{other:?}"),
    }
}

/// Asks the database itself. The answer has one column, and that is text.
async fn ask(place: &Place, sql: &str) -> Vec<String> {
    let sql = AssertSqlSafe(sql.to_owned());
    match place {
        Place::Sqlite(_) => {
            let url = format!("sqlite:{}", place.file().display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
        Place::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
    }
}

/// What the app's models have made: the names of its indexes and views.
async fn made(place: &Place) -> Vec<String> {
    let sql = match place {
        Place::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE name LIKE '%/%' ORDER BY name",
        Place::Postgres(_) => "SELECT relname::text COLLATE \"C\" FROM pg_class WHERE relname LIKE '%/%' ORDER BY 1",
    };
    ask(place, sql).await
}

const PRODUCT: &str = r#"{"name":"shopify/product","fields":[
    {"name":"title","type":"string","index":true},
    {"name":"stock","type":"integer","index":true},
    {"name":"handle","type":"string","unique":true},
    {"name":"price","type":"number"},
    {"name":"live","type":"boolean"},
    {"name":"at","type":"date-time"},
    {"name":"shop","type":"string"},
    {"name":"raw","type":"json"}
]}"#;

#[tokio::test]
async fn keys_are_unique_within_their_scope() {
    on_both(async |place| {
        let store = place.open().await;
        let schema = schema(&[r#"{"name":"shopify/product","fields":[
            {"name":"handle","type":"string","unique":true},
            {"name":"code","type":"integer","unique":"app"},
            {"name":"slug","type":"string","unique":["lang"]},
            {"name":"lang","type":"string"}
        ]}"#]);
        deploy(&store, "tagger", &schema).await;
        let of = |index: String| store.unique_key_of("tagger", &schema, &index).map(|(_, fields)| fields.join("+"));
        let long = |end: &str| format!(r#"{{"handle":"{}{end}"}}"#, "x".repeat(400));

        insert(&store, "1", r#"{"handle":"hat","code":1,"slug":"a","lang":"en"}"#).await.unwrap();
        let same = index(insert(&store, "2", r#"{"handle":"hat"}"#).await);
        assert_eq!(of(same).as_deref(), Some("handle"));
        let same = index(insert(&store, "2", r#"{"slug":"a","lang":"en"}"#).await);
        assert_eq!(of(same).as_deref(), Some("lang+slug"));
        insert(&store, "2", r#"{"slug":"a","lang":"de"}"#).await.unwrap();
        // Long texts differ to their ends.
        insert(&store, "3", &long("a")).await.unwrap();
        insert(&store, "4", &long("b")).await.unwrap();
        assert_eq!(of(index(insert(&store, "5", &long("b")).await)).as_deref(), Some("handle"));
        // Null shares with nobody, and neither does what is not of the type.
        for (id, doc) in [("6", "{}"), ("7", r#"{"handle":null,"lang":"en"}"#), ("8", r#"{"handle":5,"code":"1"}"#)] {
            insert(&store, id, doc).await.unwrap();
            insert(&store, &format!("{id}-again"), doc).await.unwrap();
        }
        // Another shop has keys of its own, except those of the whole app; another app has its own models.
        let other = Shop::new("tagger", "other.example");
        let code = unit().of(&other).insert(&product("1"), r#"{"code":1}"#);
        assert_eq!(of(index(store.commit(code).await.map(drop))).as_deref(), Some("code"));
        commit(&store, unit().of(&other).insert(&product("1"), r#"{"handle":"hat","code":2}"#)).await;
        let another = Shop::new("another", "hats.example");
        commit(&store, unit().of(&another).insert(&product("1"), r#"{"handle":"hat","code":1}"#)).await;
        commit(&store, unit().of(&another).insert(&product("2"), r#"{"handle":"hat","code":1}"#)).await;
        assert_eq!(store.unique_key_of("another", &schema, "jobs_id"), None);
    })
    .await;
}

/// Records with different values in every field, enough for an index to be worth it.
async fn fill(store: &Store) {
    for batch in 0..8 {
        let units = (0..500).map(|number| {
            let number = batch * 500 + number;
            let doc = format!(r#"{{"title":"Hat {}","stock":{number},"handle":"hat-{number}"}}"#, number % 1_000);
            unit().insert(&product(&number.to_string()), &doc)
        });
        for committed in commit_together(store, units.collect()).await {
            committed.unwrap();
        }
    }
}

#[tokio::test]
async fn queries_use_the_indexes() {
    on_both(async |place| {
        let store = place.open().await;
        fill(&store).await;
        let schema = schema(&[PRODUCT]);
        deploy(&store, "tagger", &schema).await;
        let model = schema.model("shopify/product").unwrap();
        let check = async |query: &str, expected: &str| {
            let query = Query::parse(model, &json(query), Reach::App).unwrap();
            let plan = store.search_plan(&shop(), model, &query).await.unwrap().join("\n");
            // One record need not be sorted.
            let sorts = !expected.starts_with("unique") && (plan.contains("Sort") || plan.contains("B-TREE"));
            assert!(plan.contains(expected) && !sorts, "{query:?}: {plan}");
            query
        };
        let (title, stock) = ("index/tagger/shopify/product/title~", "index/tagger/shopify/product/stock~");
        check(r#"{"filter":{"title":{"equals":"Hat 7"}}}"#, title).await;
        check(r#"{"filter":{"stock":{"greaterThan":3990}},"sort":{"stock":"ascending"}}"#, stock).await;
        check(r#"{"filter":{"title":{"startsWith":"Hat 99"}},"sort":{"title":"ascending"}}"#, title).await;
        check(r#"{"filter":{"handle":{"equals":"hat-7"}}}"#, "unique/tagger/shopify/product/handle~").await;
        for direction in ["ascending", "descending"] {
            let sorted = format!(r#"{{"sort":{{"title":"{direction}"}},"first":5"#);
            let query = check(&format!("{sorted}}}"), title).await;
            let page = query.overlay(store.search(&shop(), model, &query, 0).await.unwrap(), &[]);
            check(&format!(r#"{sorted},"after":"{}"}}"#, page.end_cursor.unwrap()), title).await;
            check(&format!("{}}}", sorted.replace("first", "last")), title).await;
        }
        let by_key =
            Query::by_key(model, &json(r#"{"handle":"hat-7"}"#), tradewind_model::schema::Scope::Shop).unwrap();
        assert_eq!(store.search(&shop(), model, &by_key, 0).await.unwrap()[0].id, "7");
    })
    .await;
}

#[tokio::test]
async fn views_show_records_to_people() {
    on_both(async |place| {
        let store = place.open().await;
        let doc = r#"{"title":"Hat","stock":9007199254740993,"price":9.5,"live":true,"at":"2024-05-01T14:00:00.000Z",
            "shop":"mine","raw":{"a":1}}"#;
        commit(&store, unit().insert(&product("1"), doc)).await;
        commit(&store, unit().insert(&product("2"), r#"{"title":[5]}"#)).await;
        commit(&store, unit().of(&Shop::new("another", "x")).insert(&product("3"), doc)).await;
        let deployed = deploy(&store, "tagger", &schema(&[PRODUCT])).await;
        assert_eq!(deployed.views, ["tagger/shopify/product"]);
        let columns = ["shop.id", "id", "title", "stock", "price", "live", "at", "shop", "raw", "createdAt"];
        let columns = columns.map(|name| format!("coalesce(CAST(\"{name}\" AS text), '-')")).join(" || '|' || ");
        let sql = format!("SELECT {columns} FROM \"tagger/shopify/product\" WHERE \"record.version\" > 0 ORDER BY id");
        let live = if matches!(place, Place::Sqlite(_)) { "1" } else { "true" };
        let expected = [
            format!(
                "hats.example|1|Hat|9007199254740993|9.5|{live}|2024-05-01T14:00:00.000Z|mine|{{\"a\":1}}|\
                 2026-05-28T20:26:40.000Z"
            ),
            "hats.example|2|-|-|-|-|-|-|-|2026-05-28T20:26:40.000Z".to_owned(),
        ];
        assert_eq!(ask(&place, &sql).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_deployment_replaces_the_one_before() {
    on_both(async |place| {
        let store = place.open().await;
        assert_eq!(store.schema_of("tagger").await.unwrap(), None);
        let first = schema(&[PRODUCT, r#"{"name":"note","fields":[{"name":"text","type":"string","index":true}]}"#]);
        let deployed = deploy(&store, "tagger", &first).await;
        assert_eq!((deployed.created.len(), deployed.dropped.len()), (6, 0), "{deployed:?}");
        assert_eq!(store.schema_of("tagger").await.unwrap(), Some(first.clone()));
        let mut names = deployed.created.clone();
        names.sort();
        assert_eq!(made(&place).await, names);
        // Again: nothing changes.
        let again = deploy(&store, "tagger", &first).await;
        assert_eq!(again, Deployed { views: deployed.views, ..Deployed::default() });
        // Another app with the same models has its own, and they stay.
        deploy(&store, "tag", &first).await;

        let second = schema(&[&PRODUCT.replace(r#""type":"integer","index":true"#, r#""type":"number","index":true"#)]);
        let deployed = deploy(&store, "tagger", &second).await;
        let starts = |names: &[String], start: &str| names.iter().filter(|name| name.starts_with(start)).count();
        let shown = format!("{deployed:?}");
        assert_eq!(starts(&deployed.created, "index/tagger/shopify/product/stock~"), 1, "{shown}");
        assert_eq!(starts(&deployed.created, "tagger/shopify/product"), 1, "{shown}");
        assert_eq!(starts(&deployed.dropped, "index/tagger/shopify/product/stock~"), 1, "{shown}");
        assert_eq!(starts(&deployed.dropped, "index/tagger/note/text~"), 1, "{shown}");
        assert_eq!(starts(&deployed.dropped, "tagger/"), 2, "{shown}");
        assert_eq!((deployed.created.len(), deployed.dropped.len()), (2, 4), "{shown}");
        let there = made(&place).await;
        assert_eq!(there.len(), 4 + 6, "{there:?}");
        assert_eq!(store.schema_of("tagger").await.unwrap(), Some(second));
        assert_eq!(store.schema_of("tag").await.unwrap(), Some(first));

        // What a crash has left of another deployment goes too.
        let left = "CREATE INDEX \"index/tagger/shopify/product/gone~0\" ON records (version)";
        assert!(ask(&place, left).await.is_empty());
        let nothing = deploy(&store, "tagger", &Schema::default()).await;
        assert_eq!(nothing.dropped.len(), 5);
        assert_eq!(made(&place).await.len(), 6);
    })
    .await;
}

#[tokio::test]
async fn a_deployment_that_fails_changes_nothing() {
    on_both(async |place| {
        let store = place.open().await;
        let first = schema(&[r#"{"name":"shopify/product","fields":[{"name":"title","type":"string","index":true}]}"#]);
        deploy(&store, "tagger", &first).await;
        let before = made(&place).await;
        for (id, code) in [("1", "1"), ("7", "2"), ("9", "1")] {
            let doc = format!(r#"{{"handle":"the hat","code":{code}}}"#);
            insert(&store, id, &doc).await.unwrap();
        }
        let other = Shop::new("tagger", "other.example");
        commit(&store, unit().of(&other).insert(&product("1"), r#"{"handle":"the cap","code":3}"#)).await;

        let second = schema(&[PRODUCT]);
        let refused = refusal(&store, &second).await;
        let expected = "the models of `tagger` cannot be deployed: records of `shopify/product` have the same `handle`: for \
                        example `1` of the shop `hats.example` and `7` of `hats.example`; hint: change all but one of \
                        them, or declare the key without `unique`";
        assert_eq!(refused, expected);
        assert_eq!(made(&place).await, before);
        assert_eq!(store.schema_of("tagger").await.unwrap(), Some(first));
        // Among all shops, and of several fields.
        let pair = schema(&[r#"{"name":"shopify/product","fields":[{"name":"code","type":"integer"},
            {"name":"handle","type":"string"}],"uniques":[{"fields":["handle","code"],"scope":"app"}]}"#]);
        let refused = refusal(&store, &pair).await;
        assert!(refused.contains("the same `handle` and `code`: for example `1` of"), "{refused}");
        assert_eq!(made(&place).await, before);

        let key = product("7");
        let version = store.record(&shop(), &key).await.unwrap().unwrap().version;
        commit(&store, unit().update(&key, version, r#"{"handle":"a hat"}"#)).await;
        let version = store.record(&shop(), &product("9")).await.unwrap().unwrap().version;
        commit(&store, unit().update(&product("9"), version, r#"{"handle":null}"#)).await;
        deploy(&store, "tagger", &second).await;
        assert!(store.deploy("Tagger's", &second, NOW_MS).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn records_are_respelled_for_the_types_that_are_declared() {
    on_both(async |place| {
        let store = place.open().await;
        let stale = r#"{"at":"2024-05-01T10:00:00-04:00","stock":"7","title":5,"price":"much"}"#;
        let units = (0..250).map(|number| {
            let shop = Shop::new("tagger", format!("shop-{}.example", number % 3));
            let doc = if number % 2 == 0 { stale } else { r#"{"at":null,"x":1.0}"# };
            unit().of(&shop).insert(&product(&number.to_string()), doc)
        });
        for committed in commit_together(&store, units.collect()).await {
            committed.unwrap();
        }
        let app = Shop::new("another", "hats.example");
        let note = RecordKey::new("note", "1");
        commit(&store, Unit::new(app.clone(), NOW_MS).insert(&note, stale)).await;

        let deployed = deploy(&store, "tagger", &schema(&[PRODUCT])).await;
        assert_eq!((deployed.respelled, deployed.unfit), (125, 125));
        let first = Shop::new("tagger", "shop-0.example");
        let stored = store.record(&first, &product("0")).await.unwrap().unwrap();
        // What fits is respelled, what does not is kept.
        let expected = r#"{"at":"2024-05-01T14:00:00.000Z","stock":7,"title":"5","price":"much"}"#;
        assert_eq!(stored.doc.as_str(), expected);
        assert_eq!(stored.platform_updated_us, Some(NOW_MS * 1_000));
        let again = deploy(&store, "tagger", &schema(&[PRODUCT])).await;
        assert_eq!((again.respelled, again.unfit), (0, 0));
        assert_eq!(store.record(&app, &note).await.unwrap().unwrap().doc.as_str(), stale);
    })
    .await;
}
