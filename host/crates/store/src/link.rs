//! One way of asking both databases: statements, values, rows.
//!
//! A [`Statement`] has one text for both databases wherever they agree. `{rows}` in it stands for a table of values that a
//! [`Table`] fills: arrays that are unnested on PostgreSQL, a `VALUES` list on SQLite. Use it as
//! `WITH r (a, b) AS ({rows}) …`. Rows of nulls may be among them and must do nothing.
//!
//! To add a statement, declare a `static` in the module that uses it and list it in [`crate::STATEMENTS`], so that the tests
//! which prepare each on both databases, and give each a row of nulls, find it.

use std::sync::OnceLock;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, SqlSafeStr as _, Sqlite, SqliteConnection};

/// The kind of a column of `{rows}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Json,
    Bytes,
}

/// One SQL statement.
#[derive(Debug)]
pub struct Statement {
    /// For the test's message.
    pub(crate) name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    kinds: &'static [Kind],
    /// The text with its rows, for each size of [`CHUNKS`] on SQLite and in the last place for PostgreSQL.
    texts: [OnceLock<String>; CHUNKS.len() + 1],
    /// The same without what comes back.
    silent: [OnceLock<String>; CHUNKS.len() + 1],
}

/// How many rows a statement takes at once on SQLite, each prepared once. Fewer rows are filled up with nulls: a statement
/// more costs two changes of threads, a row of nulls next to nothing.
const CHUNKS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

impl Statement {
    /// One text for both.
    pub(crate) const fn both(name: &'static str, sql: &'static str) -> Self {
        Self::rows(name, &[], sql)
    }

    /// One text for both, with rows.
    pub(crate) const fn rows(name: &'static str, kinds: &'static [Kind], sql: &'static str) -> Self {
        Self::differs(name, kinds, sql, sql)
    }

    /// Two texts. Say beside it why they differ.
    pub(crate) const fn differs(
        name: &'static str,
        kinds: &'static [Kind],
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Self {
        let texts = [const { OnceLock::new() }; CHUNKS.len() + 1];
        let silent = [const { OnceLock::new() }; CHUNKS.len() + 1];
        Self { name, sqlite, postgres, kinds, texts, silent }
    }

    fn for_postgres(&'static self) -> &'static str {
        if self.kinds.is_empty() {
            return self.postgres;
        }
        self.texts[CHUNKS.len()].get_or_init(|| {
            let arrays: Vec<_> = (1..).zip(self.kinds).map(|(at, kind)| format!("${at}::{}", kind.array())).collect();
            self.postgres.replace("{rows}", &format!("SELECT * FROM unnest({})", arrays.join(", ")))
        })
    }

    /// The text for `CHUNKS[chunk]` rows.
    fn for_sqlite(&'static self, chunk: usize) -> &'static str {
        if self.kinds.is_empty() {
            return self.sqlite;
        }
        self.texts[chunk].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.kinds.len()].join(", "));
            self.sqlite.replace("{rows}", &format!("VALUES {}", vec![row; CHUNKS[chunk]].join(", ")))
        })
    }

    /// A text without its `RETURNING`: rows that nobody looks at cost as much as those that are written.
    fn without_answer(&'static self, place: usize, text: &'static str) -> &'static str {
        let end = text.rfind(" RETURNING ").unwrap_or(text.len());
        self.silent[place].get_or_init(|| text[..end].to_owned())
    }

    /// Every text that the database will ever be asked to prepare.
    pub(crate) fn texts(&'static self, engine: Engine) -> Vec<&'static str> {
        let with_rows: Vec<(usize, &'static str)> = match engine {
            _ if self.kinds.is_empty() => Vec::new(),
            Engine::Postgres => vec![(CHUNKS.len(), self.for_postgres())],
            Engine::Sqlite => (0..CHUNKS.len()).map(|chunk| (chunk, self.for_sqlite(chunk))).collect(),
        };
        if with_rows.is_empty() {
            return vec![if engine == Engine::Sqlite { self.sqlite } else { self.postgres }];
        }
        let silent = with_rows.iter().map(|&(place, text)| self.without_answer(place, text));
        let mut texts: Vec<_> = with_rows.iter().map(|(_, text)| *text).chain(silent).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }
}

impl Kind {
    fn array(self) -> &'static str {
        match self {
            Self::Int => "bigint[]",
            Self::Text => "text[]",
            // Bound as text, so that no text is parsed on our side.
            Self::Json => "text[]::json[]",
            Self::Bytes => "bytea[]",
        }
    }
}

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The embedded one.
    Sqlite,
    /// The one for several hosts.
    Postgres,
}

/// A value that is bound to a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Int(Option<i64>),
    Real(f64),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}

/// The rows that fill a statement's `{rows}`, row after row.
#[derive(Debug, Default)]
pub(crate) struct Table<'a> {
    values: Vec<Value<'a>>,
    len: usize,
}

impl<'a> Table<'a> {
    pub(crate) fn push<const N: usize>(&mut self, row: [Value<'a>; N]) {
        self.values.extend(row);
        self.len += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A connection that a statement runs on.
pub(crate) enum Link<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// One row of an answer.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Reads a column of either database.
macro_rules! column {
    ($row:expr, $at:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get($at),
            Row::Postgres(row) => row.try_get($at),
        }
    };
}

impl Row {
    pub(crate) fn int(&self, at: usize) -> sqlx::Result<i64> {
        column!(self, at)
    }

    pub(crate) fn maybe_int(&self, at: usize) -> sqlx::Result<Option<i64>> {
        column!(self, at)
    }

    pub(crate) fn text(&self, at: usize) -> sqlx::Result<&str> {
        column!(self, at)
    }

    pub(crate) fn maybe_text(&self, at: usize) -> sqlx::Result<Option<&str>> {
        column!(self, at)
    }

    pub(crate) fn bytes(&self, at: usize) -> sqlx::Result<&[u8]> {
        column!(self, at)
    }
}

impl Link<'_> {
    /// Runs a statement without rows and reads its answer.
    pub(crate) async fn fetch(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> sqlx::Result<Vec<Row>> {
        match self {
            Self::Sqlite(link) => {
                let query = values.iter().fold(sqlx::query(statement.sqlite), bind_sqlite);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(link) => {
                let query = values.iter().fold(sqlx::query(statement.postgres), bind_postgres);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement over a table of values and reads its answer.
    pub(crate) async fn fetch_rows(
        &mut self,
        statement: &'static Statement,
        table: &Table<'_>,
    ) -> sqlx::Result<Vec<Row>> {
        let width = statement.kinds.len();
        debug_assert_eq!(table.values.len(), table.len * width, "{}", statement.name);
        if table.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(link) => {
                let mut answer = Vec::new();
                for (chunk, values) in chunks(&table.values, width) {
                    let query = bind_rows(statement.for_sqlite(chunk), chunk, values, width);
                    answer.extend(query.fetch_all(&mut **link).await?.into_iter().map(Row::Sqlite));
                }
                Ok(answer)
            }
            Self::Postgres(link) => {
                let columns = statement.kinds.iter().enumerate();
                let query = columns.fold(sqlx::query(statement.for_postgres()), |query, (at, kind)| {
                    bind_array(query, *kind, table.values.iter().skip(at).step_by(width))
                });
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement over a table of values and answers how many rows it wrote.
    pub(crate) async fn count_rows(&mut self, statement: &'static Statement, table: &Table<'_>) -> sqlx::Result<usize> {
        let width = statement.kinds.len();
        let mut count = 0_u64;
        if table.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Sqlite(link) => {
                for (chunk, values) in chunks(&table.values, width) {
                    let text = statement.without_answer(chunk, statement.for_sqlite(chunk));
                    let query = bind_rows(text, chunk, values, width);
                    count += query.execute(&mut **link).await?.rows_affected();
                }
            }
            Self::Postgres(link) => {
                let text = statement.without_answer(CHUNKS.len(), statement.for_postgres());
                let query = statement.kinds.iter().enumerate().fold(sqlx::query(text), |query, (at, kind)| {
                    bind_array(query, *kind, table.values.iter().skip(at).step_by(width))
                });
                count += query.execute(&mut **link).await?.rows_affected();
            }
        }
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Runs a statement that was put together at run time, and reads its answer. `sql` must hold no value from outside.
    pub(crate) async fn fetch_text(&mut self, sql: &str, values: &[Value<'_>]) -> sqlx::Result<Vec<Row>> {
        let sql = AssertSqlSafe(sql).into_sql_str();
        match self {
            Self::Sqlite(link) => {
                let query = values.iter().fold(sqlx::query(sql), bind_sqlite);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(link) => {
                let query = values.iter().fold(sqlx::query(sql), bind_postgres);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Has every text of a statement prepared, and runs none.
    pub(crate) async fn prepare(&mut self, statement: &'static Statement) -> sqlx::Result<()> {
        use sqlx::Executor as _;
        match self {
            Self::Sqlite(link) => {
                for text in statement.texts(Engine::Sqlite) {
                    link.prepare(text.into_sql_str()).await?;
                }
            }
            Self::Postgres(link) => {
                for text in statement.texts(Engine::Postgres) {
                    link.prepare(text.into_sql_str()).await?;
                }
            }
        }
        Ok(())
    }

    /// Runs statements that take no values and give no answer: transactions, definitions. `sql` must hold no value from
    /// outside.
    pub(crate) async fn run(&mut self, sql: &str) -> sqlx::Result<()> {
        use sqlx::Executor as _;
        let sql = AssertSqlSafe(sql).into_sql_str();
        match self {
            Self::Sqlite(link) => link.execute(sqlx::raw_sql(sql)).await.map(drop),
            Self::Postgres(link) => link.execute(sqlx::raw_sql(sql)).await.map(drop),
        }
    }
}

/// Cuts rows into pieces of at most the largest of [`CHUNKS`]; answers each with the place of the size that it takes.
fn chunks<'v, 'a>(values: &'v [Value<'a>], width: usize) -> impl Iterator<Item = (usize, &'v [Value<'a>])> {
    let largest = CHUNKS.len() - 1;
    values.chunks(CHUNKS[largest] * width).map(move |piece| {
        let chunk = CHUNKS.partition_point(|size| size * width < piece.len());
        (chunk, piece)
    })
}

/// Binds a piece, filled up with nulls.
fn bind_rows<'q>(
    text: &'static str,
    chunk: usize,
    values: &[Value<'_>],
    width: usize,
) -> Query<'q, Sqlite, SqliteArguments> {
    let query = values.iter().fold(sqlx::query(text), bind_sqlite);
    (values.len()..CHUNKS[chunk] * width).fold(query, |query, _| query.bind(None::<i64>))
}

fn bind_sqlite<'q>(query: Query<'q, Sqlite, SqliteArguments>, value: &Value<'_>) -> Query<'q, Sqlite, SqliteArguments> {
    match *value {
        Value::Int(value) => query.bind(value),
        Value::Real(value) => query.bind(value),
        Value::Text(value) => query.bind(value.map(str::to_owned)),
        Value::Bytes(value) => query.bind(value.map(<[u8]>::to_vec)),
    }
}

fn bind_postgres<'q>(query: Query<'q, Postgres, PgArguments>, value: &Value<'_>) -> Query<'q, Postgres, PgArguments> {
    match *value {
        Value::Int(value) => query.bind(value),
        Value::Real(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    }
}

fn bind_array<'q, 'v>(
    query: Query<'q, Postgres, PgArguments>,
    kind: Kind,
    column: impl Iterator<Item = &'v Value<'v>>,
) -> Query<'q, Postgres, PgArguments> {
    match kind {
        Kind::Int => query.bind(column.map(Value::int).collect::<Vec<_>>()),
        Kind::Text | Kind::Json => query.bind(column.map(Value::text).collect::<Vec<_>>()),
        Kind::Bytes => query.bind(column.map(Value::bytes).collect::<Vec<_>>()),
    }
}

impl<'a> Value<'a> {
    fn int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => *value,
            _ => unreachable!("a statement's kinds say what its rows hold"),
        }
    }

    fn text(&self) -> Option<&'a str> {
        match self {
            Value::Text(value) => *value,
            _ => unreachable!("a statement's kinds say what its rows hold"),
        }
    }

    fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(value) => *value,
            _ => unreachable!("a statement's kinds say what its rows hold"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Connection, Database, Location};
    use crate::{STATEMENTS, Store};

    #[tokio::test]
    async fn a_row_of_nulls_does_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("nulls.db"));
        Store::migrate(&location).await.unwrap();
        let Connection::Sqlite(mut connection) = Database::new(&location).connect().await.unwrap() else { panic!() };
        for statement in STATEMENTS.iter().copied().filter(|statement| !statement.kinds.is_empty()) {
            let (name, width, text) = (statement.name, statement.kinds.len(), statement.for_sqlite(0));
            let answer = bind_rows(text, 0, &[], width).fetch_all(&mut connection).await;
            assert!(answer.unwrap_or_else(|error| panic!("{name}: {error}")).is_empty(), "{name}");
            let silent = statement.without_answer(0, text);
            let wrote = bind_rows(silent, 0, &[], width).execute(&mut connection).await;
            assert_eq!(wrote.unwrap_or_else(|error| panic!("{name}: {error}")).rows_affected(), 0, "{name}");
        }
    }
}
