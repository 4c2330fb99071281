//! `tradewind migrate`.

use tradewind_store::{MigrationState, Store};

use super::problems::Problems;
use super::store::{Place, StoreArguments, block_on};
use super::{Exit, Fail, Surroundings, text};

pub(super) const HELP: &str = "\
Examples:
  tradewind migrate
  tradewind migrate --store postgres://tradewind@db/tradewind --check

The store is `--store`, else the environment variable TRADEWIND_STORE, else `sqlite:tradewind.db` in the current folder.
A SQLite file is made when it is not there; a PostgreSQL database must be there. Several processes may migrate at once.

Exit codes:
  0  the tables are up to date
  2  wrong usage, a newer program migrated the store, or with `--check`: there is something to do
  6  the store failed or cannot be reached";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only tells what there is to do.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let mut problems = Problems::default();
    let place = arguments.store.place(surroundings, &mut problems);
    problems.none()?;
    let Some(place) = place else { return Ok(Exit::Usage) };
    block_on(async { if arguments.check { check(&place).await } else { migrate(&place).await } })
}

async fn migrate(place: &Place) -> Result<Exit, Fail> {
    if let Some(folder) = place.missing_folder() {
        return Err(Fail::usage(format_args!(
            "the folder `{}` is not there; hint: make it first, for its owner alone: `mkdir -m 700`",
            folder.display()
        )));
    }
    let MigrationState { applied, known } = place.migration_state().await?;
    // What is newer is refused by the store, with what to do.
    place.answered(Store::migrate(&place.location)).await?;
    let shown = &place.shown;
    text::print(if applied == known {
        format!("`{shown}` is at migration {known}: nothing to do\n")
    } else {
        format!("`{shown}` was migrated from {applied} to {known}\n")
    })?;
    Ok(Exit::Fine)
}

async fn check(place: &Place) -> Result<Exit, Fail> {
    let shown = &place.shown;
    if place.is_missing() {
        return Err(Fail::usage(format_args!("`{shown}` is not there; hint: `tradewind migrate` makes it")));
    }
    let state = place.migration_state().await?;
    place.up_to_date(state)?;
    text::print(format!("`{shown}` is at migration {}: nothing to do\n", state.known))?;
    Ok(Exit::Fine)
}
