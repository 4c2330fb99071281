//! What can go wrong with a store, and what a caller is to do about it.

use sqlx::error::ErrorKind;

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address of the database is wrong.
    #[error("the store's address is wrong: {reason}")]
    Location {
        /// What is wrong, and what to write.
        reason: String,
    },
    /// The tables could not be brought up to date.
    #[error("the database cannot be migrated")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The tables are not the ones that this program works with.
    #[error(
        "the database is at migration {applied}, this program works with {known}; hint: {}",
        if applied < known { "run `tradewind migrate`" } else { "run the newer program that migrated it" }
    )]
    NotMigrated {
        /// What the database has.
        applied: i64,
        /// What this program needs.
        known: i64,
    },
    /// The database cannot keep every text.
    #[error(
        "the database has the encoding `{encoding}`, which does not have every character; hint: make it with `UTF8`"
    )]
    Encoding {
        /// The server's name of it.
        encoding: String,
    },
    /// The database did not do what it was asked.
    #[error("{doing} failed")]
    Database {
        /// What was being attempted.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: sqlx::Error,
    },
    /// What is stored is not what was once written.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// Which thing.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// More is waiting to be written than the process may hold.
    #[error("the store is behind: {waiting} commits are waiting, at most {max} may; hint: try again later")]
    Busy {
        /// How many.
        waiting: usize,
        /// The limit `commits_waiting_max`.
        max: usize,
    },
    /// An app or a model has a name that cannot be one.
    #[error("`{name}` is no name of an app or a model; hint: lower-case letters, digits, `-` and `/`")]
    Name {
        /// What it is called.
        name: String,
    },
    /// A plugin's query was ended for what it asks. The store is well.
    #[error(transparent)]
    Query(QueryLimit),
    /// The model definitions cannot be deployed.
    #[error("the models of `{app}` cannot be deployed: {reason}")]
    Deploy {
        /// The app.
        app: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// Reason for which a plugin's query was ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryLimit {
    /// It ran for too long.
    #[error(
        "the query took longer than {ms_max} ms (`query_ms_max`); hint: filter and sort by indexed fields, ask for less at a time"
    )]
    Time {
        /// The limit `query_ms_max`.
        ms_max: u64,
    },
    /// It looked at too much.
    #[error(
        "the query took more than {max} steps (`query_steps_max`); hint: filter and sort by indexed fields, with fewer conditions"
    )]
    Steps {
        /// The limit `query_steps_max`.
        max: u64,
    },
    /// It read too much.
    #[error("more than {max} bytes are read at once (`query_result_bytes_max`); hint: ask for fewer records at a time")]
    ResultBytes {
        /// The limit `query_result_bytes_max`.
        max: usize,
    },
    /// Too many queries of its shop wait.
    #[error("{max} queries of the shop are waiting already (`queries_waiting_max`); hint: try again later")]
    Waiting {
        /// The limit `queries_waiting_max`.
        max: usize,
    },
    /// The server had no memory or no room on its disk for it.
    #[error("the query needs more than the server has: {reason}; hint: sort by indexed fields, ask for less at a time")]
    Resources {
        /// The database's message.
        reason: String,
    },
    /// The database refuses it for its values.
    #[error("the database refuses the query: {reason}")]
    Refused {
        /// The database's message.
        reason: String,
    },
}

impl QueryLimit {
    /// Returns true if the same query may succeed later: time, turns and resources depend on what others do, the rest on the
    /// query alone.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Time { .. } | Self::Waiting { .. } | Self::Resources { .. } => true,
            Self::Steps { .. } | Self::ResultBytes { .. } | Self::Refused { .. } => false,
        }
    }
}

impl StoreError {
    pub(crate) fn connecting(source: sqlx::Error) -> Self {
        Self::database("connecting to the database", source)
    }

    pub(crate) fn database(doing: &'static str, source: sqlx::Error) -> Self {
        Self::Database { doing, source }
    }
}

/// Returns true if a statement needed more memory or disk than there is: PostgreSQL's class 53 without `too_many_connections`, and
/// `SQLITE_NOMEM`.
pub(crate) fn is_out_of_resources(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "53000" | "53100" | "53200" | "53400" | "7"))
}

/// What an error of the database says about the statement that met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// A unique index refuses it; its name.
    NotUnique(String),
    /// The statement's own values are to blame: it will never succeed.
    Values,
    /// Nobody: the database ended this transaction because it and another waited for each other. The same succeeds now.
    Deadlock,
    /// The database, or the way to it: the same may succeed later.
    Database,
}

/// Who is to blame for an error. A value that the database refuses must not be tried again for ever, and a full disk must
/// not be blamed on the value.
pub(crate) fn blame(error: &sqlx::Error) -> Blame {
    let Some(error) = error.as_database_error() else { return Blame::Database };
    match error.kind() {
        ErrorKind::UniqueViolation => {
            // SQLite names an expression index in its message: `UNIQUE constraint failed: index 'name'`.
            let in_message = || error.message().split('\'').nth(1).unwrap_or_default();
            Blame::NotUnique(error.constraint().unwrap_or_else(in_message).to_owned())
        }
        ErrorKind::NotNullViolation | ErrorKind::CheckViolation | ErrorKind::ForeignKeyViolation => Blame::Values,
        _ => match error.code().as_deref() {
            // PostgreSQL: serialization failure, deadlock.
            Some("40001" | "40P01") => Blame::Deadlock,
            // PostgreSQL: data exceptions, integrity violations, limits of the program (a row or an index entry too large).
            Some(code) if code.len() == 5 && ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => {
                Blame::Values
            }
            // SQLite: SQLITE_ERROR for text that its JSON functions cannot read.
            Some("1") if error.message().contains("JSON") => Blame::Values,
            // SQLite: SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, in the low byte of its extended codes.
            Some(code) if code.parse().is_ok_and(|code: u32| matches!(code & 0xff, 18..=20)) => Blame::Values,
            _ => Blame::Database,
        },
    }
}
