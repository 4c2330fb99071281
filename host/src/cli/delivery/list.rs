//! `tradewind delivery list`.

use tradewind_model::value::show_ms;
use tradewind_store::{Delivery, DeliveryFilter};

use super::DeliveryJson;
use crate::cli::plugin::show::bytes;
use crate::cli::problems::Problems;
use crate::cli::store::{StoreArguments, with_store};
use crate::cli::table::{Lean, Table};
use crate::cli::text::{self, json_line, plural};
use crate::cli::{Exit, Fail, Surroundings};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Deliveries to this app.
    #[arg(long)]
    app: Option<String>,
    /// Deliveries of this shop.
    #[arg(long)]
    shop: Option<String>,
    /// Deliveries of this topic, by the platform's name of it.
    #[arg(long)]
    topic: Option<String>,
    /// How many deliveries to show.
    #[arg(long, value_name = "N", default_value = "50")]
    limit: String,
    /// Begins with the first that is older than the one of this number: where the page before ended.
    #[arg(long, value_name = "SEQ")]
    before: Option<String>,
    /// Prints one JSON object for each delivery, on a line of its own.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let mut problems = Problems::default();
    let limit = problems.limit(&arguments.limit);
    let before = arguments.before.as_deref();
    let before = before.map(|text| problems.number(text, "delivery's number", "where the page before ended"));
    let place = arguments.store.place(surroundings, &mut problems);
    problems.none()?;
    let Some(place) = place else { return Ok(Exit::Usage) };
    let filter = DeliveryFilter {
        app: arguments.app.clone(),
        shop: arguments.shop.clone(),
        topic: arguments.topic.clone(),
        before,
    };
    // One more than is shown says whether there is a next page.
    let mut deliveries = with_store(&place, async |store| Ok(store.deliveries(&filter, limit + 1).await?))?;
    let more = deliveries.len() > limit as usize;
    deliveries.truncate(limit as usize);
    if arguments.json {
        let lines: Result<String, Fail> =
            deliveries.iter().map(|delivery| json_line(&DeliveryJson::of(delivery))).collect();
        text::print(lines?)?;
        return Ok(Exit::Fine);
    }
    let rows = if deliveries.is_empty() {
        String::new()
    } else {
        table(&deliveries).text(0)
            + "
"
    };
    let next = deliveries.last().filter(|_| more).map(|last| {
        format!(
            "next page: --before {}
",
            last.seq
        )
    });
    let count = plural(deliveries.len() as u64, "delivery", "deliveries")
        + "
";
    text::print(rows + &count + &next.unwrap_or_default())?;
    Ok(Exit::Fine)
}

fn table(deliveries: &[Delivery]) -> Table {
    let mut table = Table::new(&[
        ("seq", Lean::Right),
        ("received", Lean::Left),
        ("shop", Lean::Left),
        ("topic", Lean::Left),
        ("about", Lean::Left),
        ("body", Lean::Right),
        ("webhook id", Lean::Left),
    ]);
    for delivery in deliveries {
        table.push(&[
            delivery.seq.to_string(),
            show_ms(delivery.received_ms),
            delivery.shop.to_string(),
            delivery.topic.clone(),
            delivery.lane.clone().unwrap_or_default(),
            bytes(delivery.body_bytes),
            delivery.webhook_id.clone(),
        ]);
    }
    table
}
