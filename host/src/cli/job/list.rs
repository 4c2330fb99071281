//! `tradewind job list`.

use super::filter::{Counts, FilterArguments};
use super::{JobJson, table};
use crate::cli::plugin::show::number;
use crate::cli::problems::Problems;
use crate::cli::store::{StoreArguments, with_store};
use crate::cli::text::{self, json_line, plural};
use crate::cli::{Exit, Fail, Surroundings};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// Jobs that are parked for this reason.
    #[arg(long)]
    reason: Option<String>,
    /// How many jobs to show.
    #[arg(long, value_name = "N", default_value = "50")]
    limit: String,
    /// Begins behind the job of this number: where the page before ended.
    #[arg(long, value_name = "SEQ")]
    after: Option<String>,
    /// Prints one JSON object for each job, on a line of its own.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let mut problems = Problems::default();
    let now_ms = surroundings.now_ms();
    let filter = arguments.filter.filter(arguments.reason.as_ref(), now_ms, &mut problems);
    let limit = problems.limit(&arguments.limit);
    let after = arguments.after.as_deref();
    let after = after.map_or(i64::MIN, |text| problems.number(text, "job's number", "where the page before ended"));
    let place = arguments.store.place(surroundings, &mut problems);
    problems.none()?;
    let Some(place) = place else { return Ok(Exit::Usage) };
    let text = with_store(&place, async |store| {
        // One more than is shown says whether there is a next page.
        let mut jobs = store.list_jobs(&filter, after, limit + 1).await?;
        let more = jobs.len() > limit as usize;
        jobs.truncate(limit as usize);
        if arguments.json {
            return jobs.iter().map(|job| json_line(&JobJson::of(job))).collect();
        }
        let rows = if jobs.is_empty() {
            String::new()
        } else {
            table(&jobs, now_ms).text(0)
                + "
"
        };
        let next = jobs.last().filter(|_| more).map(|last| {
            format!(
                "next page: --after {}
",
                last.seq
            )
        });
        Ok(rows + &totals(&Counts::of(store, &filter).await?) + &next.unwrap_or_default())
    })?;
    text::print(text)?;
    Ok(Exit::Fine)
}

fn totals(counts: &Counts) -> String {
    let [queued, delayed, parked] = [counts.queued, counts.delayed, counts.parked].map(number);
    let all = plural(counts.all(), "job", "jobs");
    format!("{}{all}: {queued} queued, {delayed} delayed, {parked} parked\n", counts.at_least())
}
