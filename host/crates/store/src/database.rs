//! The two databases: how they are opened, read and migrated.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres, Sqlite, SqlitePool};
use tokio::time::timeout;

use crate::error::StoreError;
use crate::link::{Engine, Link, Row, Statement, Value};
use crate::local::{Local, Work};
use crate::panics::caught;
use crate::private;
use crate::reader::READERS;

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file of the embedded database.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

impl Location {
    /// Reads `sqlite:path/to/file.db` or `postgres://user@host/database`.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError::Location { reason };
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(wrong("`sqlite:` names no file; hint: `sqlite:tradewind.db`".to_owned())),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|error| wrong(format!("this is no address of a PostgreSQL database: {error}")))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        Err(wrong("hint: it is `sqlite:tradewind.db` or `postgres://user@host/database`".to_owned()))
    }

    /// Which database.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }
}

/// How long a writer waits for another process that holds the file. 5 seconds: a batch takes milliseconds, a backup
/// seconds.
const SQLITE_BUSY_MAX: Duration = Duration::from_secs(5);

/// SQLite's code for a file that somebody else holds.
const SQLITE_BUSY: u32 = 5;

/// How long it waits before it looks again. 10 milliseconds: some fsyncs.
const SQLITE_BUSY_PAUSE: Duration = Duration::from_millis(10);

/// How long a reader waits for a connection. 5 seconds: as long as a platform waits for its answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Connections that read, beside those that the rounds keep. 4 on SQLite, where each is a thread and two cores are busy; 8
/// on PostgreSQL, where each waits for the network and the rounds take theirs from the same pool.
const SQLITE_READERS: u32 = 4;
const POSTGRES_READERS: u32 = 8;

/// What the writer of SQLite keeps of the file. 16 MiB: see [`pragmas`].
const SQLITE_WRITER_CACHE_KIB: u32 = 16_384;

/// What a reader of SQLite keeps of the file. 1 MiB: every commit of the writer makes it forget all of it.
const SQLITE_READER_CACHE_KIB: u32 = 1_024;

/// Pages of SQLite's log at which the writer writes it back itself. 16,000, 62 MiB: what [`crate::writeback`] does beside it
/// is not enough where commits never pause, and each time that it has to be ended commits wait for the disk.
pub(crate) const SQLITE_LOG_PAGES: u32 = 16_000;

/// Statements that a connection keeps prepared. 200: each of the store's own, with and without an answer, and room for
/// queries.
const STATEMENTS_MAX: usize = 200;

/// The readers of a database, and what it takes to connect a writer.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite { path: Arc<Path>, readers: SqlitePool },
    Postgres { options: Box<PgConnectOptions>, readers: PgPool },
}

/// A connection of its own.
pub(crate) enum Connection {
    Local(Local),
    Postgres(PgConnection),
}

/// A connection for reading: one that was lent by the pool, or one of the caller's own.
pub(crate) enum Reader {
    Pooled(PoolConnection<Sqlite>),
    Local(Local),
    Postgres(PoolConnection<Postgres>),
}

impl Reader {
    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Pooled(connection) => Link::Pooled(connection),
            Self::Local(connection) => Link::Local(connection),
            Self::Postgres(connection) => Link::Postgres(connection),
        }
    }

    /// Does work on it, and gives it back unless it failed: what is left of it is not known then.
    pub(crate) async fn lend<W: Work>(self, work: W) -> sqlx::Result<(Self, W::Done)> {
        match self {
            Self::Local(local) => local.lend(work).await.map(|(local, done)| (Self::Local(local), done)),
            mut lent => {
                let done = caught(work.on(&mut lent.link())).await;
                Ok((lent, done.unwrap_or(Err(sqlx::Error::WorkerCrashed))?))
            }
        }
    }

    /// Gives it back to the pool, or closes it.
    pub(crate) async fn close(self) -> sqlx::Result<()> {
        match self {
            Self::Local(local) => local.close().await,
            Self::Pooled(_) | Self::Postgres(_) => Ok(()),
        }
    }
}

impl Connection {
    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Local(connection) => Link::Local(connection),
            Self::Postgres(connection) => Link::Postgres(connection),
        }
    }

    /// Does work on it, and gives it back unless it failed: what is left of it is not known then.
    pub(crate) async fn lend<W: Work>(self, work: W) -> sqlx::Result<(Self, W::Done)> {
        match self {
            Self::Local(local) => local.lend(work).await.map(|(local, done)| (Self::Local(local), done)),
            Self::Postgres(mut connection) => {
                let done = caught(work.on(&mut Link::Postgres(&mut connection))).await;
                Ok((Self::Postgres(connection), done.unwrap_or(Err(sqlx::Error::WorkerCrashed))?))
            }
        }
    }

    /// Says goodbye to the server; whoever closes a file of SQLite last also writes its log back.
    pub(crate) async fn close(self) -> sqlx::Result<()> {
        match self {
            Self::Local(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }
}

impl Database {
    /// Connects lazily: a server that is away is an error of the first statement, not of this.
    pub(crate) fn new(location: &Location) -> Self {
        match location {
            Location::Sqlite(path) => {
                let readers = SqlitePoolOptions::new().max_connections(SQLITE_READERS).acquire_timeout(CONNECT_MAX);
                let readers = readers.connect_lazy_with(sqlite_options(path, Whose::Reader));
                Self::Sqlite { path: path.as_path().into(), readers }
            }
            Location::Postgres(options) => {
                let options = (**options)
                    .clone()
                    .application_name("tradewind")
                    // It compiles queries that look expensive, for longer than they take.
                    .options([("jit", "off")])
                    .statement_cache_capacity(STATEMENTS_MAX)
                    .disable_statement_logging();
                let readers =
                    PgPoolOptions::new().max_connections(READERS + POSTGRES_READERS).acquire_timeout(CONNECT_MAX);
                // A plan that was made for an empty table is a bad one for the full table, and PostgreSQL keeps plans until it
                // looks at the table again, a minute later. Readers plan each time; see the committer for what writers do.
                let planning = options.clone().options([("plan_cache_mode", "force_custom_plan")]);
                Self::Postgres { readers: readers.connect_lazy_with(planning), options: Box::new(options) }
            }
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres { .. } => Engine::Postgres,
        }
    }

    /// A new connection of the caller's own.
    pub(crate) async fn connect(&self) -> sqlx::Result<Connection> {
        match self {
            Self::Sqlite { path, .. } => open_local(path, Whose::Writer).await.map(Connection::Local),
            Self::Postgres { options, .. } => options.connect().await.map(Connection::Postgres),
        }
    }

    /// A new connection for writing: a commit is on disk when it returns, whatever the server's default is. A server may
    /// ask for more than `on`, and gets it.
    pub(crate) async fn connect_writer(&self) -> sqlx::Result<Connection> {
        let mut connection = self.connect().await?;
        if let Connection::Postgres(_) = connection {
            let mut link = connection.link();
            let rows = link.fetch_text("SELECT current_setting('synchronous_commit')", &[]).await?;
            if rows[0].text(0)? == "off" {
                link.run("SET synchronous_commit = on").await?;
            }
        }
        Ok(connection)
    }

    /// A new connection for queries of plugins: it writes nothing, no statement runs longer than that, none takes more than
    /// one process of the server.
    pub(crate) async fn connect_for_queries(&self, ms_max: u64) -> sqlx::Result<Connection> {
        match self {
            Self::Sqlite { path, .. } => open_local(path, Whose::Reader).await.map(Connection::Local),
            Self::Postgres { options, .. } => {
                let statement_timeout = ms_max.to_string();
                let options = options.as_ref().clone().options([
                    ("plan_cache_mode", "force_custom_plan"),
                    ("default_transaction_read_only", "on"),
                    ("max_parallel_workers_per_gather", "0"),
                    ("statement_timeout", &statement_timeout),
                ]);
                options.connect().await.map(Connection::Postgres)
            }
        }
    }

    pub(crate) async fn reader(&self) -> sqlx::Result<Reader> {
        match self {
            Self::Sqlite { readers, .. } => readers.acquire().await.map(Reader::Pooled),
            Self::Postgres { readers, .. } => readers.acquire().await.map(Reader::Postgres),
        }
    }

    /// A connection for whoever asks again and again: on SQLite one of the caller's own.
    pub(crate) async fn own_reader(&self) -> sqlx::Result<Reader> {
        match self {
            Self::Sqlite { path, .. } => timeout(CONNECT_MAX, open_local(path, Whose::Reader))
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut))
                .map(Reader::Local),
            Self::Postgres { .. } => self.reader().await,
        }
    }

    pub(crate) async fn fetch(&self, statement: &'static Statement, values: &[Value<'_>]) -> sqlx::Result<Vec<Row>> {
        self.reader().await?.link().fetch(statement, values).await
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { readers, .. } => readers.close().await,
            Self::Postgres { readers, .. } => readers.close().await,
        }
    }

    /// Migrations that the database has, and those that this program knows.
    pub(crate) async fn migration_state(&self) -> Result<MigrationState, StoreError> {
        let known = migrations(self.engine()).iter().map(|migration| migration.version).max().unwrap_or_default();
        let connection = self.connect().await.map_err(StoreError::connecting)?;
        let applied = connection.lend(ReadMigrations).await;
        let reading = |source| StoreError::database("reading which migrations are applied", source);
        let (connection, (applied, encoding)) = applied.map_err(reading)?;
        let _ = connection.close().await;
        if encoding != "UTF8" {
            return Err(StoreError::Encoding { encoding });
        }
        Ok(MigrationState { applied, known })
    }

    /// Brings the tables to what this program knows.
    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        let migrator = Migrator::with_migrations(migrations(self.engine()));
        let connecting = StoreError::connecting;
        let migrated = match self {
            Self::Sqlite { path, .. } => {
                // The file may be new, and somebody else may be turning it to WAL.
                open_local(path, Whose::Writer).await.map_err(connecting)?.close().await.map_err(connecting)?;
                let mut connection = sqlite_options(path, Whose::Writer).connect().await.map_err(connecting)?;
                let migrated = migrator.run(&mut connection).await;
                let _ = connection.close().await;
                migrated
            }
            Self::Postgres { options, .. } => {
                let mut connection = options.connect().await.map_err(connecting)?;
                let migrated = migrator.run(&mut connection).await;
                let _ = connection.close().await;
                migrated
            }
        };
        migrated.map_err(StoreError::Migration)
    }
}

/// Reads the newest migration that is applied, and the encoding of texts.
struct ReadMigrations;

impl Work for ReadMigrations {
    type Done = (i64, String);

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        // Differs because each calls it in its own way, and only a server may have others.
        let encoding = match link.engine() {
            Engine::Sqlite => "SELECT 'UTF8'",
            Engine::Postgres => "SELECT current_setting('server_encoding')",
        };
        let encoding = link.fetch_text(encoding, &[]).await?[0].text(0)?.to_owned();
        // The table is sqlx's own; a database without it was never migrated.
        let exists = match link.engine() {
            Engine::Sqlite => "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'",
            Engine::Postgres => "SELECT count(*) FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')",
        };
        if link.fetch_text(exists, &[]).await?[0].int(0)? == 0 {
            return Ok((0, encoding));
        }
        let newest = "SELECT COALESCE(max(version), 0) FROM _sqlx_migrations WHERE success";
        Ok((link.fetch_text(newest, &[]).await?[0].int(0)?, encoding))
    }
}

/// How far a database is migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// The newest migration that was applied, 0 for none.
    pub applied: i64,
    /// The newest that this program knows.
    pub known: i64,
}

/// What a connection to SQLite is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Writer,
    Reader,
}

/// How a connection to SQLite is set up.
///
/// WAL: readers and the writer do not wait for each other. FULL: a commit is on disk when it returns, which is what a 200
/// promises. What a checkpoint leaves of the log is cut to 64 MiB, so that a burst does not keep its disk for ever. The writer
/// keeps 16 MiB of pages: the upper levels of all indexes of some millions of rows.
fn pragmas(whose: Whose) -> Vec<(&'static str, String)> {
    let writes = whose == Whose::Writer;
    let cache_kib = if writes { SQLITE_WRITER_CACHE_KIB } else { SQLITE_READER_CACHE_KIB };
    let texts = [
        ("busy_timeout", SQLITE_BUSY_MAX.as_millis().to_string()),
        ("journal_mode", "wal".to_owned()),
        ("synchronous", "full".to_owned()),
        ("foreign_keys", "off".to_owned()),
        ("wal_autocheckpoint", SQLITE_LOG_PAGES.to_string()),
        ("cache_size", format!("-{cache_kib}")),
        ("journal_size_limit", (64 << 20).to_string()),
        ("temp_store", "memory".to_owned()),
        ("query_only", if writes { "off" } else { "on" }.to_owned()),
    ];
    texts.into()
}

/// The file as sqlx opens it, for the pool and for migrations.
fn sqlite_options(path: &Path, whose: Whose) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(SQLITE_BUSY_MAX)
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging();
    pragmas(whose).into_iter().fold(options, |options, (name, value)| options.pragma(name, value))
}

/// Opens the file. Whoever turns a new file to WAL holds off all others, and SQLite does not wait for that by itself.
async fn open_local(path: &Arc<Path>, whose: Whose) -> sqlx::Result<Local> {
    let open = || {
        let path = Arc::clone(path);
        let open = move || {
            if whose == Whose::Writer {
                private::make(&path).map_err(sqlx::Error::Io)?;
            }
            Local::open(&path, whose == Whose::Writer, &pragmas(whose), STATEMENTS_MAX)
        };
        async { tokio::task::spawn_blocking(open).await.unwrap_or(Err(sqlx::Error::WorkerCrashed)) }
    };
    // The last byte of an extended code is the code.
    let is_code = |code: &str| code.parse().is_ok_and(|code: u32| code & 0xff == SQLITE_BUSY);
    let is_busy = |error: &sqlx::Error| {
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| is_code(&code))
    };
    let began = Instant::now();
    loop {
        match open().await {
            Err(error) if is_busy(&error) && began.elapsed() < SQLITE_BUSY_MAX => {
                tokio::time::sleep(SQLITE_BUSY_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        [
            ($version, $name, include_str!(concat!("../../../../migrations/sqlite/", $name, ".sql"))),
            ($version, $name, include_str!(concat!("../../../../migrations/postgres/", $name, ".sql"))),
        ]
    };
}

/// Every migration, for both databases. A released one never changes.
const MIGRATIONS: [[(i64, &str, &str); 2]; 1] = [migration!(1, "0001_store")];

fn migrations(engine: Engine) -> Vec<Migration> {
    let for_engine =
        MIGRATIONS.iter().map(|[sqlite, postgres]| if engine == Engine::Sqlite { sqlite } else { postgres });
    for_engine
        .map(|&(version, name, sql)| {
            let sql = sqlx::SqlSafeStr::into_sql_str(sql);
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        })
        .collect()
}
