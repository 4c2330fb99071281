//! Whether a commit outlives a loss of power: the settings that a writer works with.

use crate::error::StoreError;
use crate::link::Statement;
use crate::store::Store;

/// A setting of the database as it is in force for whoever writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The database's name of it.
    pub name: &'static str,
    /// Its value, as the database spells it.
    pub value: String,
    /// Whether what was committed is still there after a loss of power, as far as this setting goes.
    pub is_safe: bool,
}

// Differs because each database has its own settings.
pub(crate) static DURABILITY: Statement = Statement::differs(
    "durability",
    &[],
    "SELECT CAST(synchronous AS text), journal_mode FROM pragma_synchronous, pragma_journal_mode",
    "SELECT current_setting('synchronous_commit'), current_setting('fsync')",
);

impl Store {
    /// What the durability of commits depends on, asked where commits are written.
    pub async fn durability(&self) -> Result<[Setting; 2], StoreError> {
        let failed = |source| StoreError::database("asking for the settings of the database", source);
        let rows = self.committer.execute(&DURABILITY, Vec::new()).await.map_err(failed)?;
        let first = rows.first().ok_or_else(|| failed(sqlx::Error::RowNotFound))?;
        let value = |at| first.text(at).map(str::to_owned).map_err(failed);
        let setting = |name, value: String, unsafe_ones: &[&str]| {
            let is_safe = !unsafe_ones.contains(&value.as_str());
            Setting { name, value, is_safe }
        };
        Ok(match self.engine() {
            crate::Engine::Sqlite => {
                [setting("synchronous", value(0)?, &["0", "1"]), setting("journal_mode", value(1)?, &["off", "memory"])]
            }
            crate::Engine::Postgres => {
                [setting("synchronous_commit", value(0)?, &["off"]), setting("fsync", value(1)?, &["off"])]
            }
        })
    }
}
