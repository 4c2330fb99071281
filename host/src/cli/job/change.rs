//! `tradewind job retry`, `park` and `purge`: by number, or by filter when somebody has agreed to how many they are.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

use tradewind_store::{ChangedJob, JobFilter, Store};

use super::filter::{Counts, FilterArguments};
use crate::cli::plugin::show::number;
use crate::cli::problems::Problems;
use crate::cli::store::{StoreArguments, with_store};
use crate::cli::text::{self, plural};
use crate::cli::{Exit, Fail, Surroundings};
use crate::scheduler;

pub(super) const NUMBERS: &str = "`tradewind job list` shows them";

#[derive(clap::Args)]
struct Chosen {
    /// The jobs' numbers.
    #[arg(value_name = "SEQ")]
    seqs: Vec<String>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Does it although the filter means more than one job.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Retry {
    #[command(flatten)]
    chosen: Chosen,
    /// Jobs that are parked for this reason.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Park {
    #[command(flatten)]
    chosen: Chosen,
    /// Why, in a word that the jobs can be found by.
    #[arg(long, default_value = "operator")]
    reason: String,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Purge {
    #[command(flatten)]
    chosen: Chosen,
    /// Jobs that are parked for this reason.
    #[arg(long)]
    reason: Option<String>,
}

impl Retry {
    pub(super) fn run(&self, surroundings: &Surroundings) -> Result<Exit, Fail> {
        self.chosen.change(&Change::Retry, self.reason.as_ref(), surroundings)
    }
}

impl Park {
    pub(super) fn run(&self, surroundings: &Surroundings) -> Result<Exit, Fail> {
        self.chosen.change(&Change::Park(&self.reason), None, surroundings)
    }
}

impl Purge {
    pub(super) fn run(&self, surroundings: &Surroundings) -> Result<Exit, Fail> {
        self.chosen.change(&Change::Purge, self.reason.as_ref(), surroundings)
    }
}

enum Change<'a> {
    Retry,
    Park(&'a str),
    Purge,
}

impl Change<'_> {
    /// What is asked, what was done, and why the rest was not.
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Retry => ("retry", "retried", "waiting for its turn already"),
            Self::Park(_) => ("park", "parked", "parked already"),
            Self::Purge => ("purge", "purged", "not parked; hint: `tradewind job park` first"),
        }
    }

    /// How many of the jobs it is for.
    fn concerns(&self, counts: &Counts) -> u64 {
        match self {
            Self::Retry => counts.delayed.saturating_add(counts.parked),
            Self::Park(_) => counts.queued.saturating_add(counts.delayed),
            Self::Purge => counts.parked,
        }
    }

    async fn apply(&self, store: &Store, filter: &JobFilter, now_ms: i64) -> Result<Vec<ChangedJob>, Fail> {
        Ok(match self {
            Self::Retry => store.retry_jobs(filter).await?,
            Self::Park(reason) => store.park_jobs(filter, reason, now_ms).await?,
            Self::Purge => store.purge_jobs(filter).await?,
        })
    }
}

impl Chosen {
    fn change(&self, change: &Change<'_>, reason: Option<&String>, surroundings: &Surroundings) -> Result<Exit, Fail> {
        let mut problems = Problems::default();
        let now_ms = surroundings.now_ms();
        let has_filter = !self.filter.is_empty() || reason.is_some();
        let filter = self.filter.filter(reason, now_ms, &mut problems);
        let seqs: BTreeSet<i64> = self.seqs.iter().map(|text| problems.number(text, "job's number", NUMBERS)).collect();
        if self.seqs.is_empty() && !has_filter {
            problems.add("which jobs? hint: their numbers, or a filter such as `--state parked`");
        } else if !self.seqs.is_empty() && has_filter {
            problems.add("numbers and a filter do not go together; hint: give one of them");
        }
        if let Change::Park(reason) = change
            && reason.trim().is_empty()
        {
            problems.add("`--reason` is empty; hint: a word that the jobs can be found by");
        }
        let place = self.store.place(surroundings, &mut problems);
        problems.none()?;
        let Some(place) = place else { return Ok(Exit::Usage) };
        let done = with_store(&place, async |store| {
            let (changed, matched) = if seqs.is_empty() {
                let counts = Counts::of(store, &filter).await?;
                if !self.is_agreed(change, &counts)? {
                    return Ok(None);
                }
                (change.apply(store, &filter, now_ms).await?, counts.all())
            } else {
                (by_number(store, change, &seqs, now_ms).await?, seqs.len() as u64)
            };
            if let Change::Retry = change {
                announce(store, &changed).await;
            }
            Ok(Some((changed.len() as u64, matched)))
        })?;
        match done {
            Some((changed, matched)) => text::print(said(change, changed, matched))?,
            None => text::print("nothing was changed\n")?,
        }
        Ok(Exit::Fine)
    }

    /// Whether a filter may do what it would do.
    fn is_agreed(&self, change: &Change<'_>, counts: &Counts) -> Result<bool, Fail> {
        let count = change.concerns(counts);
        if self.yes || (count <= 1 && !counts.more) {
            return Ok(true);
        }
        let (verb, ..) = change.words();
        let would = format!("{}{}", counts.at_least(), plural(count, "job", "jobs"));
        let mut ask = std::io::stderr();
        if !std::io::stdin().is_terminal() || !ask.is_terminal() {
            return Err(Fail::usage(format_args!(
                "this would {verb} {would}; hint: `tradewind job list` with the same filter shows them, `--yes` does it"
            )));
        }
        let mut answer = String::new();
        // A terminal that cannot be asked has not agreed.
        let asked = write!(ask, "{verb} {would}? [y/N] ").and_then(|()| std::io::stdin().read_line(&mut answer));
        Ok(asked.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// Changes each job of a number, or none when one of them is not there.
async fn by_number(
    store: &Store,
    change: &Change<'_>,
    seqs: &BTreeSet<i64>,
    now_ms: i64,
) -> Result<Vec<ChangedJob>, Fail> {
    let mut missing = Vec::new();
    for &seq in seqs {
        if store.job(seq).await?.is_none() {
            missing.push(seq);
        }
    }
    if !missing.is_empty() {
        return Err(no_jobs(&missing).map(|text| format!("nothing was changed: {text}")));
    }
    let mut changed = Vec::new();
    for &seq in seqs {
        let filter = JobFilter { seq: Some(seq), ..JobFilter::default() };
        changed.extend(change.apply(store, &filter, now_ms).await?);
    }
    Ok(changed)
}

/// Tells the hosts, which would otherwise look by themselves some time later.
async fn announce(store: &Store, changed: &[ChangedJob]) {
    let parts: BTreeSet<i64> = changed.iter().map(|job| job.part).collect();
    for part in parts {
        if let Err(error) = store.announce(scheduler::changed(part)).await {
            let fail = Fail::from(error);
            eprintln!("warning: {fail}; hint: it is done, and hosts find it when they next look");
            return;
        }
    }
}

/// What was done, and why the rest was not.
fn said(change: &Change<'_>, changed: u64, matched: u64) -> String {
    let (_, done, because) = change.words();
    let rest = match matched.saturating_sub(changed) {
        0 => String::new(),
        1 => format!("; 1 was left because it is {because}"),
        left => format!("; {} were left because they are {}", number(left), because.replace(" its ", " their ")),
    };
    format!("{done} {}{rest}\n", plural(changed, "job", "jobs"))
}

/// The jobs of these numbers are not there.
pub(super) fn no_jobs(seqs: &[i64]) -> Fail {
    let seqs: Vec<_> = seqs.iter().map(i64::to_string).collect();
    Fail::usage(format_args!(
        "there is no job {}; hint: finished jobs are deleted, `tradewind job list` shows the others",
        seqs.join(", ")
    ))
}
