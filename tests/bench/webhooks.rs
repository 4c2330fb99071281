//! Webhooks from the wire to the platform's answer: `tradewind serve` beside what a usual app in Node.js does.
//!
//! `cargo xtask bench webhooks` prints one table, with what we want to reach beside what was measured. Each side is a process
//! (or, with `PostgreSQL`, two of Node.js) that is asked over TCP by the same generator, and calls the same stand-in for the
//! platform. Sides take turns in one run. A webhook counts as completed when it was answered 200, its record is stored, its
//! action ran and the platform has answered its call. `postgres::Cluster` is a throw-away server that really writes to the
//! disk. Node.js needs the packages of `bench/node` and is left out, with the reason, where they are missing.
//!
//! Beside them stand programs that are none of these: the same steps with nothing around them (`floor`), the machine without
//! the work (`bare`), and the disk alone (`latency`).
//!
//! What is not equal, in favour of Node.js: it keeps no bodies for replay, no log of what ran, and loses the call to the
//! platform when it dies. In favour of the host: its SQLite syncs a file's data alone (`fdatasync`), that of better-sqlite3 as
//! it is published also when the file was changed (`fsync`). Plugins' log entries are switched off.

#[path = "webhooks/bare.rs"]
mod bare;
#[path = "webhooks/burst.rs"]
mod burst;
#[path = "webhooks/feed.rs"]
mod feed;
#[path = "webhooks/floor.rs"]
mod floor;
#[path = "webhooks/goal.rs"]
mod goal;
#[path = "webhooks/host.rs"]
mod host;
#[path = "webhooks/latency.rs"]
mod latency;
#[path = "webhooks/load.rs"]
mod load;
#[path = "webhooks/node.rs"]
mod node;
#[path = "webhooks/platform.rs"]
mod platform;
#[path = "webhooks/rounds.rs"]
mod rounds;
#[path = "webhooks/side.rs"]
mod side;
#[path = "webhooks/stages.rs"]
mod stages;
#[path = "runtime/table.rs"]
mod table;
#[expect(dead_code, reason = "the other benchmark adds rates that were measured elsewhere")]
#[path = "store/turns.rs"]
mod turns;
#[path = "webhooks/wire.rs"]
mod wire;

use clap::{Parser, ValueEnum};
use side::Places;
use table::Table;
use tradewind_store::Engine;
use turns::Effort;

/// Measures the whole way of webhooks
#[derive(Parser)]
struct Args {
    /// Measure for minutes instead of a quarter of an hour
    #[arg(long)]
    quick: bool,
    /// Only one part of the table
    #[arg(long)]
    only: Option<Part>,
    /// What cargo adds to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Completed webhooks in a second, on `SQLite`
    Sqlite,
    /// The same on `PostgreSQL`
    Postgres,
    /// How long a webhook waits for its answer when there are few
    Latency,
    /// Very many at once
    Burst,
    /// Where the time of one webhook goes
    Stages,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Two workers, as on the machine of the published numbers.
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let effort = Effort::new(args.quick);
    let table = Table::begin();
    let wanted = |part| args.only.is_none_or(|only| only == part);
    executor.block_on(async {
        let places = Places::start()?;
        if wanted(Part::Sqlite) {
            rounds::measure(&places, Engine::Sqlite, effort, &table).await?;
        }
        if wanted(Part::Postgres) {
            rounds::measure(&places, Engine::Postgres, effort, &table).await?;
        }
        if wanted(Part::Latency) {
            latency::measure(&places, effort, &table).await?;
        }
        if wanted(Part::Burst) {
            burst::measure(&places, effort, &table).await?;
        }
        if wanted(Part::Stages) {
            stages::measure(&places, effort, &table).await?;
        }
        Ok(())
    })
}
