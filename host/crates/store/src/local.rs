//! SQLite, many statements at a time.
//!
//! The pool's connections each have a thread, which every statement is sent to and answered from: two changes of threads that
//! cost more than most statements. The writer and the readers of rounds have many to ask at once, and go to a thread with all
//! of them ([`Local::lend`]). Nothing in here waits for anything but the disk.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use memchr::memmem;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{Type, Value as Column, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, ToSql, ffi, types::ToSqlOutput};
use sqlx::error::{DatabaseError, ErrorKind};

use crate::link::{Link, Value};

/// A connection that is used by one thread at a time.
pub(crate) struct Local(Connection);

/// Work that is done on a connection.
pub(crate) trait Work: Send + 'static {
    /// What comes of it. After an error nobody uses the connection again.
    type Done: Send + 'static;

    /// Does it, and waits for nothing but the connection.
    fn on(self, link: &mut Link<'_>) -> impl Future<Output = sqlx::Result<Self::Done>> + Send;
}

/// One row of an answer.
pub(crate) struct LocalRow(Vec<Column>);

/// What SQLite refused, as the rest of the crate knows errors of databases.
#[derive(Debug)]
struct Refused {
    /// SQLite's extended code.
    code: i32,
    message: String,
}

impl Local {
    /// Opens a file that is there, or makes it, and sets it up.
    pub(crate) fn open(path: &Path, create: bool, pragmas: &[(&str, String)], statements: usize) -> sqlx::Result<Self> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let connection = Connection::open_with_flags(path, flags).map_err(error_of)?;
        connection.set_prepared_statement_cache_capacity(statements);
        for (name, value) in pragmas {
            connection.pragma_update(None, name, value).map_err(error_of)?;
        }
        define_contains(&connection).map_err(error_of)?;
        Ok(Self(connection))
    }

    /// Has `is_over` asked every `steps` steps of the virtual machine until [`Self::unwatch`]; a statement ends with
    /// `SQLITE_INTERRUPT` when it answers true.
    pub(crate) fn watch(&mut self, steps: i32, is_over: impl FnMut() -> bool + Send + 'static) -> sqlx::Result<()> {
        self.0.progress_handler(steps, Some(is_over)).map_err(error_of)
    }

    /// Lets statements run for as long as they take again.
    pub(crate) fn unwatch(&mut self) {
        // It fails only for a connection that somebody else owns.
        let _ = self.0.progress_handler(0, None::<fn() -> bool>);
    }

    /// Does work on a thread that may wait for the disk, and gives the connection back. After an error, or a panic, it is
    /// closed: what is left of it is not known.
    pub(crate) async fn lend<W: Work>(mut self, work: W) -> sqlx::Result<(Self, W::Done)> {
        let work = move || {
            let done = at_once(work.on(&mut Link::Local(&mut self)))?;
            Ok((self, done))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Runs statements that take no values and give no answer.
    pub(crate) fn run(&mut self, sql: &str) -> sqlx::Result<()> {
        self.0.execute_batch(sql).map_err(error_of)
    }

    /// Has a statement prepared, and its parameters understood.
    pub(crate) fn prepare(&mut self, sql: &str) -> sqlx::Result<()> {
        let statement = self.0.prepare_cached(sql).map_err(error_of)?;
        (1..=statement.parameter_count()).try_for_each(|at| number_of(&statement, at).map(drop))
    }

    /// Runs a statement once for each row of `width` values, or once without values when there are none, and reads all that it
    /// answers.
    pub(crate) fn fetch(&mut self, sql: &str, values: &[Value<'_>], width: usize) -> sqlx::Result<Vec<LocalRow>> {
        let mut statement = self.0.prepare_cached(sql).map_err(error_of)?;
        let columns = statement.column_count();
        let mut answer = Vec::new();
        for row in rows_of(values, width) {
            bind(&mut statement, row)?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().map_err(error_of)? {
                answer.push(taken(row, columns)?);
            }
        }
        Ok(answer)
    }

    /// Runs a statement once and reads its answer row by row, as long as `has_room` for the bytes of each; none when it has
    /// not.
    pub(crate) fn fetch_while(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut has_room: impl FnMut(usize) -> bool,
    ) -> sqlx::Result<Option<Vec<LocalRow>>> {
        let mut statement = self.0.prepare_cached(sql).map_err(error_of)?;
        let columns = statement.column_count();
        let mut answer = Vec::new();
        bind(&mut statement, values)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(error_of)? {
            let mut bytes = 0;
            for at in 0..columns {
                if let ValueRef::Text(value) | ValueRef::Blob(value) = row.get_ref(at).map_err(error_of)? {
                    bytes += value.len();
                }
            }
            if !has_room(bytes) {
                return Ok(None);
            }
            answer.push(taken(row, columns)?);
        }
        Ok(Some(answer))
    }

    /// Runs a statement that answers nothing once for each row of `width` values, and counts what it wrote.
    pub(crate) fn count(&mut self, sql: &str, values: &[Value<'_>], width: usize) -> sqlx::Result<usize> {
        let mut statement = self.0.prepare_cached(sql).map_err(error_of)?;
        let mut count = 0;
        for row in rows_of(values, width) {
            bind(&mut statement, row)?;
            count += statement.raw_execute().map_err(error_of)?;
        }
        Ok(count)
    }

    /// Closes the file. The last one who does writes the log back.
    pub(crate) async fn close(self) -> sqlx::Result<()> {
        let close = || self.0.close().map_err(|(_, error)| error_of(error));
        tokio::task::spawn_blocking(close).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

/// Copies a row.
fn taken(row: &rusqlite::Row<'_>, columns: usize) -> sqlx::Result<LocalRow> {
    let mut taken = Vec::with_capacity(columns);
    for at in 0..columns {
        let column = Column::try_from(row.get_ref(at).map_err(error_of)?);
        taken.push(column.map_err(|error| sqlx::Error::Decode(Box::new(error)))?);
    }
    Ok(LocalRow(taken))
}

/// The SQL function `contains_text(text, part)`: 1 or 0, null when either is. SQLite's own `instr` takes the product of both
/// lengths and cannot be interrupted meanwhile; this takes their sum.
fn define_contains(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("contains_text", 2, flags, |call| {
        Ok(match (call.get_raw(0), call.get_raw(1)) {
            (ValueRef::Text(text), ValueRef::Text(part)) => Some(memmem::find(text, part).is_some()),
            _ => None,
        })
    })
}

/// The outcome of work that waits for nobody, because all that it asks is answered on this thread.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("work on a connection waits for nothing but the connection"),
    }
}

/// The rows of a table; one that is empty where there are no values.
fn rows_of<'v, 'a>(values: &'v [Value<'a>], width: usize) -> impl Iterator<Item = &'v [Value<'a>]> {
    let once = values.is_empty().then_some(values);
    once.into_iter().chain(values.chunks(width.max(1)))
}

/// Binds the values of one row.
fn bind(statement: &mut CachedStatement<'_>, values: &[Value<'_>]) -> sqlx::Result<()> {
    for at in 1..=statement.parameter_count() {
        let value = values.get(number_of(statement, at)? - 1);
        let value = value.ok_or_else(|| sqlx::Error::Protocol(format!("the parameter {at} has no value")))?;
        statement.raw_bind_parameter(at, value).map_err(error_of)?;
    }
    Ok(())
}

/// Which value a parameter stands for, from 1. SQLite takes `$2` for a name and counts parameters as they come; here it means
/// the second value, as on PostgreSQL. A table's parameters have no names.
fn number_of(statement: &CachedStatement<'_>, at: usize) -> sqlx::Result<usize> {
    let Some(name) = statement.parameter_name(at) else { return Ok(at) };
    let number = name.strip_prefix('$').and_then(|number| number.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| sqlx::Error::Protocol(format!("the parameter `{name}` is no number")))
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match *self {
            Self::Int(value) => value.map_or(ValueRef::Null, ValueRef::Integer),
            Self::Real(value) => ValueRef::Real(value),
            Self::Text(value) => value.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes())),
            Self::Bytes(value) => value.map_or(ValueRef::Null, ValueRef::Blob),
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

impl LocalRow {
    pub(crate) fn maybe_int(&self, at: usize) -> sqlx::Result<Option<i64>> {
        match self.column(at)? {
            Column::Null => Ok(None),
            Column::Integer(value) => Ok(Some(*value)),
            other => Err(unlike(at, Type::Integer, other)),
        }
    }

    pub(crate) fn int(&self, at: usize) -> sqlx::Result<i64> {
        self.maybe_int(at)?.ok_or_else(|| unlike(at, Type::Integer, &Column::Null))
    }

    pub(crate) fn maybe_text(&self, at: usize) -> sqlx::Result<Option<&str>> {
        match self.column(at)? {
            Column::Null => Ok(None),
            Column::Text(value) => Ok(Some(value)),
            other => Err(unlike(at, Type::Text, other)),
        }
    }

    pub(crate) fn text(&self, at: usize) -> sqlx::Result<&str> {
        self.maybe_text(at)?.ok_or_else(|| unlike(at, Type::Text, &Column::Null))
    }

    pub(crate) fn bytes(&self, at: usize) -> sqlx::Result<&[u8]> {
        match self.column(at)? {
            Column::Blob(value) => Ok(value),
            other => Err(unlike(at, Type::Blob, other)),
        }
    }

    fn column(&self, at: usize) -> sqlx::Result<&Column> {
        self.0.get(at).ok_or(sqlx::Error::ColumnIndexOutOfBounds { index: at, len: self.0.len() })
    }
}

fn unlike(at: usize, wanted: Type, found: &Column) -> sqlx::Error {
    let source = format!("it is {} where {wanted} is expected", found.data_type()).into();
    sqlx::Error::ColumnDecode { index: at.to_string(), source }
}

fn error_of(error: rusqlite::Error) -> sqlx::Error {
    let code = error.sqlite_error().map(|error| error.extended_code);
    match (code, error) {
        (Some(code), rusqlite::Error::SqliteFailure(_, Some(message))) => sqlx::Error::from(Refused { code, message }),
        (Some(code), error) => sqlx::Error::from(Refused { code, message: error.to_string() }),
        (None, error) => sqlx::Error::Protocol(error.to_string()),
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code: {}) {}", self.code, self.message)
    }
}

impl StdError for Refused {}

impl DatabaseError for Refused {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            _ => ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Blame, blame};

    fn open(folder: &tempfile::TempDir) -> Local {
        let pragmas = [("journal_mode", "wal".to_owned())];
        let mut local = Local::open(&folder.path().join("local.db"), true, &pragmas, 10).unwrap();
        let table = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE, b BLOB, \
                     CHECK (a <> 'bad')) STRICT; CREATE UNIQUE INDEX IF NOT EXISTS by_x ON t (json_extract(a, '$.x'))";
        for statement in table.split("; ") {
            local.run(statement).unwrap();
        }
        local
    }

    fn ids(local: &mut Local) -> Vec<i64> {
        let rows = local.fetch("SELECT id FROM t ORDER BY id", &[], 0).unwrap();
        rows.iter().map(|row| row.int(0).unwrap()).collect()
    }

    #[test]
    fn parameters_are_numbers_and_tables_have_rows() {
        let folder = tempfile::tempdir().unwrap();
        let mut local = open(&folder);
        let rows: Vec<Value<'_>> = vec![1.into(), "\"a\"".into(), 2.into(), "\"b\"".into()];
        assert_eq!(
            local.count("WITH r (id, a) AS (VALUES (?, ?)) INSERT INTO t (id, a) SELECT * FROM r", &rows, 2).unwrap(),
            2
        );
        let values: [Value<'_>; 2] = ["\"b\"".into(), 2.into()];
        let found = local.fetch("SELECT a, b, $1 = a FROM t WHERE id = $2 AND a = $1", &values, 2).unwrap();
        assert_eq!(
            (found[0].text(0).unwrap(), found[0].maybe_text(1).unwrap(), found[0].int(2).unwrap()),
            ("\"b\"", None, 1)
        );
        assert!(found[0].int(0).is_err() && found[0].bytes(1).is_err() && found[0].int(3).is_err());
        // The answers of all rows, in their order.
        let both: [Value<'_>; 2] = [2.into(), 1.into()];
        let found =
            local.fetch("WITH r (id) AS (VALUES (?)) SELECT t.id FROM t, r WHERE t.id = r.id", &both, 1).unwrap();
        assert_eq!(found.iter().map(|row| row.int(0).unwrap()).collect::<Vec<_>>(), [2, 1]);
        assert!(local.fetch("SELECT $3", &values, 2).is_err());
        assert!(local.prepare("SELECT ?1").is_err() && local.prepare("SELECT :name").is_err());
    }

    #[test]
    fn who_is_to_blame_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut local = open(&folder);
        let mut insert = |id: i64, a: Option<&str>| {
            let values: [Value<'_>; 2] = [id.into(), a.into()];
            local.count("INSERT INTO t (id, a) VALUES (?, ?)", &values, 2).map_err(|error| blame(&error))
        };
        assert_eq!(insert(1, Some(r#"{"x":1}"#)), Ok(1));
        assert!(matches!(insert(1, Some("{}")), Err(Blame::NotUnique(_))));
        assert_eq!(insert(2, Some(r#"{"x":1.0}"#)), Err(Blame::NotUnique("by_x".to_owned())));
        assert_eq!(insert(2, None), Err(Blame::Values));
        assert_eq!(insert(2, Some("bad")), Err(Blame::Values));
        assert_eq!(insert(2, Some("{")), Err(Blame::Values), "no JSON");
        assert_eq!(local.run("SELECT * FROM nowhere").map_err(|error| blame(&error)), Err(Blame::Database));
    }

    #[test]
    fn a_text_contains_parts_by_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut local = open(&folder);
        let mut check = |text: Option<&str>, part: &str, expected: Option<i64>| {
            let found = local.fetch("SELECT contains_text($1, $2)", &[text.into(), part.into()], 2).unwrap();
            assert_eq!(found[0].maybe_int(0).unwrap(), expected, "{text:?} {part:?}");
        };
        check(Some("Hats"), "at", Some(1));
        check(Some("Hats"), "AT", Some(0));
        check(Some("Hats"), "", Some(1));
        check(Some(""), "a", Some(0));
        check(Some("caf\u{e9}"), "\u{e9}", Some(1));
        check(Some("cafe\u{301}"), "\u{e9}", Some(0));
        check(None, "a", None);
    }

    #[test]
    fn a_statement_is_ended_by_who_watches_it_and_the_connection_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut local = open(&folder);
        let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
        let mut asked = 0;
        local
            .watch(100, move || {
                asked += 1;
                asked == 1_000
            })
            .unwrap();
        let ended = local.fetch(endless, &[], 0).map(drop).unwrap_err();
        assert_eq!(ended.as_database_error().unwrap().code().unwrap(), ffi::SQLITE_INTERRUPT.to_string());
        local.unwatch();
        assert_eq!(local.fetch("SELECT 1", &[], 0).unwrap()[0].int(0).unwrap(), 1);
    }

    #[test]
    fn an_answer_is_read_while_there_is_room_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut local = open(&folder);
        let mut check = |room: usize, expected: Option<usize>| {
            let mut left = room;
            let rows = "SELECT '1234' UNION ALL SELECT '5678' UNION ALL SELECT 9";
            let found = local.fetch_while(rows, &[], |bytes| {
                let has_room = bytes <= left;
                left = left.saturating_sub(bytes);
                has_room
            });
            assert_eq!(found.unwrap().map(|rows| rows.len()), expected, "{room}");
        };
        check(8, Some(3));
        check(7, None);
    }

    struct Begins;

    impl Work for Begins {
        type Done = ();

        async fn on(self, link: &mut Link<'_>) -> sqlx::Result<()> {
            link.run("BEGIN IMMEDIATE").await?;
            link.run("INSERT INTO t (id, a) VALUES (7, '{}')").await?;
            panic!("meant to happen");
        }
    }

    #[tokio::test]
    async fn work_that_panics_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let local = open(&folder);
        assert!(matches!(local.lend(Begins).await, Err(sqlx::Error::WorkerCrashed)));
        let mut local = open(&folder);
        assert_eq!(ids(&mut local), [] as [i64; 0]);
        local.run("INSERT INTO t (id, a) VALUES (8, '{}')").unwrap();
        assert_eq!(ids(&mut local), [8], "nobody holds the file");
        local.close().await.unwrap();
    }
}
