//! `tradewind job`: what waits, what is parked, and what an operator does about it.

mod change;
mod filter;
mod list;
mod show;

use clap::Subcommand;
use tradewind_model::Json;
use tradewind_model::value::show_ms;
use tradewind_store::{Job, JobState};

use super::store::help;
use super::table::{Lean, Table};
use super::{Exit, Fail, Surroundings, age};

/// Lists, shows, retries, parks and purges jobs.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists jobs in the order of their numbers, and counts them.
    #[command(after_help = help!(
        "  tradewind job list --state parked\n  tradewind job list --shop hats.example --older-than 2h --json"
    ))]
    List(list::Arguments),
    /// Shows all that is known of a job: what it is to do, what went wrong, what ran.
    #[command(after_help = help!("  tradewind job show 34"))]
    Show(show::Arguments),
    /// Lets parked jobs run again with fresh attempts, and delayed ones at once.
    #[command(after_help = help!(
        "  tradewind job retry 34 35\n  tradewind job retry --state parked --reason not-installed --yes"
    ))]
    Retry(change::Retry),
    /// Takes waiting jobs aside until somebody retries them. What runs at this moment is undone.
    #[command(after_help = help!("  tradewind job park 34\n  tradewind job park --app tagger --reason maintenance --yes"))]
    Park(change::Park),
    /// Deletes parked jobs for good. Others stay: park them first.
    #[command(after_help = help!(
        "  tradewind job purge 34\n  tradewind job purge --reason unreadable --older-than 30d --yes"
    ))]
    Purge(change::Purge),
}

pub(super) fn run(command: &Command, surroundings: &Surroundings) -> Result<Exit, Fail> {
    match command {
        Command::List(arguments) => list::run(arguments, surroundings),
        Command::Show(arguments) => show::run(arguments, surroundings),
        Command::Retry(arguments) => arguments.run(surroundings),
        Command::Park(arguments) => arguments.run(surroundings),
        Command::Purge(arguments) => arguments.run(surroundings),
    }
}

/// Jobs as a table.
pub(super) fn table(jobs: &[Job], now_ms: i64) -> Table {
    let mut table = Table::new(&[
        ("seq", Lean::Right),
        ("state", Lean::Left),
        ("shop", Lean::Left),
        ("kind", Lean::Left),
        ("about", Lean::Left),
        ("attempts", Lean::Right),
        ("when", Lean::Left),
        ("reason", Lean::Left),
    ]);
    for job in jobs {
        table.push(&[
            job.seq.to_string(),
            job.state.as_str().to_owned(),
            job.shop.to_string(),
            job.kind.as_str().to_owned(),
            about(job),
            job.attempts.to_string(),
            when(job, now_ms),
            reason(job),
        ]);
    }
    table
}

/// The action and the record, as far as there are any.
pub(super) fn about(job: &Job) -> String {
    let payload = |names: &[&str]| {
        let mut value = job.payload.clone()?;
        for name in names {
            value = value.member(name)?;
        }
        value.to::<String>().ok()
    };
    let action = payload(&["work", "action", "action"]).or_else(|| payload(&["continuation", "action"]));
    let parts = [action.as_deref(), job.lane.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// When a queued job was created, when a delayed one runs, when a parked one was parked.
fn when(job: &Job, now_ms: i64) -> String {
    match job.state {
        JobState::Queued => age::ago(now_ms, job.created_ms),
        JobState::Delayed if job.run_at_ms <= now_ms => "due".to_owned(),
        JobState::Delayed => format!("in {}", age::show(job.run_at_ms.saturating_sub(now_ms))),
        JobState::Parked => age::ago(now_ms, job.parked_ms.unwrap_or(job.created_ms)),
    }
}

/// Why it is parked, else what went wrong the last time.
fn reason(job: &Job) -> String {
    let code = || job.error.as_ref()?.member("code")?.to::<String>().ok();
    job.reason.clone().or_else(code).unwrap_or_default()
}

/// A job for programs. The names of the members are for ever.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobJson<'a> {
    seq: i64,
    app: &'a str,
    shop: &'a str,
    state: &'static str,
    kind: &'static str,
    lane: Option<&'a str>,
    queue: Option<&'a str>,
    queue_bound: Option<u32>,
    rank: u8,
    id: Option<&'a str>,
    attempts: u32,
    depth: u32,
    delivery: Option<i64>,
    run_at: Option<String>,
    created_at: String,
    parked_at: Option<String>,
    reason: Option<&'a str>,
    error: Option<&'a Json>,
    policy: Option<&'a Json>,
    payload: Option<&'a Json>,
    checkpoint: Option<&'a Json>,
}

impl<'a> JobJson<'a> {
    pub(super) fn of(job: &'a Job) -> Self {
        let (queue, queue_bound) = job.queue.as_ref().map(|(name, bound)| (name.as_str(), *bound)).unzip();
        Self {
            seq: job.seq,
            app: &job.shop.app,
            shop: &job.shop.id,
            state: job.state.as_str(),
            kind: job.kind.as_str(),
            lane: job.lane.as_deref(),
            queue,
            queue_bound,
            rank: job.rank,
            id: job.id.as_deref(),
            attempts: job.attempts,
            depth: job.depth,
            delivery: job.delivery_seq,
            run_at: (job.run_at_ms > 0).then(|| show_ms(job.run_at_ms)),
            created_at: show_ms(job.created_ms),
            parked_at: job.parked_ms.map(show_ms),
            reason: job.reason.as_deref(),
            error: job.error.as_ref(),
            policy: job.policy.as_ref(),
            payload: job.payload.as_ref(),
            checkpoint: job.checkpoint.as_ref(),
        }
    }
}
