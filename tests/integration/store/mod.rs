//! The store, on both databases: one contract, and each behaviour of it shown on SQLite and on PostgreSQL.
//!
//! To add a behaviour, add a test with [`on_both`](tradewind_tests::stores::on_both) to the module of its idea.

mod batches;
mod deliveries;
mod deploy;
mod history;
mod jobs;
mod leases;
mod lines;
mod log;
mod memory;
mod odd_texts;
mod opening;
mod queries;
mod query_property;
mod queue;
mod records;
mod usage;
mod watches;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tradewind_tests::stores::Place;

/// Does to a database what nobody does through the store.
pub(crate) async fn run_sql(place: &Place, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match place {
        Place::Sqlite(_) => {
            let url = format!("sqlite:{}", place.file().display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
        Place::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }
}
