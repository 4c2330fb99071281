//! `tradewind delivery`: the webhooks that arrived, and what became of them.

mod list;
mod replay;
mod show;

use clap::Subcommand;
use tradewind_model::Json;
use tradewind_model::value::show_ms;
use tradewind_store::{Delivery, LoggedInvocation, Store};

use super::store::help;
use super::table::{Lean, Table};
use super::{Exit, Fail, Surroundings, plugin};

/// Lists, shows and replays the webhooks that arrived.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists deliveries, the newest first.
    #[command(after_help = help!(
        "  tradewind delivery list --shop hats.example --topic products/update\n  tradewind delivery list --json --limit 1000"
    ))]
    List(list::Arguments),
    /// Shows a delivery, its jobs and what ran for it: why something happened, or why nothing did.
    #[command(after_help = help!(
        "  tradewind delivery show 12\n  tradewind delivery show b54557e4-bdd9-4b37-8a5f-bf7d70bcd043\n  \
         tradewind delivery show 12 --body > body.json"
    ))]
    Show(show::Arguments),
    /// Has a delivery processed again, by a new job.
    #[command(after_help = help!("  tradewind delivery replay 12\n  tradewind delivery replay 12 --force"))]
    Replay(replay::Arguments),
}

pub(super) fn run(command: &Command, surroundings: &Surroundings) -> Result<Exit, Fail> {
    match command {
        Command::List(arguments) => list::run(arguments, surroundings),
        Command::Show(arguments) => show::run(arguments, surroundings),
        Command::Replay(arguments) => replay::run(arguments, surroundings),
    }
}

/// The delivery of a number, or of the id that the platform gave it.
async fn find(store: &Store, name: &str) -> Result<Delivery, Fail> {
    if let Ok(seq) = name.parse()
        && let Some(delivery) = store.delivery(seq).await?
    {
        return Ok(delivery);
    }
    let seqs = store.find_delivery(name).await?;
    let found = match seqs.as_slice() {
        [seq] => store.delivery(*seq).await?,
        [] => None,
        seqs => {
            let seqs: Vec<_> = seqs.iter().map(i64::to_string).collect();
            return Err(Fail::usage(format_args!(
                "`{name}` is the id of several deliveries, among them {}; hint: name one by its number",
                seqs.join(" and ")
            )));
        }
    };
    found.ok_or_else(|| {
        Fail::usage(format_args!(
            "there is no delivery `{name}`; hint: old ones are deleted, `tradewind delivery list` shows the others"
        ))
    })
}

/// What ran, as a table.
pub(super) fn log_table(log: &[LoggedInvocation]) -> Table {
    let mut table = Table::new(&[
        ("at", Lean::Left),
        ("job", Lean::Right),
        ("attempt", Lean::Right),
        ("what", Lean::Left),
        ("outcome", Lean::Left),
        ("took", Lean::Right),
        ("detail", Lean::Left),
    ]);
    for entry in log {
        let number = |seq: Option<i64>| seq.map(|seq| seq.to_string()).unwrap_or_default();
        let took = std::time::Duration::from_micros(entry.duration_us.max(0).unsigned_abs());
        table.push(&[
            show_ms(entry.at_ms),
            number(entry.job_seq),
            entry.attempt.to_string(),
            what(entry),
            entry.outcome.clone(),
            if entry.plugin.is_some() { plugin::show::duration(took) } else { String::new() },
            entry.detail.as_ref().map(detail).unwrap_or_default(),
        ]);
    }
    table
}

/// `product-tagger 1.2 tag-product run`; an attempt as a whole when no plugin is named.
fn what(entry: &LoggedInvocation) -> String {
    let parts = [&entry.plugin, &entry.version, &entry.action, &entry.phase];
    let parts: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
    if parts.is_empty() { "attempt".to_owned() } else { parts.join(" ") }
}

/// The message of an error, else the value.
fn detail(detail: &Json) -> String {
    let message = detail.member("message").and_then(|message| message.to::<String>().ok());
    message.unwrap_or_else(|| detail.as_str().to_owned())
}

/// An entry of the log for programs. The names of the members are for ever.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogJson<'a> {
    seq: i64,
    at: String,
    job: Option<i64>,
    attempt: u32,
    plugin: Option<&'a str>,
    version: Option<&'a str>,
    action: Option<&'a str>,
    phase: Option<&'a str>,
    outcome: &'a str,
    duration_us: i64,
    detail: Option<&'a Json>,
}

impl<'a> LogJson<'a> {
    pub(super) fn of(entry: &'a LoggedInvocation) -> Self {
        Self {
            seq: entry.seq,
            at: show_ms(entry.at_ms),
            job: entry.job_seq,
            attempt: entry.attempt,
            plugin: entry.plugin.as_deref(),
            version: entry.version.as_deref(),
            action: entry.action.as_deref(),
            phase: entry.phase.as_deref(),
            outcome: &entry.outcome,
            duration_us: entry.duration_us,
            detail: entry.detail.as_ref(),
        }
    }
}

/// A delivery without its body, for programs. The names of the members are for ever.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryJson<'a> {
    seq: i64,
    app: &'a str,
    shop: &'a str,
    platform: &'a str,
    topic: &'a str,
    webhook_id: &'a str,
    event_id: Option<&'a str>,
    lane: Option<&'a str>,
    received_at: String,
    triggered_at: Option<String>,
    body_bytes: u64,
    headers: &'a Json,
}

impl<'a> DeliveryJson<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        Self {
            seq: delivery.seq,
            app: &delivery.shop.app,
            shop: &delivery.shop.id,
            platform: &delivery.platform,
            topic: &delivery.topic,
            webhook_id: &delivery.webhook_id,
            event_id: delivery.event_id.as_deref(),
            lane: delivery.lane.as_deref(),
            received_at: show_ms(delivery.received_ms),
            triggered_at: delivery.triggered_ms.map(show_ms),
            body_bytes: delivery.body_bytes,
            headers: &delivery.headers,
        }
    }
}
