//! Deploying an app's models: the indexes that make their queries fast and their keys unique, and a view of each for
//! people.
//!
//! A deployment happens whole or not at all, and again and again without harm. What is there is read from the database and
//! not from memory, so that the next deployment puts right what a crash has left. On SQLite all of it is one transaction
//! of the committer's writer; commits wait for it. PostgreSQL makes indexes while others write, which takes no transaction:
//! there the deployment takes back what it made when it cannot go on, and an index is used or refused for the first time
//! when all of them are there.
//!
//! The view of a model is called `<app>/<model>`, for example `tagger/shopify/product`. Its columns are `shop.id`, `id`,
//! the declared fields (date-times as text, booleans as 0 and 1 on SQLite), `createdAt`, `updatedAt` and
//! `record.version`: names that no field can have.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tradewind_model::schema::{FieldType, Model, Schema};

use crate::database::Database;
use crate::error::{Blame, StoreError, blame};
use crate::expression::{Index, RECORDS_OF_A_MODEL, digest, index_prefixes, of_model, unique_parts, view_name, whole};
use crate::link::{Engine, Kind, Link, Statement, Table};
use crate::store::Store;

/// What a deployment did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// Names of indexes and views that it made.
    pub created: Vec<String>,
    /// Names of indexes and views that are gone.
    pub dropped: Vec<String>,
    /// Names of all the views that the app now has.
    pub views: Vec<String>,
    /// Records that were brought into the form that newly declared types have.
    pub respelled: u64,
    /// Values that do not fit the type that is now declared for them. They stay as they are, and queries take them for
    /// null.
    pub unfit: u64,
}

// Differs because each has its own catalogue, and only PostgreSQL leaves an index behind that it could not finish.
pub(crate) static LIST_INDEXES: Statement = Statement::differs(
    "list indexes",
    &[],
    "SELECT name, 1 FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'records'",
    "SELECT CAST(c.relname AS text), CASE WHEN i.indisvalid THEN CAST(1 AS bigint) ELSE 0 END FROM pg_index i \
     JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass('records')",
);

pub(crate) static READ_DEPLOYMENT: Statement = Statement::both(
    "read deployment",
    "SELECT CAST(models AS text), CAST(objects AS text) FROM deployments WHERE app = $1",
);

pub(crate) static WRITE_DEPLOYMENT: Statement = Statement::rows(
    "write deployment",
    &[Kind::Text, Kind::Json, Kind::Json, Kind::Int],
    "WITH r (app, models, objects, deployed_ms) AS ({rows}) \
     INSERT INTO deployments (app, models, objects, deployed_ms) SELECT app, models, objects, deployed_ms FROM r \
     WHERE app IS NOT NULL ON CONFLICT (app) DO UPDATE SET models = excluded.models, objects = excluded.objects, \
     deployed_ms = excluded.deployed_ms",
);

/// The lock that deployments to PostgreSQL hold, whichever the app: two that make indexes on one table at once would wait
/// for each other. The word `tradewin`.
const LOCK: i64 = 0x7472_6164_6577_696E;

/// How long to wait before the next try for [`LOCK`]. Waiting inside of the database would be a transaction, which the
/// holder's index waits for in turn.
const LOCK_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(100);

/// What was made for an app, as it is stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Objects {
    indexes: Vec<String>,
    /// By name, with a digest of the definition.
    views: BTreeMap<String, String>,
    /// Models whose records are still to be brought into the form of the declared types.
    pub(crate) respell: BTreeSet<String>,
}

/// All that a deployment needs to know.
pub(crate) struct Plan {
    app: String,
    schema: Schema,
    /// The schema as JSON.
    models: String,
    now_ms: i64,
    indexes: Vec<Index>,
    /// By name, what comes after the name.
    views: BTreeMap<String, String>,
}

impl Store {
    /// Makes the database fit an app's models, and remembers them.
    ///
    /// Fails with [`StoreError::Deploy`], having changed nothing, when stored records share a key that is to be unique.
    pub async fn deploy(&self, app: &str, schema: &Schema, now_ms: i64) -> Result<Deployed, StoreError> {
        let plan = Plan::new(self.engine(), app, schema, now_ms)?;
        let mut deployed = match &self.database {
            Database::Sqlite { .. } => self.committer.deploy(plan).await?,
            Database::Postgres { .. } => concurrently(&self.database, &plan).await?,
        };
        self.respell(app, schema, now_ms, &mut deployed).await?;
        Ok(deployed)
    }

    /// The models of an app as they were deployed last, none when they never were.
    pub async fn schema_of(&self, app: &str) -> Result<Option<Schema>, StoreError> {
        let mut reader = self.database.reader().await.map_err(StoreError::connecting)?;
        Ok(read(&mut reader.link(), app).await?.map(|(schema, _, _)| schema))
    }

    /// The model and the fields of the key that a unique index keeps, by the index's name in
    /// [`CommitError::NotUnique`](crate::CommitError::NotUnique).
    pub fn unique_key_of(&self, app: &str, schema: &Schema, index: &str) -> Option<(String, Vec<String>)> {
        let made = indexes(self.engine(), app, schema).ok()?.into_iter().find(|made| made.name == index)?;
        Some((made.model, made.unique?.fields))
    }
}

impl Plan {
    fn new(engine: Engine, app: &str, schema: &Schema, now_ms: i64) -> Result<Self, StoreError> {
        let models: Vec<_> = schema.models().collect();
        let models = serde_json::to_string(&models).map_err(|error| refused(app, error.to_string()))?;
        let mut views = BTreeMap::new();
        for model in schema.models() {
            views.insert(view_name(app, &model.name), view(engine, app, model)?);
        }
        let indexes = indexes(engine, app, schema)?;
        Ok(Self { app: app.to_owned(), schema: schema.clone(), models, now_ms, indexes, views })
    }

    /// Which of the app's indexes are to go.
    fn unwanted<'i>(&self, there: &'i [(String, bool)]) -> impl Iterator<Item = &'i String> {
        there.iter().map(|(name, _)| name).filter(|name| self.indexes.iter().all(|index| index.name != **name))
    }
}

fn refused(app: &str, reason: String) -> StoreError {
    StoreError::Deploy { app: app.to_owned(), reason }
}

/// Every index that the models of an app want.
fn indexes(engine: Engine, app: &str, schema: &Schema) -> Result<Vec<Index>, StoreError> {
    let mut indexes: Vec<Index> = Vec::new();
    for model in schema.models() {
        for field in &model.fields {
            let Some(of) =
                field.of.value_type().filter(|_| field.index || leads_to_children(schema, model, &field.name))
            else {
                continue;
            };
            indexes.push(Index::of_field(engine, app, &model.name, &field.name, of)?);
        }
        for unique in model.unique_keys() {
            let index = Index::of_unique(engine, app, model, &unique)?;
            // A key may be declared at its field and once more beside the fields.
            if indexes.iter().all(|other| other.name != index.name) {
                indexes.push(index);
            }
        }
    }
    Ok(indexes)
}

/// Whether a field is how another model finds its children, which every `converge` does.
fn leads_to_children(schema: &Schema, child: &Model, field: &str) -> bool {
    let is_it = |of: &FieldType| matches!(of, FieldType::HasMany { model, by } if *model == child.name && by == field);
    schema.models().flat_map(|model| &model.fields).any(|other| is_it(&other.of))
}

/// What comes after the name of a model's view.
fn view(engine: Engine, app: &str, model: &Model) -> Result<String, StoreError> {
    let fields = model.fields.iter().filter_map(|field| {
        Some(format!("{} AS \"{}\"", whole(engine, &field.name, field.of.value_type()?), field.name))
    });
    let time = |column: &str| match engine {
        // Differs because each has its own function; both write what the API shows.
        Engine::Sqlite => format!("strftime('%Y-%m-%dT%H:%M:%fZ',{column}/1000.0,'unixepoch')"),
        Engine::Postgres => {
            format!("to_char(to_timestamp({column}/1000.0) AT TIME ZONE 'UTC','YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
        }
    };
    let columns: Vec<_> = ["shop AS \"shop.id\"".to_owned(), "id".to_owned()]
        .into_iter()
        .chain(fields)
        .chain([
            format!("{} AS \"createdAt\"", time("created_ms")),
            format!("{} AS \"updatedAt\"", time("updated_ms")),
            "version AS \"record.version\"".to_owned(),
        ])
        .collect();
    Ok(format!("AS SELECT {} FROM records WHERE {}", columns.join(","), of_model(app, &model.name)?))
}

/// What is deployed of an app: the models, what was made for them, and the latter as it is stored.
pub(crate) async fn read(link: &mut Link<'_>, app: &str) -> Result<Option<(Schema, Objects, String)>, StoreError> {
    let failed = |source| StoreError::database("reading what is deployed", source);
    let rows = link.fetch(&READ_DEPLOYMENT, &[app.into()]).await.map_err(failed)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let damaged = |reason| StoreError::Damaged { what: format!("the deployment of `{app}`"), reason };
    let (models, objects) = (row.text(0).map_err(failed)?, row.text(1).map_err(failed)?);
    let models: Vec<Model> = serde_json::from_str(models).map_err(|error| damaged(error.to_string()))?;
    let schema = Schema::new(models).map_err(|problems| damaged(problems.join("; ")))?;
    let parsed = serde_json::from_str(objects).map_err(|error| damaged(error.to_string()))?;
    Ok(Some((schema, parsed, objects.to_owned())))
}

/// Deploys in one transaction. After an error the connection is not to be used again.
pub(crate) async fn in_one(link: &mut Link<'_>, plan: &Plan) -> Result<Deployed, StoreError> {
    let failed = |source| StoreError::database("deploying models", source);
    link.run("BEGIN IMMEDIATE").await.map_err(failed)?;
    let mut deployed = all(link, plan).await;
    if deployed.is_ok()
        && let Err(source) = link.run("COMMIT").await
    {
        deployed = Err(failed(source));
    }
    if deployed.is_err() {
        // The error that led here says more.
        let _ = link.run("ROLLBACK").await;
    }
    deployed
}

/// Does everything in the open transaction.
async fn all(link: &mut Link<'_>, plan: &Plan) -> Result<Deployed, StoreError> {
    let there = own_indexes(link, &plan.app).await?;
    let mut deployed = Deployed::default();
    for index in missing(plan, &there) {
        create(link, plan, index, false).await?;
        deployed.created.push(index.name.clone());
    }
    if !deployed.created.is_empty() {
        estimate(link, plan)
            .await
            .map_err(|source| StoreError::database("estimating how large indexes are", source))?;
    }
    for name in plan.unwanted(&there) {
        let failed = |source| StoreError::database("dropping an index", source);
        link.run(&format!("DROP INDEX \"{name}\"")).await.map_err(failed)?;
        deployed.dropped.push(name.clone());
    }
    remember(link, plan, &mut deployed).await?;
    Ok(deployed)
}

/// Tells SQLite what to expect of the indexes. It knows nothing by itself, takes the primary key for as selective as an
/// index on a field, and would read a whole model for each query. Its own measurements would do as well, of records that
/// are there; so estimates of a large shop are written down as if they had been measured.
async fn estimate(link: &mut Link<'_>, plan: &Plan) -> sqlx::Result<()> {
    // Makes the table of measurements, and measures a table of one row.
    link.run("ANALYZE sequence").await?;
    let primary = ("sqlite_autoindex_records_1", format!("1000000 200000 20000 {RECORDS_OF_A_MODEL} 1"));
    let of_index = |index: &Index| (index.name.clone(), index.estimate());
    let estimates = plan.indexes.iter().map(of_index).chain([(primary.0.to_owned(), primary.1)]);
    for (name, estimate) in estimates {
        link.fetch_text("DELETE FROM sqlite_stat1 WHERE tbl = 'records' AND idx = $1", &[name.as_str().into()]).await?;
        let values = [name.as_str().into(), estimate.as_str().into()];
        link.fetch_text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('records', $1, $2)", &values).await?;
    }
    // Others read it when they see that there are new indexes.
    link.run("ANALYZE sqlite_schema").await
}

/// Deploys while others write.
async fn concurrently(database: &Database, plan: &Plan) -> Result<Deployed, StoreError> {
    let failed = |source| StoreError::database("deploying models", source);
    let mut connection = database.connect().await.map_err(StoreError::connecting)?;
    let mut link = connection.link();
    let sql = format!("SELECT CASE WHEN pg_try_advisory_lock({LOCK}) THEN CAST(1 AS bigint) ELSE 0 END");
    while link.fetch_text(&sql, &[]).await.map_err(failed)?[0].int(0).map_err(failed)? == 0 {
        tokio::time::sleep(LOCK_AGAIN_AFTER).await;
    }
    let there = own_indexes(&mut link, &plan.app).await?;
    let mut deployed = Deployed::default();
    let mut made = make(&mut link, plan, &there, &mut deployed).await;
    if made.is_ok() {
        made = in_transaction(&mut link, plan, &mut deployed).await;
    }
    if let Err(error) = made {
        for name in &deployed.created {
            // What stays after all, the next deployment finds.
            let _ = link.run(&drop_index(name)).await;
        }
        let _ = connection.close().await;
        return Err(error);
    }
    for name in plan.unwanted(&there) {
        link.run(&drop_index(name)).await.map_err(failed)?;
        deployed.dropped.push(name.clone());
    }
    if !deployed.created.is_empty() {
        // Without it the server knows nothing of what an index on an expression holds, until it looks by itself; so it
        // does no harm when this fails.
        let _ = link.run("ANALYZE records").await;
    }
    // Gives the lock back as well.
    let _ = connection.close().await;
    Ok(deployed)
}

/// Makes the missing indexes, each in the background. The names of those that it made, or began, are in `deployed`.
async fn make(
    link: &mut Link<'_>,
    plan: &Plan,
    there: &[(String, bool)],
    deployed: &mut Deployed,
) -> Result<(), StoreError> {
    for index in missing(plan, there) {
        if there.iter().any(|(name, _)| *name == index.name) {
            // One that was begun and never finished.
            let failed = |source| StoreError::database("dropping an unfinished index", source);
            link.run(&drop_index(&index.name)).await.map_err(failed)?;
        }
        deployed.created.push(index.name.clone());
        create(link, plan, index, true).await?;
    }
    Ok(())
}

async fn in_transaction(link: &mut Link<'_>, plan: &Plan, deployed: &mut Deployed) -> Result<(), StoreError> {
    let failed = |source| StoreError::database("deploying models", source);
    let created = deployed.created.len();
    link.run("BEGIN").await.map_err(failed)?;
    let mut done = remember(link, plan, deployed).await;
    if done.is_ok() {
        done = link.run("COMMIT").await.map_err(failed);
    }
    if done.is_err() {
        // The error that led here says more.
        let _ = link.run("ROLLBACK").await;
        deployed.created.truncate(created);
    }
    done
}

fn drop_index(name: &str) -> String {
    format!("DROP INDEX CONCURRENTLY IF EXISTS \"{name}\"")
}

/// The indexes that were made for an app, and whether each is finished.
async fn own_indexes(link: &mut Link<'_>, app: &str) -> Result<Vec<(String, bool)>, StoreError> {
    let failed = |source| StoreError::database("looking which indexes there are", source);
    let prefixes = index_prefixes(app);
    let mut indexes = Vec::new();
    for row in link.fetch(&LIST_INDEXES, &[]).await.map_err(failed)? {
        let name = row.text(0).map_err(failed)?;
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            indexes.push((name.to_owned(), row.int(1).map_err(failed)? == 1));
        }
    }
    Ok(indexes)
}

fn missing<'p>(plan: &'p Plan, there: &[(String, bool)]) -> impl Iterator<Item = &'p Index> {
    plan.indexes.iter().filter(|index| !there.contains(&(index.name.clone(), true)))
}

/// Makes an index, or says which records do not let it be unique.
async fn create(link: &mut Link<'_>, plan: &Plan, index: &Index, concurrently: bool) -> Result<(), StoreError> {
    let Err(error) = link.run(&index.create(concurrently)).await else { return Ok(()) };
    let (Some(key), Blame::NotUnique(_)) = (&index.unique, blame(&error)) else {
        return Err(StoreError::database("making an index", error));
    };
    let example = duplicate(link, plan, index).await?.unwrap_or_default();
    Err(refused(
        &plan.app,
        format!(
            "records of `{}` have the same `{}`{example}; hint: change all but one of them, or declare the key without \
             `unique`",
            index.model,
            key.fields.join("` and `"),
        ),
    ))
}

/// Two records with the same key, in words. Their values are customers' data and stay out.
async fn duplicate(link: &mut Link<'_>, plan: &Plan, index: &Index) -> Result<Option<String>, StoreError> {
    let failed = |source| StoreError::database("looking for records with the same key", source);
    let (Some(key), Ok(model)) = (&index.unique, plan.schema.model(&index.model)) else { return Ok(None) };
    let engine = link.engine();
    let parts = unique_parts(engine, model, key);
    let condition = of_model(&plan.app, &model.name)?;
    let set: Vec<_> = parts.iter().map(|part| format!("{part} IS NOT NULL")).collect();
    let sql = format!(
        "SELECT shop, id, next_shop, next_id FROM (SELECT shop, id, lead(shop) OVER w AS next_shop, \
         lead(id) OVER w AS next_id FROM records WHERE {condition} AND {} \
         WINDOW w AS (PARTITION BY {} ORDER BY shop, id)) d WHERE next_id IS NOT NULL ORDER BY shop, id LIMIT 1",
        set.join(" AND "),
        parts.join(", "),
    );
    let rows = link.fetch_text(&sql, &[]).await.map_err(failed)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let text = |at| row.text(at).map_err(failed);
    Ok(Some(format!(": for example `{}` of the shop `{}` and `{}` of `{}`", text(1)?, text(0)?, text(3)?, text(2)?)))
}

/// Makes the views and writes down what there is, in the open transaction.
async fn remember(link: &mut Link<'_>, plan: &Plan, deployed: &mut Deployed) -> Result<(), StoreError> {
    let before = read(link, &plan.app).await?;
    let (schema, objects) = before.map(|(schema, objects, _)| (schema, objects)).unwrap_or_default();
    let mut now = Objects {
        indexes: plan.indexes.iter().map(|index| index.name.clone()).collect(),
        views: plan.views.iter().map(|(name, view)| (name.clone(), format!("{:016x}", digest(view)))).collect(),
        respell: newly_typed(&schema, &plan.schema),
    };
    now.respell.extend(objects.respell.into_iter().filter(|model| plan.schema.model(model).is_ok()));
    let failed = |name: &str, error: &sqlx::Error| {
        refused(
            &plan.app,
            format!("the view `{name}` cannot be made anew: {error}; hint: drop what depends on it first"),
        )
    };
    for (name, before) in &objects.views {
        if now.views.get(name) != Some(before) {
            link.run(&format!("DROP VIEW IF EXISTS \"{name}\"")).await.map_err(|error| failed(name, &error))?;
            deployed.dropped.push(name.clone());
        }
    }
    for (name, view) in &plan.views {
        if objects.views.get(name) != now.views.get(name) {
            link.run(&format!("CREATE VIEW \"{name}\" {view}")).await.map_err(|error| failed(name, &error))?;
            deployed.created.push(name.clone());
        }
        deployed.views.push(name.clone());
    }
    let objects = serde_json::to_string(&now).map_err(|error| refused(&plan.app, error.to_string()))?;
    let mut table = Table::default();
    let row = [plan.app.as_str().into(), plan.models.as_str().into(), objects.as_str().into(), plan.now_ms.into()];
    table.push(row);
    let written = link.fetch_rows(&WRITE_DEPLOYMENT, &table).await;
    written.map(drop).map_err(|source| StoreError::database("writing down what is deployed", source))
}

/// The models that declare a type for a field that had another one, or none.
fn newly_typed(before: &Schema, now: &Schema) -> BTreeSet<String> {
    let is_new = |model: &&Model| {
        let old = before.model(&model.name).ok();
        let known = |name: &str| old.and_then(|old| old.field(name)).map(|field| &field.of);
        model.fields.iter().any(|field| field.of.has_order() && known(&field.name) != Some(&field.of))
    };
    now.models().filter(is_new).map(|model| model.name.clone()).collect()
}
