//! A host's ingress, scheduler and pipeline without a configuration: a door that takes whatever topics a test wants, within
//! whatever bounds.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tradewind_host::config;
use tradewind_host::ingress::{BODY_TIME_MAX, ConnectionBounds, Door, Doors, HEADER_TIME_MAX, Ingress, Server};
use tradewind_host::pipeline::{App, Clock, LogSink, Pipeline, Source};
use tradewind_host::scheduler::{Config, Scheduler};
use tradewind_model::Shop;
use tradewind_platform::shopify::{Shopify, SigningSecrets};
use tradewind_runtime::session::LogEntry;
use tradewind_store::Store;

use crate::serving::{APP, CONNECTION, Running, SECRET, SHOP, Seen, app, connection};
use crate::stores::Place;

/// What a door lets through.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many shops there are: see [`shop`].
    pub shops: usize,
    /// Bytes of a body.
    pub body_bytes_max: u64,
    /// How long a body may take.
    pub body_time_max: Duration,
    /// How long a head may take.
    pub header_time_max: Duration,
    /// How many connections there may be.
    pub connections: ConnectionBounds,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            shops: 1,
            body_bytes_max: config::Limits::default().body_bytes_max,
            body_time_max: BODY_TIME_MAX,
            header_time_max: HEADER_TIME_MAX,
            connections: ConnectionBounds::default(),
        }
    }
}

/// The domain of a shop by its number; the first is the usual one.
pub fn shop(at: usize) -> String {
    if at == 0 { SHOP.to_owned() } else { format!("hats-{at}.myshopify.com") }
}

/// Nothing logs here: there are no plugins.
struct Silent;

impl LogSink for Silent {
    fn log(&self, _: &Source<'_>, _: LogEntry) {}
}

/// An ingress that listens, and what does its jobs.
pub struct OpenDoor {
    /// What is kept.
    pub store: Arc<Store>,
    /// What happened.
    pub seen: Seen,
    /// The schema of the mirrored models.
    pub schema: tradewind_model::schema::Schema,
    scheduler: Arc<Scheduler>,
    server: Server,
}

impl OpenDoor {
    /// Opens a door for these topics.
    pub async fn open(place: &Place, topics: impl IntoIterator<Item = String>, bounds: Bounds) -> Self {
        let store = Arc::new(place.open().await);
        let (clock, seen): (Arc<dyn Clock>, _) = (Running::new(), Seen::new());
        let schema = app(vec![(CONNECTION, connection())], Vec::new()).schema;
        let deployed = store.deploy(APP, &schema, crate::stores::NOW_MS).await;
        deployed.unwrap_or_else(|error| panic!("{error}"));
        let mappers = HashMap::from([("shopify".to_owned(), Arc::new(Shopify) as _)]);
        let (log, runtime) = (Arc::new(Silent), Arc::clone(crate::runtime()));
        let pipeline = Pipeline::new(Arc::clone(&store), runtime, Arc::clone(&clock), log, crate::SEED, mappers)
            .with_watch(Arc::new(seen.clone()));
        pipeline.install(App::new(APP, schema.clone(), Vec::new()));
        let config = Config::new("test");
        let scheduler = Arc::new(Scheduler::start(Arc::clone(&store), Arc::new(pipeline), Arc::clone(&clock), config));
        let doors = Arc::new(Doors::default());
        let door = Door {
            app: APP.into(),
            platform: "shopify".into(),
            secrets: SigningSecrets::new(SECRET, None),
            shops: (0..bounds.shops).map(|at| (shop(at), Shop::new(APP, shop(at)))).collect(),
            topics: topics.into_iter().collect::<HashSet<_>>(),
            closed: false,
        };
        doors.open([(CONNECTION.to_owned(), door)]);
        let ingress = Ingress::new(
            Arc::clone(&store),
            Arc::clone(&scheduler),
            clock,
            Arc::new(seen.clone()),
            doors,
            bounds.body_bytes_max,
        );
        let router = Arc::new(ingress.with_body_time(bounds.body_time_max)).router();
        let server =
            Server::start_within(([127, 0, 0, 1], 0).into(), router, bounds.header_time_max, bounds.connections).await;
        let server = server.unwrap_or_else(|error| panic!("{error}"));
        Self { store, seen, schema, scheduler, server }
    }

    /// Where webhooks are sent to.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Closes the door, and gives the partitions back.
    pub async fn close(self) {
        self.server.stop(crate::webhook::PATIENCE).await;
        self.scheduler.stop(crate::webhook::PATIENCE).await;
    }
}
