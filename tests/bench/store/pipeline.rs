//! Webhooks to records: what is kept becomes records, without a plugin and with one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tradewind_host::pipeline::{App, Installed, LogSink, Pipeline, Source};
use tradewind_host::scheduler::{Config, Scheduler};
use tradewind_model::schema::Schema;
use tradewind_platform::mapping::Mapper;
use tradewind_runtime::session::LogEntry;
use tradewind_runtime::{ArtifactCache, Runtime, RuntimeConfig};
use tradewind_store::{JobState, Store};
use tradewind_tests::plain::PlainMapper;
use tradewind_tests::{artifacts_folder, install};

use super::ingest::{together, units};
use super::place::{ENGINES, Places, name};
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

async fn pipeline(store: &Arc<Store>, runtime: &Arc<Runtime>, with_plugin: bool) -> anyhow::Result<Arc<Pipeline>> {
    let mappers = HashMap::from([("plain".to_owned(), Arc::new(PlainMapper) as Arc<dyn Mapper>)]);
    let (clock, log) = (Running::from_now(), Arc::new(Silent));
    let pipeline = Pipeline::new(Arc::clone(store), Arc::clone(runtime), clock, log, 7, mappers);
    let schema = Schema::new([product()]).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let mut plugins = Vec::new();
    if with_plugin {
        plugins.push(Installed {
            name: "product-tagger".to_owned(),
            version: "bench".to_owned(),
            plugin: Arc::new(install(runtime, "product-tagger").await?),
            config: std::collections::BTreeMap::new(),
            secrets: std::collections::BTreeMap::new(),
        });
    }
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
