//! Webhooks to disk: how many are acknowledged in a second, beside the bare drivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tradewind_store::{Engine, Store, Unit};

use super::bare;
use super::place::{ENGINES, Places, delivery, name};
use super::table::{Table, time};
use super::turns::{Effort, Rates, percentile};

/// Callers that wait for their acknowledgement at once, as connections of an ingress do.
const CALLERS: usize = 64;

pub(crate) async fn measure(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("Webhooks of 9 KB to disk (64 callers, each waits for its commit)");
    for engine in ENGINES {
        let (mut ours, mut one, mut bare) = (Rates::default(), Rates::default(), Rates::default());
        let mut waits = Vec::new();
        for _ in 0..effort.rounds {
            let count = effort.of(if engine == Engine::Sqlite { 19_200 } else { 12_800 });
            let (place, store) = places.store(engine).await?;
            let (took, mut waited) = together(&store, units(count), CALLERS).await?;
            ours.add(count, took);
            waits.append(&mut waited);
            let few = count / 16;
            let (took, _) = together(&store, units(count + few).split_off(count as usize), 1).await?;
            one.add(few, took);
            places.settle(&place)?;
            let place = places.empty(engine)?;
            let count = if engine == Engine::Sqlite { count } else { count / 4 };
            let took = match engine {
                Engine::Sqlite => bare::sqlite(&place, units(count)).await?,
                Engine::Postgres => bare::postgres(&place, units(count)).await?,
            };
            bare.add(count, took);
        }
        let what = match engine {
            Engine::Sqlite => "SQLite, driver alone, 64 webhooks and jobs a transaction",
            Engine::Postgres => "PostgreSQL, driver alone, one row a commit, 16 connections",
        };
        let (median, best) = bare.shown();
        table.row(what, &median, &best, "");
        let (median, best) = ours.shown();
        let compared = format!(
            "{:.2} × the driver alone; p50 {}, p99 {}",
            ours.times(&bare),
            time(percentile(&mut waits, 0.5)),
            time(percentile(&mut waits, 0.99))
        );
        table.row(&format!("{}, committer: delivery, job, two unique keys", name(engine)), &median, &best, &compared);
        let (median, best) = one.shown();
        table.row(&format!("{}, committer, one caller", name(engine)), &median, &best, "");
    }
    Ok(())
}

pub(crate) fn units(count: u32) -> Vec<Unit> {
    (0..count).map(|number| delivery(number, number % 4_096, number / 4_096)).collect()
}

/// Commits units by so many callers; answers how long it took, and how long each waited.
pub(crate) async fn together(
    store: &Arc<Store>,
    units: Vec<Unit>,
    callers: usize,
) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let units: Arc<Vec<std::sync::Mutex<Option<Unit>>>> =
        Arc::new(units.into_iter().map(|unit| Some(unit).into()).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, units, next) = (Arc::clone(store), Arc::clone(&units), Arc::clone(&next));
        tasks.spawn(async move {
            let mut waited = Vec::new();
            loop {
                let Some(cell) = units.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(waited) };
                let unit = cell.lock().ok().and_then(|mut cell| cell.take());
                let Some(unit) = unit else { continue };
                let handed_over = Instant::now();
                store.commit(unit).await?;
                waited.push(handed_over.elapsed());
            }
        });
    }
    let mut waited = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let ended: Result<Vec<Duration>, tradewind_store::CommitError> = ended?;
        waited.append(&mut ended?);
    }
    Ok((started.elapsed(), waited))
}
