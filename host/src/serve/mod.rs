//! A running host: everything built in order, started, watched and stopped.
//!
//! The order matters. Apps are installed before the scheduler takes a partition, so that no job finds its plugin missing; the
//! doors open last. An app whose plugins cannot be installed stays closed, and the others run. Stopping goes the other way: no more requests, then no more jobs, then the store.

mod admin;
mod apps;
mod clients;
mod logs;
mod metrics;
mod retention;
mod watchdog;
mod workers;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tradewind_platform::shopify::{AdminApi, Shopify, install_tls};
use tradewind_runtime::{ArtifactCache, Limits as CallLimits, Runtime, RuntimeConfig};
use tradewind_store::{Engine, Location, Store};

pub use clients::Connections;
pub use logs::{Listening, listen};
pub use metrics::Metrics;
pub use watchdog::OnStandstill;

use crate::config::{self, ExposeSecret};
use crate::ingress::{ConnectionBounds, Doors, Ingress, Server};
use crate::pipeline::{Chance, Clock, Pipeline};
use crate::scheduler::{Config as SchedulerConfig, Scheduler};
use crate::watch::{Both, Watch};

/// How a host is started beyond its configuration.
pub struct Start {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers follow from it; not for secrets.
    pub seed: u64,
    /// Who this start of this process is, for the leases.
    pub host: String,
    /// Whoever else is told what happens.
    pub watch: Arc<dyn Watch>,
    /// Ends a process that stands still; none where nobody would start it again.
    pub on_standstill: Option<OnStandstill>,
    /// The program that compiles plugins in a process of its own, `tradewind` itself; none to compile in this process, which
    /// nothing bounds.
    pub compiler: Option<PathBuf>,
}

/// A host that runs.
pub struct Host {
    store: Arc<Store>,
    runtime: Arc<Runtime>,
    pipeline: Arc<Pipeline>,
    scheduler: Arc<Scheduler>,
    connections: Arc<Connections>,
    doors: Arc<Doors>,
    apps: HashMap<String, config::App>,
    failed: Arc<apps::Failed>,
    clock: Arc<dyn Clock>,
    public: Server,
    admin: Server,
    retention: retention::Retention,
    _watchdog: Option<watchdog::Watchdog>,
    workers: workers::Workers,
    /// Adds up what is measured, and ends with it.
    _added_up: JoinSet<()>,
    drain: Duration,
}

impl Host {
    /// Starts everything that a configuration says. The store has to be migrated. An app whose plugins cannot be installed is
    /// [`failed`](Self::failed) until it is replaced.
    pub async fn start(server: config::Server, start: Start) -> Result<Self> {
        let Start { clock, seed, host, watch, on_standstill, compiler } = start;
        let workers = workers::Workers::start().context("the threads that run plugins")?;
        let metrics = Arc::new(Metrics::install());
        let added_up = metrics.add_up();
        let watch: Arc<dyn Watch> = Arc::new(Both(Arc::clone(&metrics) as _, watch));
        let location = Location::parse(server.store.expose_secret()).context("the store's address")?;
        let store = Arc::new(Store::open(&location).await?.with_query_ms_max(server.limits.query_ms_max));
        store.set_quotas(server.limits.quotas);
        let runtime = RuntimeConfig {
            limits: CallLimits::default(),
            sandbox_bytes_max: server.limits.sandbox_bytes_max,
            ..RuntimeConfig::default()
        };
        let artifacts = ArtifactCache::in_folder(&server.cache.artifacts)
            .with_context(|| format!("the folder of compiled plugins, `{}`", server.cache.artifacts.display()))?;
        let artifacts = match &compiler {
            Some(program) => artifacts.with_compiler(server.limits.compiler(program)),
            None => artifacts,
        };
        let runtime = Arc::new(Runtime::new(runtime, artifacts)?);
        install_tls();
        let agent = concat!("Tradewind/", env!("CARGO_PKG_VERSION"));
        let chance = Chance::new(seed);
        let api = AdminApi::new(agent, Arc::new(clients::Reports(Arc::clone(&watch))), move || chance.next())?;
        let connections = Arc::new(Connections::new(api));
        let mappers = HashMap::from([("shopify".to_owned(), Arc::new(Shopify) as _)]);
        let log = Arc::new(logs::PluginLog(Arc::clone(&watch)));
        let pipeline = Pipeline::new(Arc::clone(&store), Arc::clone(&runtime), Arc::clone(&clock), log, seed, mappers)
            .with_clients(Arc::clone(&connections) as _)
            .with_watch(Arc::clone(&watch));
        let pipeline = Arc::new(pipeline);
        apps::make_room(&runtime, &server.apps);
        let doors = Arc::new(Doors::default());
        let failed = Arc::new(apps::Failed::default());
        let mut built = Vec::new();
        for app in &server.apps {
            match apps::load(app, &runtime).await {
                Ok(plugins) => apps::install(app, plugins, &store, &pipeline, clock.now()).await?,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(
                        app = app.name,
                        error,
                        "the app cannot be installed; its webhooks are answered 503"
                    );
                    pipeline.expect(&app.name);
                    failed.add(&app.name);
                }
            }
            built.push(apps::doors(app, &pipeline));
        }
        connections.replace(&server.apps);
        let config = SchedulerConfig { workers: workers.handle(), ..SchedulerConfig::new(host) };
        let scheduler =
            Arc::new(Scheduler::start(Arc::clone(&store), Arc::clone(&pipeline), Arc::clone(&clock), config));
        let ingress = Ingress::new(
            Arc::clone(&store),
            Arc::clone(&scheduler),
            Arc::clone(&clock),
            watch,
            Arc::clone(&doors),
            server.limits.body_bytes_max,
        );
        let ingress = ingress.with_room(server.limits.room()).with_body_rate(server.limits.body_rate_min());
        doors.open(built.into_iter().flatten());
        let listening = |address: SocketAddr| format!("`{address}` cannot be listened on");
        let admin = admin::router(Arc::clone(&store), Arc::clone(&scheduler), metrics, Arc::clone(&failed));
        let admin = Server::start(server.listen.admin, admin, ConnectionBounds::default()).await;
        let admin = admin.with_context(|| listening(server.listen.admin))?;
        let router = Arc::new(ingress).router();
        let public = Server::start(server.listen.public, router, server.limits.connections()).await;
        let public = public.with_context(|| listening(server.listen.public))?;
        let retention = retention::Retention::start(Arc::clone(&store), Arc::clone(&clock), &server.limits);
        let drain = Duration::from_secs(server.limits.drain_seconds);
        let watchdog = on_standstill.map(|on_standstill| {
            let front = ("front", tokio::runtime::Handle::current());
            let work = workers.handle().map(|handle| ("work", handle));
            let executors: Vec<_> = [Some(front), work].into_iter().flatten().collect();
            let max = Duration::from_secs(server.limits.watchdog_seconds);
            watchdog::Watchdog::start(&executors, max, on_standstill)
        });
        let watchdog = watchdog.transpose().context("the watchdog's thread")?;
        let apps = server.apps.into_iter().map(|app| (app.name.clone(), app)).collect();
        Ok(Self {
            store,
            runtime,
            pipeline,
            scheduler,
            connections,
            doors,
            apps,
            failed,
            clock,
            public,
            admin,
            retention,
            _watchdog: watchdog,
            workers,
            _added_up: added_up,
            drain,
        })
    }

    /// Where webhooks come in.
    pub fn public(&self) -> SocketAddr {
        self.public.address()
    }

    /// Where operators look.
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Which database.
    pub fn engine(&self) -> Engine {
        self.store.engine()
    }

    /// What runs the jobs.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The names of the apps whose plugins cannot be installed.
    pub fn failed(&self) -> Vec<String> {
        self.failed.names()
    }

    /// Puts an app in the place of the one with the same name, or adds it. What runs goes on with the old one; when the new
    /// one cannot be installed, everything stays as it was.
    pub async fn replace(&mut self, app: config::App) -> Result<()> {
        let plugins = apps::load(&app, &self.runtime).await?;
        apps::install(&app, plugins, &self.store, &self.pipeline, self.clock.now()).await?;
        self.failed.remove(&app.name);
        self.apps.insert(app.name.clone(), app);
        let mut doors = Vec::new();
        for app in self.apps.values() {
            doors.extend(apps::doors(app, &self.pipeline));
        }
        let apps: Vec<_> = self.apps.values().cloned().collect();
        self.connections.replace(&apps);
        self.doors.open(doors);
        Ok(())
    }

    /// Takes nothing more in, lets what is under way end, and gives the partitions back.
    pub async fn stop(self) {
        let until = Instant::now() + self.drain;
        let left = || until.saturating_duration_since(Instant::now());
        self.public.stop(left()).await;
        self.retention.stop().await;
        self.scheduler.stop(left()).await;
        self.admin.stop(Duration::from_secs(1)).await;
        drop((self.scheduler, self.pipeline));
        // What still computes is abandoned; nothing of it is committed.
        drop(self.workers);
        if let Ok(store) = Arc::try_unwrap(self.store) {
            store.close().await;
        }
    }
}
