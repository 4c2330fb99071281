//! How many webhooks are completed in a second, all sides in turn, and what that takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tradewind_store::Engine;

use super::bare::Bare;
use super::feed::{Feed, VERSIONS_MAX};
use super::floor::Floor;
use super::goal;
use super::load::Pace;
use super::side::{Kind, Places, Side, engine_name};
use super::table::{Table, time};
use super::turns::{Effort, Rates, per_second, percentile};

/// A side with what was measured of it.
struct Contender {
    side: Side,
    completed: Rates,
    acknowledged: Rates,
    waited: Vec<Duration>,
    idle: Option<u64>,
    busy: Option<u64>,
    /// Webhooks in a second of the processor's time. Hardly depends on what else the machine does.
    worked: Rates,
}

pub(crate) async fn measure(places: &Places, engine: Engine, effort: Effort, table: &Table) -> anyhow::Result<()> {
    let is_quick = effort.less > 1;
    // Every product has its first version before the time is taken: what is compared is changes.
    let products = if is_quick { 2_048 } else { 8_192 };
    let warm = Duration::from_secs(if is_quick { 5 } else { 20 });
    let database = engine_name(engine);
    table.section(&format!("{database}: webhooks of 8.9 KB, 32 connections; stored, action run, platform called"));
    let feed = Arc::new(Feed::new(products, products * VERSIONS_MAX));
    let mut contenders = Vec::new();
    for kind in Kind::ALL {
        let started = Side::start(places, engine, kind, &feed).await;
        let mut side = match started {
            Ok(side) => side,
            Err(error) if kind != Kind::Tradewind => {
                table.skipped(&format!("{database}, {}", kind.name()), &format!("{error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        let idle = side.resident();
        warm_up(&mut side, warm).await?;
        let (completed, acknowledged, worked) = Default::default();
        contenders.push(Contender { side, completed, acknowledged, waited: Vec::new(), idle, busy: None, worked });
    }
    let (mut bare, mut left) = (Bare::start(&feed).await?, Rates::default());
    // It knows one database.
    let mut floor = if engine == Engine::Sqlite { Some(Floor::start(&feed).await?) } else { None };
    let mut least = Rates::default();
    if let Some(floor) = &mut floor {
        floor.take(products).await?;
    }
    for _ in 0..effort.rounds {
        left.add(products, bare.take(products).await?);
        if let Some(floor) = &mut floor {
            least.add(products, floor.take(products).await?);
        }
        for contender in &mut contenders {
            // Node.js takes less in the same time.
            let count = if contender.side.kind == Kind::Tradewind { products } else { products / 4 };
            let mut sent = contender.side.take(count, Pace::Saturated).await?;
            contender.completed.add(sent.count, sent.completed);
            contender.acknowledged.add(sent.count, sent.acknowledged);
            contender.waited.append(&mut sent.waited);
            contender.busy = contender.busy.max(sent.resident);
            if let Some(busy) = sent.busy {
                contender.worked.add(sent.count, busy);
            }
        }
    }
    show(engine, &mut contenders, table);
    if let Some(floor) = floor {
        floor.close().await?;
        beside(&format!("{database}, the same steps with nothing around them"), &least, &contenders, table);
    }
    beside(&format!("{database}, what the machine leaves: verified, answered, called"), &left, &contenders, table);
    Ok(())
}

/// What is no contender, beside those that are.
fn beside(what: &str, rates: &Rates, contenders: &[Contender], table: &Table) {
    let compared =
        contenders.iter().map(|other| format!("× {}: {:.2}", other.side.kind.short(), rates.times(&other.completed)));
    let (compared, (median, best)) = (compared.collect::<Vec<_>>().join("; "), rates.shown());
    table.row(what, &median, &best, &compared);
}

/// Makes all products, and goes on for a while where the first calls find no compiled code.
async fn warm_up(side: &mut Side, warm: Duration) -> anyhow::Result<()> {
    /// Webhooks at a time. Few, so that the slowest ends in time.
    const STEP: u32 = 256;
    let began = Instant::now();
    side.take(side.feed.products(), Pace::Saturated).await?;
    while side.kind != Kind::Tradewind && began.elapsed() < warm {
        side.take(STEP, Pace::Saturated).await?;
    }
    Ok(())
}

fn show(engine: Engine, contenders: &mut [Contender], table: &Table) {
    let database = engine_name(engine);
    let others: Vec<_> = contenders
        .iter()
        .filter(|other| other.side.kind != Kind::Tradewind)
        .map(|other| (other.side.kind, other.completed.clone(), other.worked.clone()))
        .collect();
    let (express_goal, raw_goal) = goal::times(engine);
    for Contender { side, completed, acknowledged, waited, idle, busy, worked } in contenders {
        let what = format!("{database}, {}", side.kind.name());
        let is_ours = side.kind == Kind::Tradewind;
        let (median, best) = completed.shown();
        let goal_of = |kind| if kind == Kind::Express { express_goal } else { raw_goal };
        let compared = others.iter().filter(|_| is_ours).map(|(kind, other, _)| {
            format!("× {}: {}", kind.short(), goal::at_least(completed.times(other), goal_of(*kind)))
        });
        let compared: Vec<_> = compared.collect();
        table.row(&format!("{what}: completed"), &median, &best, &compared.join("; "));
        let compared = others
            .iter()
            .filter(|_| is_ours)
            .map(|(kind, _, other)| format!("× {}: {:.2}", kind.short(), worked.times(other)));
        let compared: Vec<_> = compared.collect();
        let (median, best) = worked.shown();
        table.row(&format!("{what}: by processor time"), &median, &best, &compared.join("; "));
        let (p50, p99) = (percentile(waited, 0.5), percentile(waited, 0.99));
        let p99 = if is_ours { goal::within(p99, goal::SATURATED_P99) } else { time(p99) };
        let compared = format!("p50 {}, p99 {p99}", time(p50));
        table.row(
            &format!("{what}: acknowledged"),
            &per_second(acknowledged.median()),
            &per_second(acknowledged.best()),
            &compared,
        );
        let goals =
            format!("idle {}; busy {}", goal::below(*idle, goal::IDLE_BYTES), goal::below(*busy, goal::BUSY_BYTES));
        let after = format!("after it {}", goal::mib(side.resident()));
        let compared = if is_ours { format!("{after}; {goals}") } else { after };
        table.row(&format!("{what}: resident, idle and at most"), &goal::mib(*idle), &goal::mib(*busy), &compared);
    }
}
