//! Very many webhooks at once: all are answered 200, all are completed, all are in the store.

use std::sync::Arc;

use anyhow::ensure;
use tradewind_store::{DeliveryFilter, Engine, Location, Store};

use super::feed::Feed;
use super::goal;
use super::load::Pace;
use super::side::{Kind, Places, Side, engine_name};
use super::table::{Table, time};
use super::turns::{Effort, percentile};

/// Deliveries that are listed at a time.
const PAGE: u32 = 1_000;

pub(crate) async fn measure(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    let (products, count) = if effort.less > 1 { (2_048, 5_000) } else { (16_384, 100_000) };
    table.section(&format!(
        "A burst of {count} webhooks about {products} new products: until answered, until completed"
    ));
    let feed = Arc::new(Feed::new(products, count));
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut side = Side::start(places, engine, Kind::Tradewind, &feed).await?;
        let mut sent = side.take(count, Pace::Saturated).await?;
        let (kept, left) = counted(&side.database).await?;
        ensure!(kept == count && left == 0, "{kept} of {count} deliveries are in the store, {left} jobs are left");
        let compared = format!(
            "no error, {kept} in the store, no job left; ack p99 {}; resident at most {}",
            time(percentile(&mut sent.waited, 0.99)),
            goal::mib(sent.resident)
        );
        table.row(engine_name(engine), &time(sent.acknowledged), &time(sent.completed), &compared);
    }
    Ok(())
}

/// Deliveries that are kept, and jobs that are left.
async fn counted(database: &str) -> anyhow::Result<(u32, u64)> {
    let store = Store::open(&Location::parse(database)?).await?;
    let (mut kept, mut before) = (0, None);
    loop {
        let page = store.deliveries(&DeliveryFilter { before, ..DeliveryFilter::default() }, PAGE).await?;
        kept += u32::try_from(page.len())?;
        before = page.last().map(|delivery| delivery.seq);
        if before.is_none() {
            break;
        }
    }
    let left = store.count_jobs(None, None).await?.iter().map(|count| count.count).sum();
    store.close().await;
    Ok((kept, left))
}
