//! One way of asking both databases: statements, values, rows.
//!
//! A [`Statement`] has one text for both databases wherever they agree. `{rows}` in it stands for a table of values that a
//! [`Table`] fills: arrays that are unnested on PostgreSQL, where each statement is a way to the server and back; one row on
//! SQLite, where the statement runs once for each, so that what it does for a row must not depend on the others. Use it as
//! `WITH r (a, b) AS ({rows}) …`.
//!
//! To add a statement, declare a `static` in the module that uses it and list it in [`crate::STATEMENTS`], so that the test
//! which prepares each on both databases finds it.

use std::sync::OnceLock;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, SqlSafeStr as _, Sqlite, SqliteConnection, ValueRef as _};

use crate::local::{Local, LocalRow};

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
    /// The text with its rows.
    texts: Texts,
    /// The same without what comes back.
    silent: Texts,
}

/// A text of each database.
#[derive(Debug)]
struct Texts {
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

impl Texts {
    const fn new() -> Self {
        Self { sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    fn of(&self, engine: Engine) -> &OnceLock<String> {
        match engine {
            Engine::Sqlite => &self.sqlite,
            Engine::Postgres => &self.postgres,
        }
    }
}

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
        Self { name, sqlite, postgres, kinds, texts: Texts::new(), silent: Texts::new() }
    }

    /// The text with its rows.
    fn text(&'static self, engine: Engine) -> &'static str {
        let text = if engine == Engine::Sqlite { self.sqlite } else { self.postgres };
        if self.kinds.is_empty() {
            return text;
        }
        self.texts.of(engine).get_or_init(|| {
            let kinds = (1..).zip(self.kinds);
            let rows = match engine {
                Engine::Sqlite => format!("VALUES ({})", vec!["?"; self.kinds.len()].join(", ")),
                Engine::Postgres => {
                    let arrays: Vec<_> = kinds.map(|(at, kind)| format!("${at}::{}", kind.array())).collect();
                    format!("SELECT * FROM unnest({})", arrays.join(", "))
                }
            };
            text.replace("{rows}", &rows)
        })
    }

    /// The same without its `RETURNING`: rows that nobody looks at cost as much as those that are written.
    fn silent(&'static self, engine: Engine) -> &'static str {
        let text = self.text(engine);
        let end = text.rfind(" RETURNING ").unwrap_or(text.len());
        self.silent.of(engine).get_or_init(|| text[..end].to_owned())
    }

    /// Every text that the database will ever be asked to prepare.
    pub(crate) fn texts(&'static self, engine: Engine) -> Vec<&'static str> {
        let mut texts = vec![self.text(engine)];
        if !self.kinds.is_empty() && self.silent(engine) != texts[0] {
            texts.push(self.silent(engine));
        }
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
    /// SQLite, lent by the pool, which has a thread for it.
    Pooled(&'c mut SqliteConnection),
    /// SQLite, on this thread.
    Local(&'c mut Local),
    Postgres(&'c mut PgConnection),
}

/// One row of an answer.
pub(crate) enum Row {
    Pooled(SqliteRow),
    Local(LocalRow),
    Postgres(PgRow),
}

/// Reads a column of either database.
macro_rules! column {
    ($row:expr, $at:expr, $local:ident) => {
        match $row {
            Row::Pooled(row) => row.try_get($at),
            Row::Local(row) => row.$local($at),
            Row::Postgres(row) => row.try_get($at),
        }
    };
}

impl Row {
    pub(crate) fn int(&self, at: usize) -> sqlx::Result<i64> {
        column!(self, at, int)
    }

    pub(crate) fn maybe_int(&self, at: usize) -> sqlx::Result<Option<i64>> {
        column!(self, at, maybe_int)
    }

    pub(crate) fn text(&self, at: usize) -> sqlx::Result<&str> {
        column!(self, at, text)
    }

    pub(crate) fn maybe_text(&self, at: usize) -> sqlx::Result<Option<&str>> {
        column!(self, at, maybe_text)
    }

    pub(crate) fn bytes(&self, at: usize) -> sqlx::Result<&[u8]> {
        column!(self, at, bytes)
    }
}

impl Link<'_> {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Pooled(_) | Self::Local(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs a statement without rows and reads its answer.
    pub(crate) async fn fetch(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> sqlx::Result<Vec<Row>> {
        match self {
            Self::Pooled(link) => {
                let query = values.iter().fold(sqlx::query(statement.sqlite), bind_sqlite);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Pooled).collect())
            }
            Self::Local(link) => local(link.fetch(statement.sqlite, values, values.len())),
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
        let text = statement.text(self.engine());
        match self {
            Self::Pooled(link) => {
                let mut answer = Vec::new();
                for row in table.values.chunks(width) {
                    let query = row.iter().fold(sqlx::query(text), bind_sqlite);
                    answer.extend(query.fetch_all(&mut **link).await?.into_iter().map(Row::Pooled));
                }
                Ok(answer)
            }
            Self::Local(link) => local(link.fetch(text, &table.values, width)),
            Self::Postgres(link) => {
                let query = bind_arrays(text, statement.kinds, table);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement over a table of values and answers how many rows it wrote.
    pub(crate) async fn count_rows(&mut self, statement: &'static Statement, table: &Table<'_>) -> sqlx::Result<usize> {
        let width = statement.kinds.len();
        debug_assert_eq!(table.values.len(), table.len * width, "{}", statement.name);
        if table.is_empty() {
            return Ok(0);
        }
        let text = statement.silent(self.engine());
        let count = match self {
            Self::Pooled(link) => {
                let mut count = 0;
                for row in table.values.chunks(width) {
                    let query = row.iter().fold(sqlx::query(text), bind_sqlite);
                    count += query.execute(&mut **link).await?.rows_affected();
                }
                count
            }
            Self::Local(link) => return link.count(text, &table.values, width),
            Self::Postgres(link) => {
                bind_arrays(text, statement.kinds, table).execute(&mut **link).await?.rows_affected()
            }
        };
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Runs a statement that was put together at run time, and reads its answer. `sql` must hold no value from outside.
    pub(crate) async fn fetch_text(&mut self, sql: &str, values: &[Value<'_>]) -> sqlx::Result<Vec<Row>> {
        let safe = || AssertSqlSafe(sql).into_sql_str();
        match self {
            Self::Pooled(link) => {
                let query = values.iter().fold(sqlx::query(safe()), bind_sqlite);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Pooled).collect())
            }
            Self::Local(link) => local(link.fetch(sql, values, values.len())),
            Self::Postgres(link) => {
                let query = values.iter().fold(sqlx::query(safe()), bind_postgres);
                Ok(query.fetch_all(&mut **link).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The same, read row by row as long as `has_room` for the bytes of each; none when it has not.
    pub(crate) async fn fetch_while(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut has_room: impl FnMut(usize) -> bool + Send,
    ) -> sqlx::Result<Option<Vec<Row>>> {
        match self {
            Self::Pooled(_) => unreachable!("queries of plugins never run on the shared pool"),
            Self::Local(link) => {
                let rows = link.fetch_while(sql, values, has_room)?;
                Ok(rows.map(|rows| rows.into_iter().map(Row::Local).collect()))
            }
            Self::Postgres(link) => {
                let query = values.iter().fold(sqlx::query(AssertSqlSafe(sql).into_sql_str()), bind_postgres);
                let mut rows = query.fetch(&mut **link);
                let mut answer = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    if !has_room(bytes_of(&row)?) {
                        return Ok(None);
                    }
                    answer.push(Row::Postgres(row));
                }
                Ok(Some(answer))
            }
        }
    }

    /// Has every text of a statement prepared, and runs none.
    pub(crate) async fn prepare(&mut self, statement: &'static Statement) -> sqlx::Result<()> {
        use sqlx::Executor as _;
        for text in statement.texts(self.engine()) {
            match self {
                Self::Pooled(link) => link.prepare(text.into_sql_str()).await.map(drop)?,
                Self::Local(link) => link.prepare(text)?,
                Self::Postgres(link) => link.prepare(text.into_sql_str()).await.map(drop)?,
            }
        }
        Ok(())
    }

    /// Runs statements that take no values and give no answer: transactions, definitions. `sql` must hold no value from
    /// outside.
    pub(crate) async fn run(&mut self, sql: &str) -> sqlx::Result<()> {
        use sqlx::Executor as _;
        let safe = || AssertSqlSafe(sql).into_sql_str();
        match self {
            Self::Pooled(link) => link.execute(sqlx::raw_sql(safe())).await.map(drop),
            Self::Local(link) => link.run(sql),
            Self::Postgres(link) => link.execute(sqlx::raw_sql(safe())).await.map(drop),
        }
    }
}

/// Bytes of a row as the server sent it.
fn bytes_of(row: &PgRow) -> sqlx::Result<usize> {
    let mut bytes = 0;
    for at in 0..row.len() {
        let value = row.try_get_raw(at)?;
        if !value.is_null() {
            bytes += value.as_bytes().map_err(sqlx::Error::Decode)?.len();
        }
    }
    Ok(bytes)
}

fn local(rows: sqlx::Result<Vec<LocalRow>>) -> sqlx::Result<Vec<Row>> {
    Ok(rows?.into_iter().map(Row::Local).collect())
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

fn bind_arrays<'q>(text: &'static str, kinds: &[Kind], table: &Table<'_>) -> Query<'q, Postgres, PgArguments> {
    kinds.iter().enumerate().fold(sqlx::query(text), |query, (at, kind)| {
        bind_array(query, *kind, table.values.iter().skip(at).step_by(kinds.len()))
    })
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
