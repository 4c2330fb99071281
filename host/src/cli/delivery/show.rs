//! `tradewind delivery show`.

use tradewind_model::Json;
use tradewind_store::{Delivery, Job, JobKind, JobState, LoggedInvocation};

use super::{DeliveryJson, LogJson, detail, find, log_table};
use crate::cli::job::{JobJson, table};
use crate::cli::plugin::show::number;
use crate::cli::problems::Problems;
use crate::cli::store::{StoreArguments, with_store};
use crate::cli::text::{self, fields, json_line, moved, plural, printable, section};
use crate::cli::{Exit, Fail, Surroundings, age};

/// Jobs that are read. 100: a delivery has one, and one for each action that runs beside it.
const JOBS_MAX: u32 = 100;

/// Entries of the log that are read. 200: some dozens of attempts, each with some plugins.
const LOG_MAX: u32 = 200;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The delivery's number, or the id that the platform gave it.
    #[arg(value_name = "SEQ | ID")]
    name: String,
    /// Writes the body, byte for byte as it arrived, and nothing else.
    #[arg(long, conflicts_with = "json")]
    body: bool,
    /// Prints one JSON object, without the body.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    delivery: DeliveryJson<'a>,
    jobs: Vec<JobJson<'a>>,
    log: Vec<LogJson<'a>>,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let mut problems = Problems::default();
    let place = arguments.store.place(surroundings, &mut problems);
    problems.none()?;
    let Some(place) = place else { return Ok(Exit::Usage) };
    let out = with_store(&place, async |store| {
        let delivery = find(store, &arguments.name).await?;
        if arguments.body {
            return Ok(delivery.body);
        }
        let jobs = store.jobs_of_delivery(delivery.seq, JOBS_MAX).await?;
        let log = store.invocations_of_delivery(delivery.seq, LOG_MAX).await?;
        if arguments.json {
            let shown = Shown {
                delivery: DeliveryJson::of(&delivery),
                jobs: jobs.iter().map(JobJson::of).collect(),
                log: log.iter().map(LogJson::of).collect(),
            };
            return json_line(&shown).map(String::into_bytes);
        }
        Ok(of(&delivery, &jobs, &log, surroundings.now_ms()).into_bytes())
    })?;
    text::print(out)?;
    Ok(Exit::Fine)
}

fn of(delivery: &Delivery, jobs: &[Job], log: &[LoggedInvocation], now_ms: i64) -> String {
    let mut text = format!("delivery {}\n", delivery.seq);
    let none = || "(none)".to_owned();
    text += &fields(&[
        ("shop", delivery.shop.to_string()),
        ("platform", delivery.platform.clone()),
        ("topic", delivery.topic.clone()),
        ("about", delivery.lane.clone().unwrap_or_else(none)),
        ("webhook id", delivery.webhook_id.clone()),
        ("event id", delivery.event_id.clone().unwrap_or_else(none)),
        ("triggered", delivery.triggered_ms.map_or_else(none, |ms| age::at(now_ms, ms))),
        ("received", age::at(now_ms, delivery.received_ms)),
        ("body", format!("{} bytes; hint: `--body` writes them", number(delivery.body_bytes))),
    ]);
    let headers = delivery.headers.members().unwrap_or_default();
    if !headers.is_empty() {
        let value = |value: &Json| value.to::<String>().unwrap_or_else(|_| value.as_str().to_owned());
        let headers: Vec<_> = headers.iter().map(|(name, of)| (name.as_str(), value(of))).collect();
        section(&mut text, "headers", &fields(&headers));
    }
    if !jobs.is_empty() {
        section(&mut text, "jobs", &table(jobs, now_ms).text(2));
    }
    if !log.is_empty() {
        section(&mut text, "log", &log_table(log).text(2));
    }
    section(&mut text, "what became of it", &moved(&printable(&became(delivery, jobs, log, now_ms))));
    text
}

/// Why something ran, or why nothing did, in one sentence.
fn became(delivery: &Delivery, jobs: &[Job], log: &[LoggedInvocation], now_ms: i64) -> String {
    // What waits for a person says more than what waits by itself, and the delivery more than what follows from it.
    let says_most = |job: &&Job| (job.state != JobState::Parked, job.kind != JobKind::Delivery, job.seq);
    if let Some(job) = jobs.iter().min_by_key(says_most) {
        return unfinished(job, now_ms);
    }
    let ran = |entry: &&LoggedInvocation| entry.plugin.is_some();
    // An entry without a plugin is the end of an attempt at the delivery itself.
    let Some(last) = log.iter().rfind(|entry| entry.plugin.is_none()) else {
        return "it was processed; what ran is not kept any more".to_owned();
    };
    match last.outcome.as_str() {
        "ran" => {
            let mut names: Vec<_> = log.iter().filter(ran).filter_map(|entry| entry.plugin.as_deref()).collect();
            names.sort_unstable();
            names.dedup();
            format!("it was processed, and these plugins ran: {}", names.join(", "))
        }
        "stored" => "it was stored, and no plugin ran: none is interested in what changed".to_owned(),
        "unchanged" => "nothing ran: it says what was stored already".to_owned(),
        "stale" => format!(
            "nothing ran: it is not newer than what was stored; hint: `tradewind delivery replay {} --force` lets it count",
            delivery.seq
        ),
        outcome => {
            let detail = last.detail.as_ref().map(|value| format!(": {}", detail(value))).unwrap_or_default();
            format!("its last attempt ended with `{outcome}`{detail}")
        }
    }
}

fn unfinished(job: &Job, now_ms: i64) -> String {
    let seq = job.seq;
    let follows = match job.kind {
        JobKind::Delivery => String::new(),
        kind => format!("it was processed, and its `{}` is left: ", kind.as_str()),
    };
    let error = job.error.as_ref().map(|error| format!(": {}", detail(error))).unwrap_or_default();
    match job.state {
        JobState::Queued => format!("{follows}job {seq} has not run yet, or runs at this moment"),
        JobState::Delayed => {
            format!(
                "{follows}job {seq} failed {} and runs again at {}{error}",
                plural(u64::from(job.attempts), "time", "times"),
                age::at(now_ms, job.run_at_ms)
            )
        }
        JobState::Parked => format!(
            "{follows}job {seq} is parked ({}){error}; hint: mend the cause, then `tradewind job retry {seq}`",
            job.reason.as_deref().unwrap_or_default()
        ),
    }
}
