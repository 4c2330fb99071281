//! What a sandbox costs: time, memory, throughput, beside a hand-written component and beside fresh isolates of V8.
//!
//! `cargo xtask bench runtime` prints one table; every number of the documentation comes from it. Ratios compare what was
//! measured in turns in one run, so they hold on a busy machine; the times themselves do so less. The isolates need the
//! packages of `bench/node`, the JavaScript and Python plugins their toolchains: what is missing is said and left out.

#[path = "runtime/echo.rs"]
mod echo;
#[path = "runtime/in_flight.rs"]
mod in_flight;
#[path = "runtime/measure.rs"]
mod measure;
#[path = "runtime/node.rs"]
mod node;
#[path = "runtime/sections.rs"]
mod sections;
#[path = "runtime/settings.rs"]
mod settings;
#[path = "runtime/subject.rs"]
mod subject;
#[path = "runtime/table.rs"]
mod table;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use measure::Effort;
use sections::Bench;
use table::Table;

/// Measures the sandbox
#[derive(Parser)]
struct Args {
    /// Measure for seconds instead of minutes
    #[arg(long)]
    quick: bool,
    /// Only one part of the table
    #[arg(long)]
    only: Option<Part>,
    /// Of the calls only those whose name contains this, beside the yardstick
    #[arg(long, default_value = "")]
    case: String,
    /// What cargo adds to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the process whose memory is measured, with so many invocations in flight
    #[arg(long, hide = true, requires = "plugin")]
    hold: Option<u32>,
    /// The plugin of that process
    #[arg(long, hide = true)]
    plugin: Option<String>,
}

/// A part of the table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One call after the other
    Calls,
    /// Many callers
    Throughput,
    /// Memory
    Memory,
    /// Installing
    Install,
    /// The settings of the pool; not part of a quick run
    Settings,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Two workers, as on the machine of the published numbers.
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let (Some(count), Some(plugin)) = (args.hold, &args.plugin) {
        let held = executor.block_on(in_flight::hold(plugin, count))?;
        serde_json::to_writer(std::io::stdout(), &held)?;
        return Ok(());
    }
    let effort = if args.quick {
        Effort { rounds: 5, turn: Duration::from_millis(20) }
    } else {
        Effort { rounds: 25, turn: Duration::from_millis(40) }
    };
    let bench = Bench { executor, effort, table: Table::begin() };
    let wanted = |part| args.only.map_or(!(args.quick && part == Part::Settings), |only| only == part);
    if wanted(Part::Calls) {
        bench.calls(&args.case)?;
    }
    if wanted(Part::Throughput) {
        bench.throughput()?;
    }
    if wanted(Part::Memory) {
        bench.memory();
    }
    if wanted(Part::Install) {
        bench.install()?;
    }
    if wanted(Part::Settings) {
        bench.settings()?;
    }
    Ok(())
}
