//! `tradewind job show`.

use tradewind_model::value::show_ms;
use tradewind_store::{Delivery, Job, JobState, LoggedInvocation, Store};

use super::{JobJson, about};
use crate::cli::delivery::{LogJson, log_table};
use crate::cli::problems::Problems;
use crate::cli::store::{StoreArguments, with_store};
use crate::cli::text::{self, error, fields, json_line, moved, pretty, section};
use crate::cli::{Exit, Fail, Surroundings, age};

/// Entries of the log that are read. 200: some dozens of attempts, each with some plugins.
const LOG_MAX: u32 = 200;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The job's number.
    seq: String,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    job: JobJson<'a>,
    log: Vec<LogJson<'a>>,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let mut problems = Problems::default();
    let seq: i64 = problems.number(&arguments.seq, "job's number", super::change::NUMBERS);
    let place = arguments.store.place(surroundings, &mut problems);
    problems.none()?;
    let Some(place) = place else { return Ok(Exit::Usage) };
    let text = with_store(&place, async |store| {
        let Some(job) = store.job(seq).await? else { return Err(super::change::no_jobs(&[seq])) };
        let log = log_of(store, &job).await?;
        if arguments.json {
            return json_line(&Shown { job: JobJson::of(&job), log: log.iter().map(LogJson::of).collect() });
        }
        let delivery = match job.delivery_seq {
            Some(seq) => store.delivery(seq).await?,
            None => None,
        };
        Ok(of(&job, delivery.as_ref(), &log, surroundings.now_ms()))
    })?;
    text::print(text)?;
    Ok(Exit::Fine)
}

/// What ran for the job. The log is kept by delivery and by the job's id.
async fn log_of(store: &Store, job: &Job) -> Result<Vec<LoggedInvocation>, Fail> {
    let mut log = match (&job.id, job.delivery_seq) {
        (Some(id), _) => {
            let mut log = store.invocations_of_job(&job.shop, id, LOG_MAX).await?;
            log.reverse();
            log
        }
        (None, Some(delivery)) => store.invocations_of_delivery(delivery, LOG_MAX).await?,
        (None, None) => Vec::new(),
    };
    log.retain(|entry| entry.job_seq == Some(job.seq));
    Ok(log)
}

fn of(job: &Job, delivery: Option<&Delivery>, log: &[LoggedInvocation], now_ms: i64) -> String {
    let mut shown = vec![
        ("state", state(job, now_ms)),
        ("shop", job.shop.to_string()),
        ("kind", job.kind.as_str().to_owned()),
        ("about", about(job)),
        ("attempts", format!("{} failed", job.attempts)),
        ("created", age::at(now_ms, job.created_ms)),
    ];
    if let Some((queue, bound)) = &job.queue {
        shown.push(("queue", format!("{queue}, at most {bound} at once")));
    }
    if let Some(id) = &job.id {
        shown.push(("id", id.clone()));
    }
    shown.push(("priority", ["high", "default", "low"].get(usize::from(job.rank)).unwrap_or(&"low").to_string()));
    shown.push(("depth", format!("{} of our own writes led here", job.depth)));
    if let Some(seq) = job.delivery_seq {
        let delivery = delivery.map_or("not kept any more".to_owned(), |delivery| {
            format!("{} {} of {}", delivery.platform, delivery.topic, show_ms(delivery.received_ms))
        });
        shown.push(("delivery", format!("{seq}, {delivery}")));
    }
    let mut text = format!("job {}\n", job.seq) + &fields(&shown);
    let parts = [("retries", &job.policy), ("payload", &job.payload), ("checkpoint", &job.checkpoint)];
    if let Some(what) = &job.error {
        section(&mut text, "last error", &moved(&error(what)));
    }
    for (name, value) in parts {
        if let Some(value) = value {
            section(&mut text, name, &moved(&pretty(value)));
        }
    }
    if !log.is_empty() {
        section(&mut text, "log", &log_table(log).text(2));
    }
    text
}

fn state(job: &Job, now_ms: i64) -> String {
    match job.state {
        JobState::Queued => "queued, runs when it is its turn".to_owned(),
        JobState::Delayed => format!("delayed until {}", age::at(now_ms, job.run_at_ms)),
        JobState::Parked => {
            let reason = job.reason.as_deref().unwrap_or_default();
            let since = job.parked_ms.map(|ms| format!(" since {}", age::at(now_ms, ms))).unwrap_or_default();
            format!("parked, {reason}{since}; hint: `tradewind job retry {}` runs it again", job.seq)
        }
    }
}
