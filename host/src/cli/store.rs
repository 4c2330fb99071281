//! Which store a command works on, and how it is opened.
//!
//! The address may hold a password: what is shown of it is [`Place::shown`], never what was given.

use std::path::Path;
use std::time::Duration;

use tradewind_store::{Location, MigrationState, Store, StoreError};

use super::problems::Problems;
use super::{Exit, Fail, Surroundings};

/// What is meant when nothing else is said.
const DEFAULT: &str = "sqlite:tradewind.db";

/// How long a store may take to answer the first time. 10 seconds: a server that is starting answers by then, and one
/// behind a firewall that swallows everything never does.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The part of `--help` that commands on a store share.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            "\n\nThe store is `--store`, else the environment variable TRADEWIND_STORE, else `sqlite:tradewind.db` in the \
             current folder.\n\nExit codes:\n  0  all went well\n  2  wrong usage, no such thing, or a store that is not \
             up to date\n  6  the store failed or cannot be reached"
        )
    };
}
pub(super) use help;

#[derive(clap::Args)]
pub(super) struct StoreArguments {
    /// Where the data is: `sqlite:FILE` or `postgres://USER@HOST/DATABASE`.
    #[arg(long = "store", value_name = "ADDRESS")]
    address: Option<String>,
}

impl StoreArguments {
    /// Where the store is; none when that is a problem.
    pub(super) fn place(&self, surroundings: &Surroundings, problems: &mut Problems) -> Option<Place> {
        let given = self.address.as_deref();
        let (address, source) = match (given, surroundings.store.as_deref()) {
            (Some(address), _) => (address, "--store"),
            (None, Some(address)) => (address, "TRADEWIND_STORE"),
            (None, None) => (DEFAULT, "--store"),
        };
        let shown = without_password(address);
        match Location::parse(address) {
            Ok(location) => Some(Place { location, shown }),
            Err(StoreError::Location { reason }) => {
                let then = if reason.starts_with("hint: ") { ";" } else { ":" };
                problems.add(format_args!("`{source}` is `{shown}`, which is no store{then} {reason}"));
                None
            }
            Err(error) => {
                problems.add(format_args!("`{source}` is `{shown}`: {error}"));
                None
            }
        }
    }
}

/// A store that is not opened yet.
pub(super) struct Place {
    pub(super) location: Location,
    /// The address without its password.
    pub(super) shown: String,
}

impl Place {
    /// Whether there is no file to open. A server may have the database or not: it says so itself.
    pub(super) fn is_missing(&self) -> bool {
        matches!(&self.location, Location::Sqlite(path) if !path.is_file())
    }

    /// The folder that a new file would need and that is not there.
    pub(super) fn missing_folder(&self) -> Option<&Path> {
        let Location::Sqlite(path) = &self.location else { return None };
        path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    }

    /// How far the tables are migrated.
    pub(super) async fn migration_state(&self) -> Result<MigrationState, Fail> {
        self.answered(Store::migration_state(&self.location)).await
    }

    /// Opens the store. A file that is not there is not made: a mistyped path must not look like an empty store.
    pub(super) async fn open(&self) -> Result<Store, Fail> {
        if self.is_missing() {
            return Err(Fail::usage(format_args!(
                "`{}` is not there; hint: is the path right? `tradewind migrate` makes a new store",
                self.shown
            )));
        }
        self.answered(Store::open(&self.location)).await
    }

    /// Goes on only when the tables are those that this program works with.
    pub(super) fn up_to_date(&self, MigrationState { applied, known }: MigrationState) -> Result<(), Fail> {
        if applied == known {
            return Ok(());
        }
        Err(Fail::from(StoreError::NotMigrated { applied, known }).map(|text| format!("`{}`: {text}", self.shown)))
    }

    /// Waits for the first answer of a store, and says which store failed.
    pub(super) async fn answered<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Fail> {
        let shown = &self.shown;
        let Ok(answer) = tokio::time::timeout(ANSWER_MAX, answer).await else {
            return Err(Fail::failed(format_args!(
                "`{shown}` did not answer within {} seconds; hint: is the address right, and is the way to it open?",
                ANSWER_MAX.as_secs()
            )));
        };
        answer.map_err(|error| {
            let fail = Fail::from(error);
            let hint = match (fail.exit, &self.location) {
                (Exit::Usage, _) => "",
                (_, Location::Sqlite(_)) => "; hint: is it a database of this program, and may this user write to it?",
                (_, Location::Postgres(_)) => "; hint: is the server running, and is the address right?",
            };
            fail.map(|text| format!("`{shown}`: {text}{hint}"))
        })
    }
}

/// Opens the store of a command, does the command's work and closes the store.
pub(super) fn with_store<T>(place: &Place, work: impl AsyncFnOnce(&Store) -> Result<T, Fail>) -> Result<T, Fail> {
    block_on(async {
        let store = place.open().await?;
        let done = work(&store).await;
        store.close().await;
        done
    })
}

/// Runs async code on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    executor.map_err(|error| Fail::failed(format_args!("cannot start: {error}")))?.block_on(work)
}

/// An address as it may be shown. Hides more rather than less: a password may hold any character, escaped or not.
pub(super) fn without_password(address: &str) -> String {
    if address.starts_with("sqlite:") {
        return address.to_owned();
    }
    let schemes = ["postgres:", "postgresql:"].into_iter().find(|scheme| address.starts_with(scheme));
    let authority = address.find("://").map_or_else(|| schemes.map_or(0, str::len), |at| at + "://".len());
    let (scheme, rest) = address.split_at(authority);
    let shown = match (rest.find(':'), rest.rfind('@')) {
        (Some(user), Some(host)) if user < host => format!("{}:***{}", &rest[..user], &rest[host..]),
        _ => rest.to_owned(),
    };
    // `?password=` says it too.
    let shown = match shown.to_ascii_lowercase().find("password=") {
        Some(at) => {
            let value = at + "password=".len();
            let end = shown[value..].find('&').map_or(shown.len(), |end| value + end);
            format!("{}***{}", &shown[..value], &shown[end..])
        }
        None => shown,
    };
    format!("{scheme}{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let check = |address: &str, expected: &str| assert_eq!(without_password(address), expected, "{address}");
        check("sqlite:a:b@c.db", "sqlite:a:b@c.db");
        check("postgres://localhost:5432/shop", "postgres://localhost:5432/shop");
        check("postgres://me@db/shop", "postgres://me@db/shop");
        check("postgres://me:secret@db:5432/shop?sslmode=require", "postgres://me:***@db:5432/shop?sslmode=require");
        check("postgres://me:se/cr@et@db/shop", "postgres://me:***@db/shop");
        check("postgres://:secret@db/shop", "postgres://:***@db/shop");
        check("postgres://db/shop?user=me&password=secret&x=1", "postgres://db/shop?user=me&password=***&x=1");
        check("postgres:me:secret@db", "postgres:me:***@db");
        check("mysql://me:secret@db", "mysql://me:***@db");
        check("me:secret@db", "me:***@db");
        check("me", "me");
    }
}
