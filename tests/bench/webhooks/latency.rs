//! How long a webhook waits for its answer when there are few: 100 in a second, whether or not answers come.

use std::sync::Arc;

use tradewind_store::Engine;

use super::feed::Feed;
use super::goal;
use super::load::Pace;
use super::side::{Kind, Places, Side, engine_name};
use super::table::{Table, time};
use super::turns::{Effort, percentile};

const PER_SECOND: u32 = 100;

pub(crate) async fn measure(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("Until a webhook is answered, at 100 a second: p50 and p99");
    let seconds = if effort.less > 1 { 10 } else { 60 };
    let feed = Arc::new(Feed::new(2_048, 2_048 + seconds * PER_SECOND));
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for kind in Kind::ALL {
            let what = format!("{}, {}", engine_name(engine), kind.name());
            let mut side = match Side::start(places, engine, kind, &feed).await {
                Ok(side) => side,
                Err(error) if kind != Kind::Tradewind => {
                    table.skipped(&what, &format!("{error:#}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            side.take(feed.products(), Pace::Saturated).await?;
            let mut sent = side.take(seconds * PER_SECOND, Pace::PerSecond(PER_SECOND)).await?;
            let (p50, p99) = (percentile(&mut sent.waited, 0.5), percentile(&mut sent.waited, 0.99));
            let (p50_goal, p99_goal) = goal::CALM;
            let compared = if kind == Kind::Tradewind {
                format!("p50 {}; p99 {}", goal::within(p50, p50_goal), goal::within(p99, p99_goal))
            } else {
                String::new()
            };
            table.row(&what, &time(p50), &time(p99), &compared);
        }
    }
    Ok(())
}
