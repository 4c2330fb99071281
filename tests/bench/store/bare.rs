//! What the drivers do without the store: the same rows, nothing checked, nothing promised.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use tradewind_store::{NewDelivery, Unit};

use super::place::Place;

/// Rows in one statement and one transaction.
const BATCH: usize = 64;

/// Connections that insert into PostgreSQL one row at a time.
const CONNECTIONS: usize = 16;

const TABLE: &str = "CREATE TABLE bare (seq INTEGER PRIMARY KEY, app TEXT, shop TEXT, webhook_id TEXT, topic TEXT, \
                     event_id TEXT, body_sha256 BLOB, headers TEXT, body BLOB); \
                     CREATE UNIQUE INDEX bare_webhook ON bare (app, shop, webhook_id); \
                     CREATE UNIQUE INDEX bare_event ON bare (app, shop, topic, event_id, body_sha256); \
                     CREATE TABLE bare_jobs (seq INTEGER PRIMARY KEY, app TEXT, shop TEXT, part INTEGER, kind TEXT, \
                     lane TEXT, rank INTEGER, state INTEGER, delivery INTEGER); \
                     CREATE INDEX bare_queued ON bare_jobs (part, app, shop, rank, seq) WHERE state = 0;";

/// A loop on SQLite: transactions of 64 webhooks and their jobs, WAL, a commit is on disk when it returns.
pub(crate) async fn sqlite(place: &Place, units: Vec<Unit>) -> anyhow::Result<Duration> {
    let file = place.url.trim_start_matches("sqlite:");
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut connection: SqliteConnection = options.disable_statement_logging().connect().await?;
    sqlx::raw_sql(TABLE).execute(&mut connection).await?;
    let row = "(?, ?, ?, ?, ?, ?, ?, ?)";
    let sql = format!(
        "INSERT INTO bare (app, shop, webhook_id, topic, event_id, body_sha256, headers, body) VALUES {}",
        vec![row; BATCH].join(", ")
    );
    let jobs = format!(
        "INSERT INTO bare_jobs (app, shop, part, kind, lane, rank, state, delivery) VALUES {}",
        vec![row; BATCH].join(", ")
    );
    let started = Instant::now();
    for batch in units.chunks_exact(BATCH) {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.clone()));
        for (unit, delivery) in batch.iter().map(|unit| (unit, &unit.deliveries[0])) {
            query = query
                .bind(unit.shop.app.to_string())
                .bind(unit.shop.id.to_string())
                .bind(delivery.webhook_id.clone())
                .bind(delivery.topic.clone())
                .bind(delivery.event_id.clone())
                .bind(delivery.body_sha256.to_vec())
                .bind(delivery.headers.to_string())
                .bind(delivery.body.to_vec());
        }
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await?;
        query.execute(&mut connection).await?;
        let mut query = sqlx::query(sqlx::AssertSqlSafe(jobs.clone()));
        for unit in batch {
            query = query
                .bind(unit.shop.app.to_string())
                .bind(unit.shop.id.to_string())
                .bind(unit.shop.partition())
                .bind("delivery")
                .bind(unit.deliveries[0].lane.clone())
                .bind(1)
                .bind(0)
                .bind(1);
        }
        query.execute(&mut connection).await?;
        sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    }
    let took = started.elapsed();
    connection.close().await?;
    Ok(took)
}

/// Sixteen connections to PostgreSQL, each inserting one row after the other, each row its own commit.
pub(crate) async fn postgres(place: &Place, units: Vec<Unit>) -> anyhow::Result<Duration> {
    let options: PgConnectOptions = place.url.parse()?;
    let options = options.disable_statement_logging();
    let mut connection: PgConnection = options.connect().await?;
    let table = TABLE.replace("BLOB", "BYTEA").replace("INTEGER PRIMARY KEY", "BIGSERIAL PRIMARY KEY");
    sqlx::raw_sql(sqlx::AssertSqlSafe(table)).execute(&mut connection).await?;
    let mut shares: Vec<Vec<Unit>> = vec![Vec::new(); CONNECTIONS];
    for (at, unit) in units.into_iter().enumerate() {
        shares[at % CONNECTIONS].push(unit);
    }
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(options.connect().await?);
    }
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (mut connection, units) in connections.into_iter().zip(shares) {
        tasks.spawn(async move {
            for unit in units {
                insert(&mut connection, &unit, &unit.deliveries[0]).await?;
            }
            connection.close().await
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(started.elapsed())
}

async fn insert(connection: &mut PgConnection, unit: &Unit, delivery: &NewDelivery) -> sqlx::Result<()> {
    let sql = "INSERT INTO bare (app, shop, webhook_id, topic, event_id, body_sha256, headers, body) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let query = sqlx::query(sql)
        .bind(&*unit.shop.app)
        .bind(&*unit.shop.id)
        .bind(&delivery.webhook_id)
        .bind(&delivery.topic)
        .bind(&delivery.event_id)
        .bind(delivery.body_sha256.as_slice())
        .bind(delivery.headers.as_str())
        .bind(&*delivery.body);
    query.execute(connection).await.map(drop)
}
