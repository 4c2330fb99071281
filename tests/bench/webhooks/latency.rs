//! How long a webhook waits for its answer when there are few: 100 in a second, whether or not answers come. Beside it what
//! the disk alone takes at the same pace: whoever keeps a webhook before the answer waits for it.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tradewind_store::Engine;

use super::feed::Feed;
use super::goal;
use super::load::Pace;
use super::side::{Kind, Places, Side, engine_name};
use super::table::{Table, time};
use super::turns::{Effort, percentile};

const PER_SECOND: u32 = 100;

/// What is written for one webhook, in bytes. 32 KiB: some pages of a log.
static WRITTEN: [u8; 32 << 10] = [7; 32 << 10];

/// How large the file is that is written to again and again, in writes. 512: 16 MiB, as a database's log.
const WRITES_IN_FILE: u32 = 512;

pub(crate) async fn measure(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("Until a webhook is answered, at 100 a second: p50 and p99");
    let seconds = if effort.less > 1 { 10 } else { 60 };
    let feed = Arc::new(Feed::new(2_048, 2_048 + seconds * PER_SECOND));
    let mut alone = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        alone.append(&mut disk(seconds * PER_SECOND / 2).await?);
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
    let (p50, p99) = (percentile(&mut alone, 0.5), percentile(&mut alone, 0.99));
    table.row("the disk alone: 32 KiB written and synced", &time(p50), &time(p99), "");
    Ok(())
}

/// How long each of some writes takes to be on disk, at the pace of the webhooks.
async fn disk(writes: u32) -> anyhow::Result<Vec<Duration>> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("log"))?;
    for _ in 0..WRITES_IN_FILE {
        file.write_all(&WRITTEN)?;
    }
    file.sync_all()?;
    let (began, mut waited, mut late) = (Instant::now(), Vec::new(), false);
    for number in 0..writes {
        if number % WRITES_IN_FILE == 0 {
            file.rewind()?;
        }
        let due = began + Duration::from_secs(1) / PER_SECOND * number;
        tokio::time::sleep_until(due.into()).await;
        // One behind a late one has waited since it was due; the timer's own lateness is not the disk's.
        let since = if late { due } else { Instant::now() };
        tokio::task::block_in_place(|| file.write_all(&WRITTEN).and_then(|()| file.sync_data()))?;
        waited.push(since.elapsed());
        late = Instant::now() > due + Duration::from_secs(1) / PER_SECOND;
    }
    Ok(waited)
}
