//! Webhooks to records: what is kept becomes records, without a plugin and with one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tradewind_host::pipeline::{App, Installed, LogSink, Pipeline, Source};
use tradewind_host::scheduler::{Config, Scheduler};
use tradewind_model::schema::{Model, Schema};
use tradewind_platform::mapping::Mapper;
use tradewind_runtime::session::LogEntry;
use tradewind_runtime::{ArtifactCache, Runtime, RuntimeConfig};
use tradewind_store::{JobState, Store, Unit, compress};
use tradewind_tests::plain::PlainMapper;
use tradewind_tests::{artifacts_folder, install};

use super::ingest::{together, units};
use super::place::{ENGINES, Places, delivery, name, shop};
use super::queue::Running;
use super::stages::product;
use super::table::Table;
use super::turns::{Effort, Rates};

struct Silent;

impl LogSink for Silent {
    fn log(&self, _: &Source<'_>, _: LogEntry) {}
}

pub(crate) async fn measure(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("Webhooks of 9 KB to records (job, body, record read, compared, written, job done: one commit)");
    let runtime = Arc::new(Runtime::new(RuntimeConfig::default(), ArtifactCache::in_folder(&artifacts_folder()?)?)?);
    for engine in ENGINES {
        let (mut plain, mut tagged) = (Rates::default(), Rates::default());
        for _ in 0..effort.rounds {
            let count = effort.of(12_288);
            for (with_plugin, rates) in [(false, &mut plain), (true, &mut tagged)] {
                let (place, store) = places.store(engine).await?;
                together(&store, units(count), 64).await?;
                places.settle(&place)?;
                let pipeline = pipeline(&store, &runtime, with_plugin).await?;
                rates.add(count, drain(&store, pipeline).await?);
            }
        }
        let database = name(engine);
        table.row(&format!("{database}, no plugin"), &plain.shown().0, &plain.shown().1, "");
        let compared = format!("{:.2} × without", tagged.times(&plain));
        let what = format!("{database}, product-tagger on each, its `success` queued and run");
        table.row(&what, &tagged.shown().0, &tagged.shown().1, &compared);
    }
    Ok(())
}

/// Deliveries whose plugin adds one to the same record, and what a delivery to a record of its own costs beside it.
pub(crate) async fn contended(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("Deliveries that each add one to a record: all to the same, or each to its own");
    let runtime = Arc::new(Runtime::new(RuntimeConfig::default(), ArtifactCache::in_folder(&artifacts_folder()?)?)?);
    for engine in ENGINES {
        let (mut own, mut same) = (Rates::default(), Rates::default());
        for _ in 0..effort.rounds {
            let count = effort.of(1_000);
            for (shares, rates) in [(false, &mut own), (true, &mut same)] {
                let (place, store) = places.store(engine).await?;
                let units = (0..count).map(|number| adding(number, if shares { 0 } else { number }));
                together(&store, units.collect(), 64).await?;
                places.settle(&place)?;
                let puppet = installed(&runtime, "puppet").await?;
                let pipeline = pipeline_of(&store, &runtime, vec![puppet])?;
                rates.add(count, drain(&store, pipeline).await?);
            }
        }
        let database = name(engine);
        table.row(&format!("{database}, each its own record"), &own.shown().0, &own.shown().1, "");
        let compared = format!("{:.2} × its own", same.times(&own));
        table.row(&format!("{database}, one record for all"), &same.shown().0, &same.shown().1, &compared);
    }
    Ok(())
}

/// A delivery of a product whose script adds one to a record.
fn adding(number: u32, to: u32) -> Unit {
    let script = serde_json::json!([{ "add-one": ["note", to.to_string()], "or-fail": true }]);
    let body = serde_json::json!({ "id": number, "script": script }).to_string();
    let mut unit = delivery(number, number, 1);
    // One shop, whose records they are.
    unit.shop = shop(0);
    for delivery in &mut unit.deliveries {
        (delivery.body, delivery.body_bytes) = (compress(body.as_bytes()), body.len() as u64);
    }
    unit
}

async fn pipeline(store: &Arc<Store>, runtime: &Arc<Runtime>, with_plugin: bool) -> anyhow::Result<Arc<Pipeline>> {
    let plugins = if with_plugin { vec![installed(runtime, "product-tagger").await?] } else { Vec::new() };
    pipeline_of(store, runtime, plugins)
}

async fn installed(runtime: &Runtime, name: &str) -> anyhow::Result<Installed> {
    Ok(Installed {
        name: name.to_owned(),
        version: "bench".to_owned(),
        plugin: Arc::new(install(runtime, name).await?),
        config: std::collections::BTreeMap::new(),
        secrets: std::collections::BTreeMap::new(),
    })
}

fn pipeline_of(store: &Arc<Store>, runtime: &Arc<Runtime>, plugins: Vec<Installed>) -> anyhow::Result<Arc<Pipeline>> {
    let mappers = HashMap::from([("plain".to_owned(), Arc::new(PlainMapper) as Arc<dyn Mapper>)]);
    let (clock, log) = (Running::from_now(), Arc::new(Silent));
    let pipeline = Pipeline::new(Arc::clone(store), Arc::clone(runtime), clock, log, 7, mappers);
    let note = Model { name: "note".to_owned(), fields: Vec::new(), uniques: Vec::new() };
    let schema = Schema::new([product(), note]).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    pipeline.install(App::new("bench", schema, plugins));
    Ok(Arc::new(pipeline))
}

/// Runs all jobs; answers how long it took until none was left but parked ones.
async fn drain(store: &Arc<Store>, pipeline: Arc<Pipeline>) -> anyhow::Result<Duration> {
    let config = Config::new("bench");
    let started = Instant::now();
    let scheduler = Scheduler::start(Arc::clone(store), pipeline, Running::from_now(), config);
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let stats = scheduler.stats();
        if stats.started == 0 || stats.running > 0 || stats.held > 0 {
            continue;
        }
        let counts = store.count_jobs(None, None).await?;
        if counts.iter().all(|count| count.state == JobState::Parked) {
            break;
        }
    }
    let took = started.elapsed();
    scheduler.stop(Duration::from_secs(10)).await;
    Ok(took)
}
