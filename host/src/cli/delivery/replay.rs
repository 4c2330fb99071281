//! `tradewind delivery replay`.

use tradewind_store::Unit;

use super::find;
use crate::cli::problems::Problems;
use crate::cli::store::{StoreArguments, with_store};
use crate::cli::{Exit, Fail, Surroundings, text};
use crate::pipeline;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The delivery's number, or the id that the platform gave it.
    #[arg(value_name = "SEQ | ID")]
    name: String,
    /// Lets it count although it is not newer than what is stored.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let mut problems = Problems::default();
    let place = arguments.store.place(surroundings, &mut problems);
    problems.none()?;
    let Some(place) = place else { return Ok(Exit::Usage) };
    let (delivery, job) = with_store(&place, async |store| {
        let delivery = find(store, &arguments.name).await?;
        let (shop, job) = pipeline::replay(&delivery, arguments.force);
        let part = job.partition(&shop);
        let unit = Unit { jobs: vec![job], ..Unit::new(shop, surroundings.now_ms()) };
        let committed = store.commit(unit).await?;
        let job = committed.jobs.first().copied().flatten();
        let job = job.ok_or_else(|| Fail::failed("the store made no job"))?;
        if let Err(error) = store.announce(part).await {
            let fail = Fail::from(error);
            eprintln!("warning: {fail}; hint: the job is there, and hosts find it when they next look");
        }
        Ok((delivery.seq, job))
    })?;
    text::print(format!("delivery {delivery} is processed again by job {job}\n"))?;
    Ok(Exit::Fine)
}
