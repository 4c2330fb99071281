//! What the store, the pipeline and the scheduler do in a second, beside the bare drivers and graphile-worker.
//!
//! `cargo xtask bench store` prints one table; every number of the documentation comes from it. What is compared takes
//! turns in one run, and each ratio is the median over the turns, so it holds on a busy machine; the rates themselves do
//! so less. `postgres::Cluster` is a throw-away server that really writes to the disk; graphile-worker needs the packages
//! of `bench/node` and is left out, with the reason, where they are missing.

#[path = "store/bare.rs"]
mod bare;
#[path = "store/graphile.rs"]
mod graphile;
#[path = "store/ingest.rs"]
mod ingest;
#[path = "store/pipeline.rs"]
mod pipeline;
#[path = "store/place.rs"]
mod place;
#[path = "store/queue.rs"]
mod queue;
#[path = "store/stages.rs"]
mod stages;
#[path = "runtime/table.rs"]
mod table;
#[path = "store/turns.rs"]
mod turns;

use clap::{Parser, ValueEnum};
use place::Places;
use table::Table;
use turns::Effort;

/// Measures the store
#[derive(Parser)]
struct Args {
    /// Measure for seconds instead of minutes
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
    /// Webhooks to disk
    Ingest,
    /// Where the time of one webhook goes
    Stages,
    /// Webhooks to records
    Pipeline,
    /// Deliveries that contend for one record
    Contended,
    /// Jobs that do nothing
    Jobs,
    /// How long the queue may be
    Depth,
    /// A small shop beside a large one
    Neighbours,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Two workers, as on the machine of the published numbers.
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let effort = Effort::new(args.quick);
    let table = Table::begin();
    let places = Places::start()?;
    let wanted = |part| args.only.is_none_or(|only| only == part);
    executor.block_on(async {
        if wanted(Part::Ingest) {
            ingest::measure(&places, effort, &table).await?;
        }
        if wanted(Part::Stages) {
            stages::measure(effort, &table).await?;
        }
        if wanted(Part::Pipeline) {
            pipeline::measure(&places, effort, &table).await?;
        }
        if wanted(Part::Contended) {
            pipeline::contended(&places, effort, &table).await?;
        }
        if wanted(Part::Jobs) {
            queue::jobs(&places, effort, &table).await?;
        }
        if wanted(Part::Depth) {
            queue::depth(&places, effort, &table).await?;
        }
        if wanted(Part::Neighbours) {
            queue::neighbours(&places, effort, &table).await?;
        }
        Ok(())
    })
}
