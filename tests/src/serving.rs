//! A whole host in the test's own process: real doors, store, scheduler and sandbox, and everything that happens in it.
//!
//! Nothing waits for a time: [`Seen::until`] looks again whenever something has happened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tradewind_host::config::{App, Connection, Listen, Plugin, SecretString, Server, Shop, webhook_path};
use tradewind_host::pipeline::Clock;
use tradewind_host::serve::{Host, Start};
use tradewind_host::watch::{Attempt, Called, Invoked, Received, Watch};
use tradewind_model::{RecordKey, Shop as Tenant};
use tradewind_store::{Delivery, DeliveryFilter, Job, JobState, Store, Stored};

use crate::stores::Place;
use crate::webhook::{PATIENCE, Request};
use crate::{NOW, SEED};

/// The app of the tests, and its connection.
pub const APP: &str = "tagger";
/// The connection's name.
pub const CONNECTION: &str = "shopify";
/// Signs webhooks.
pub const SECRET: &str = "test-client-secret";
/// The app's id at the platform.
pub const CLIENT_ID: &str = "test-client-id";
/// The shop that is installed.
pub const SHOP: &str = "hats.myshopify.com";
/// Lets the app into the shop.
pub const TOKEN: &str = "shpat_0123456789abcdef";

/// The time of the test, which goes on like everybody's.
pub struct Running(Instant);

impl Running {
    /// Begins now at [`NOW`].
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Running {
    fn now(&self) -> Duration {
        NOW + self.0.elapsed()
    }
}

/// Something that happened in a host.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// A webhook is on disk.
    Received {
        /// The delivery's number.
        seq: i64,
    },
    /// A request was answered, in this word.
    Answered(&'static str),
    /// A plugin was called.
    Invoked {
        /// `plugin/action phase outcome`.
        what: String,
        /// The delivery that it goes back to.
        seq: Option<i64>,
        /// What it returned.
        detail: Value,
    },
    /// A platform was called.
    Called {
        /// An operation's name, or a method with a path.
        what: String,
        /// What went wrong.
        error: Option<String>,
        /// How often it was sent again.
        retries: u32,
    },
    /// An attempt at a job ended.
    Ended {
        /// The job's kind.
        kind: &'static str,
        /// One word.
        outcome: String,
        /// The delivery that it goes back to.
        seq: Option<i64>,
        /// How many of our own writes led to it.
        depth: u32,
        /// What went wrong.
        error: Value,
        /// The fields that were known for an echo, as `field by plugin`.
        echoes: Vec<String>,
    },
}

/// Everything that happened, in its order.
#[derive(Clone)]
pub struct Seen(watch::Sender<Vec<Happened>>);

impl Seen {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    fn add(&self, happened: Happened) {
        self.0.send_modify(|all| all.push(happened));
    }

    /// So far.
    pub fn all(&self) -> Vec<Happened> {
        self.0.borrow().clone()
    }

    /// Waits until what happened is as it should be.
    pub async fn until(&self, what: &str, is_so: impl FnMut(&Vec<Happened>) -> bool) {
        let mut changes = self.0.subscribe();
        let waited = tokio::time::timeout(PATIENCE, changes.wait_for(is_so)).await.is_ok();
        assert!(waited, "{what} did not happen: {:#?}", self.all());
    }

    /// Waits until no job of the store waits but those that are parked, which it answers.
    pub async fn idle(&self, store: &Store) -> Vec<Job> {
        let mut happens = self.0.subscribe();
        loop {
            happens.mark_unchanged();
            let jobs = crate::stores::jobs(store).await;
            if jobs.iter().all(|job| job.state == JobState::Parked) {
                return jobs;
            }
            let happened = tokio::time::timeout(PATIENCE, happens.changed()).await;
            assert!(happened.is_ok(), "jobs do not end: {jobs:#?}\n{:#?}", self.all());
        }
    }

    /// The calls of plugins, as `plugin/action phase outcome`.
    pub fn invoked(&self) -> Vec<String> {
        self.all()
            .into_iter()
            .filter_map(|one| if let Happened::Invoked { what, .. } = one { Some(what) } else { None })
            .collect()
    }

    /// What a plugin's action returned each time that it ran, with the delivery's number.
    pub fn returned(&self, what: &str) -> Vec<(Option<i64>, Value)> {
        let returned = |one| match one {
            Happened::Invoked { what: this, seq, detail } if this == format!("{what} run ok") => Some((seq, detail)),
            _ => None,
        };
        self.all().into_iter().filter_map(returned).collect()
    }

    /// How attempts at deliveries ended.
    pub fn delivered(&self) -> Vec<String> {
        let delivered = |one| match one {
            Happened::Ended { kind: "delivery", outcome, .. } => Some(outcome),
            _ => None,
        };
        self.all().into_iter().filter_map(delivered).collect()
    }
}

impl Watch for Seen {
    fn received(&self, received: &Received<'_>) {
        self.add(Happened::Received { seq: received.seq });
    }

    fn answered(&self, _: &str, word: &'static str) {
        self.add(Happened::Answered(word));
    }

    fn invoked(&self, invoked: &Invoked<'_>) {
        let Invoked { plugin, action, phase, outcome, detail, delivery_seq, .. } = invoked;
        let detail = detail.map_or(Value::Null, crate::host::value);
        self.add(Happened::Invoked {
            what: format!("{plugin}/{action} {phase} {outcome}"),
            seq: *delivery_seq,
            detail,
        });
    }

    fn called(&self, called: &Called<'_>) {
        let error = called.error.map(str::to_owned);
        self.add(Happened::Called { what: called.what.to_owned(), error, retries: called.retries });
    }

    fn wants_changes(&self) -> bool {
        true
    }

    fn ended(&self, attempt: &Attempt<'_>) {
        let fields = attempt.changes.iter().flat_map(|changed| &changed.fields);
        let echoes = fields.filter_map(|field| Some(format!("{} by {}", field.name, field.echo_of.as_ref()?)));
        self.add(Happened::Ended {
            kind: attempt.job.kind.as_str(),
            outcome: attempt.outcome.to_owned(),
            seq: attempt.job.delivery_seq,
            depth: attempt.depth,
            error: attempt.error.map_or(Value::Null, crate::host::value),
            echoes: echoes.collect(),
        });
    }
}

/// A connection of the usual shop, whose API is nowhere.
pub fn connection() -> Connection {
    let mut connection = Connection::shopify(CLIENT_ID, SECRET, &["read_products", "write_products"]);
    let nowhere = "http://127.0.0.1:9".to_owned();
    connection.shops.push(Shop { api_url: nowhere, ..Shop::new(SHOP, TOKEN) });
    connection
}

/// A built plugin with the usual grants.
pub fn plugin(name: &str) -> Plugin {
    let folder = crate::plugins_folder().unwrap_or_else(|error| panic!("{error:#}"));
    Plugin::new(name, &folder.join(format!("{name}.wasm")))
}

/// The app of the tests.
pub fn app(connections: Vec<(&str, Connection)>, plugins: Vec<Plugin>) -> App {
    let connections: BTreeMap<_, _> = connections.into_iter().map(|(name, one)| (name.to_owned(), one)).collect();
    App::new(APP, connections, Vec::new(), plugins, Path::new(".")).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The configuration of a host on any free ports.
pub fn server(place: &Place, apps: Vec<App>) -> Server {
    let store = match place {
        Place::Sqlite(_) => format!("sqlite:{}", place.file().display()),
        Place::Postgres(url) => url.clone(),
    };
    let mut server = Server::new(SecretString::from(store));
    let any = ([127, 0, 0, 1], 0).into();
    server.listen = Listen { public: any, admin: any };
    server.cache.artifacts = crate::artifacts_folder().unwrap_or_else(|_| PathBuf::from("."));
    server.apps = apps;
    server
}

/// A host, and what happens in it.
pub struct Served {
    /// The host.
    pub host: Host,
    /// What happened.
    pub seen: Seen,
}

impl Served {
    /// Starts a host on a store, which is made when it is not there.
    pub async fn start(place: &Place, server: Server, clock: Arc<dyn Clock>) -> Self {
        Store::migrate(&place.location()).await.unwrap_or_else(|error| panic!("{error:?}"));
        let seen = Seen::new();
        let start = Start {
            clock,
            seed: SEED,
            host: "test".to_owned(),
            watch: Arc::new(seen.clone()),
            on_standstill: None,
            compiler: None,
        };
        let host = Host::start(server, start).await.unwrap_or_else(|error| panic!("{error:#}"));
        Self { host, seen }
    }

    /// A host with one app without plugins.
    pub async fn plain(place: &Place) -> Self {
        Self::start(place, server(place, vec![app(vec![(CONNECTION, connection())], Vec::new())]), Running::new()).await
    }

    /// The path that webhooks are sent to.
    pub fn path() -> String {
        webhook_path(APP, CONNECTION)
    }

    /// The address that webhooks are sent to.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.host.public(), Self::path())
    }

    /// A webhook about a product that the host takes.
    pub fn webhook(id: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::webhook(&Self::path(), SECRET, SHOP, id, body)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        self.host.store()
    }

    /// Waits until no job waits but those that are parked, which it answers.
    pub async fn idle(&self) -> Vec<Job> {
        self.seen.idle(self.store()).await
    }

    /// All deliveries, the newest first, without their bodies.
    pub async fn deliveries(&self) -> Vec<Delivery> {
        let deliveries = self.store().deliveries(&DeliveryFilter::default(), 10_000).await;
        deliveries.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// A record of the usual shop.
    pub async fn stored(&self, model: &str, id: &str) -> Option<Stored> {
        let found = self.store().record(&Tenant::new(APP, SHOP), &RecordKey::new(model, id)).await;
        found.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Its document; `null` when it is not there.
    pub async fn record(&self, model: &str, id: &str) -> Value {
        self.stored(model, id).await.map_or(Value::Null, |stored| crate::host::value(&stored.doc))
    }
}
