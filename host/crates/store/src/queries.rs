//! Queries of plugins: read-only connections of their own, one query of a shop at a time, and limits that the database
//! itself enforces.
//!
//! Nothing else runs on these connections, so that no query delays leases, the schedule or an operator. A query that reaches
//! a limit, or whose caller was cancelled, is ended inside of the database: by SQLite's progress handler, by PostgreSQL's
//! `statement_timeout` and `pg_cancel_backend`. Its turn ends when it has ended, not when its caller was answered.
//!
//! To add a kind of query, implement [`Ask`] and pass it to [`Queries::run`].

mod line;
mod meter;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tradewind_model::Shop;

pub(crate) use meter::Meter;
use meter::Reached;

use crate::database::{Connection, Database};
use crate::error::{Blame, QueryLimit, StoreError, blame, is_out_of_resources};
use crate::link::Link;
use crate::local::Work;

use line::Line;

/// Default of `query_ms_max`, milliseconds that a query of a plugin may run. 2,000: what a call may compute; a query that an
/// index serves takes a few.
pub const QUERY_MS_MAX: u64 = 2_000;

/// `query_steps_max`: steps of SQLite's virtual machine in one query. 100 million: some five million records that are looked at,
/// or a million with a filter of several conditions. PostgreSQL has the time alone.
pub const QUERY_STEPS_MAX: u64 = 100_000_000;

/// `query_result_bytes_max`: bytes that one query may read into memory. 64 MiB: a whole page of what a sandbox takes at once, beside
/// all that a unit of work may have changed.
pub const QUERY_RESULT_BYTES_MAX: usize = 64 << 20;

/// `queries_waiting_max`: queries of one shop that wait for its turn. 256: as many as there are jobs in flight.
pub const QUERIES_WAITING_MAX: usize = 256;

/// Queries that run at the same time, each on a connection of its own. 4: two for each of two cores, or waits for a server.
const QUERIES_AT_ONCE_MAX: usize = 4;

/// Queries of one app that run at the same time. 2: half of them, so that an app never waits for the queries of one other.
const APP_QUERIES_AT_ONCE_MAX: usize = 2;

/// Time to connect, or to have a query of PostgreSQL cancelled. 5 seconds, as for other readers.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Time for a server to end a statement that was cancelled. 60 seconds: between two places where it looks at that it may parse a large
/// document, beside others that do. Until then the shop has no other query.
const ENDING_MAX: Duration = Duration::from_mins(1);

/// Question that one query asks, by one or more statements. Cloned when it is asked again on a new connection.
pub(crate) trait Ask: Clone + Send + 'static {
    /// The answer.
    type Found: Send + 'static;

    /// Asks it, and lets `meter` count what is read.
    fn ask(self, link: &mut Link<'_>, meter: &Meter) -> impl Future<Output = sqlx::Result<Self::Found>> + Send;
}

/// Runs queries of plugins.
#[derive(Debug)]
pub(crate) struct Queries {
    connections: Arc<Connections>,
    line: Line,
    /// Where queries go on when their callers are cancelled: the executor that opened the store.
    executor: Handle,
}

impl Queries {
    /// Connects when there is something to ask.
    pub(crate) fn new(database: &Database) -> Self {
        let connections = Connections { database: database.clone(), ms_max: QUERY_MS_MAX, idle: Mutex::default() };
        Self { connections: Arc::new(connections), line: Line::default(), executor: Handle::current() }
    }

    /// Changes `query_ms_max`. Connections that are open are closed.
    pub(crate) fn set_ms_max(&mut self, ms_max: u64) {
        let database = self.connections.database.clone();
        self.connections = Arc::new(Connections { database, ms_max, idle: Mutex::default() });
    }

    /// Runs a query when it is the shop's turn. Dropping the future ends the query.
    pub(crate) async fn run<A: Ask>(&self, shop: &Shop, doing: &'static str, ask: A) -> Result<A::Found, StoreError> {
        let turn = self.line.turn(shop).await?;
        let meter = Arc::new(Meter::new(Duration::from_millis(self.connections.ms_max)));
        let _abandons = Abandons(Arc::clone(&meter));
        let (answer, answered) = oneshot::channel();
        let (connections, metered) = (Arc::clone(&self.connections), Arc::clone(&meter));
        self.executor.spawn(async move {
            let found = connections.run(ask, &metered).await;
            drop(turn);
            // It fails when the caller was cancelled.
            let _ = answer.send(found);
        });
        let found = answered.await.unwrap_or(Err(sqlx::Error::WorkerCrashed));
        found.map_err(|source| match meter.limit() {
            Some(limit) => StoreError::Query(limit.named(self.connections.ms_max)),
            None if is_out_of_resources(&source) => {
                StoreError::Query(QueryLimit::Resources { reason: source.to_string() })
            }
            None if blame(&source) == Blame::Values => {
                StoreError::Query(QueryLimit::Refused { reason: source.to_string() })
            }
            None => StoreError::database(doing, source),
        })
    }

    /// Waits for the queries that run, and closes their connections.
    pub(crate) async fn close(self) {
        self.line.close().await;
        for Idle { connection, .. } in self.connections.idle() {
            let _ = connection.close().await;
        }
    }
}

/// Ends a query whose caller is not there any more.
struct Abandons(Arc<Meter>);

impl Drop for Abandons {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The connections that no query is using now.
struct Connections {
    database: Database,
    ms_max: u64,
    idle: Mutex<Vec<Idle>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("ms_max", &self.ms_max).finish_non_exhaustive()
    }
}

struct Idle {
    connection: Connection,
    /// The server's process, to cancel what it does; none on SQLite.
    process: Option<i64>,
}

impl Connections {
    fn idle(&self) -> Vec<Idle> {
        std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks on a connection that is open, again on a new one when that turns out to be broken.
    async fn run<A: Ask>(&self, ask: A, meter: &Arc<Meter>) -> sqlx::Result<A::Found> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(kept) = kept {
            match self.run_on(kept, ask.clone(), meter).await {
                Err(error)
                    if meter.limit().is_none() && blame(&error) == Blame::Database && !is_out_of_resources(&error) => {}
                found => return found,
            }
        }
        let connected = timeout(CONNECT_MAX, self.connect()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        self.run_on(connected?, ask, meter).await
    }

    async fn connect(&self) -> sqlx::Result<Idle> {
        let mut connection = self.database.connect_for_queries(self.ms_max).await?;
        let process = match &mut connection {
            Connection::Local(_) => None,
            Connection::Postgres(_) => {
                Some(connection.link().fetch_text("SELECT CAST(pg_backend_pid() AS bigint)", &[]).await?[0].int(0)?)
            }
        };
        Ok(Idle { connection, process })
    }

    async fn run_on<A: Ask>(&self, idle: Idle, ask: A, meter: &Arc<Meter>) -> sqlx::Result<A::Found> {
        let Idle { connection, process } = idle;
        meter.begin();
        let mut lent = std::pin::pin!(connection.lend(Metered { ask, meter: Arc::clone(meter) }));
        let (connection, found) = match process {
            None => lent.await?,
            Some(process) => tokio::select! {
                biased;
                lent = &mut lent => lent?,
                () = meter.over() => {
                    let cancelled = self.cancel(process).await;
                    // A server that does not answer ends the statement itself, see `statement_timeout`.
                    let ended = timeout(ENDING_MAX, lent).await;
                    // The connection is not used again: the cancellation may come late, and would hit the next query.
                    return cancelled.and(ended.unwrap_or(Err(sqlx::Error::WorkerCrashed)).map(|(_, found)| found)?);
                }
            },
        };
        let is_usable = match (&found, process, meter.limit()) {
            // SQLite has ended the statement, and so has the server at its own limit.
            (Ok(_), ..) | (Err(_), None, Some(_)) | (Err(_), Some(_), Some(Reached::Time)) => true,
            // The server may go on to send what nobody reads.
            (Err(_), ..) => false,
        };
        if is_usable {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(Idle { connection, process });
        }
        found
    }

    /// Ends what another connection does.
    async fn cancel(&self, process: i64) -> sqlx::Result<()> {
        let cancel = async {
            let mut connection = self.database.connect().await?;
            connection.link().fetch_text(&format!("SELECT pg_cancel_backend({process})"), &[]).await?;
            connection.close().await
        };
        timeout(CONNECT_MAX, cancel).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}

/// A question that is watched while it is asked. Its errors are answers: the connection is given back with them.
struct Metered<A> {
    ask: A,
    meter: Arc<Meter>,
}

impl<A: Ask> Work for Metered<A> {
    type Done = sqlx::Result<A::Found>;

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        let Self { ask, meter } = self;
        if let Link::Local(local) = link {
            let watching = Arc::clone(&meter);
            local.watch(meter::STEPS_PER_LOOK, move || watching.look())?;
        }
        let found = ask.ask(link, &meter).await;
        if let Link::Local(local) = link {
            local.unwatch();
        }
        if let Err(error) = &found
            && is_timeout(error)
        {
            meter.time_out();
        }
        Ok(found)
    }
}

/// Returns true if PostgreSQL ended a statement at its `statement_timeout`, or because it was cancelled.
fn is_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "57014")
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::{Location, Store};

    /// A statement that never ends by itself; or one that does at once.
    #[derive(Clone)]
    struct Statement {
        is_endless: bool,
        started: Option<Arc<tokio::sync::Notify>>,
    }

    impl Ask for Statement {
        type Found = ();

        async fn ask(self, link: &mut Link<'_>, _: &Meter) -> sqlx::Result<()> {
            if let Some(started) = self.started {
                started.notify_one();
            }
            let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
            link.fetch_text(if self.is_endless { endless } else { "SELECT 1" }, &[]).await.map(drop)
        }
    }

    const QUICK: Statement = Statement { is_endless: false, started: None };
    const ENDLESS: Statement = Statement { is_endless: true, started: None };

    async fn opened(folder: &tempfile::TempDir, query_ms_max: u64) -> Store {
        let location = Location::Sqlite(folder.path().join("store.db"));
        Store::migrate(&location).await.unwrap();
        Store::open(&location).await.unwrap().with_query_ms_max(query_ms_max)
    }

    fn shop() -> Shop {
        Shop::new("app", "shop")
    }

    #[tokio::test]
    async fn a_statement_ends_at_its_time_and_at_its_steps() {
        let folder = tempfile::tempdir().unwrap();
        let cases =
            [(20, QueryLimit::Time { ms_max: 20 }), (u64::from(u32::MAX), QueryLimit::Steps { max: QUERY_STEPS_MAX })];
        for (ms_max, expected) in cases {
            let store = opened(&folder, ms_max).await;
            let ended = store.queries.run(&shop(), "asking", ENDLESS).await.unwrap_err();
            assert!(matches!(ended, StoreError::Query(limit) if limit == expected), "{expected:?}");
            store.queries.run(&shop(), "asking", QUICK).await.unwrap();
            assert_eq!(store.queries.connections.idle().len(), 1, "the connection is used again");
            store.close().await;
        }
    }

    #[tokio::test]
    async fn a_statement_ends_with_its_caller() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(&folder, u64::from(u32::MAX)).await;
        let started = Arc::new(tokio::sync::Notify::new());
        let endless = Statement { is_endless: true, started: Some(Arc::clone(&started)) };
        let shop = shop();
        let mut asked = Box::pin(store.queries.run(&shop, "asking", endless));
        std::future::poll_fn(|cx| {
            assert!(asked.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        started.notified().await;
        drop(asked);
        // It is the shop's turn only when the one before has ended.
        store.queries.run(&shop, "asking", QUICK).await.unwrap();
        store.close().await;
    }
}
