//! The product on one machine: an emulated store beside a host, and a live feed of what happens between them.
//!
//! Nothing of it is a stand-in but the store: webhooks are signed and sent over HTTP, plugins run in their sandbox, calls
//! are counted against the store's budget.

mod feed;
mod files;
mod once;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tradewind_emulator::{Config as EmulatorConfig, Emulator, NewSubscription, Plan, Topic};
use tradewind_store::{Location, Store};

pub use feed::Feed;
pub use files::{Stamps, changed, stamps};
pub use once::once;

use crate::config::{self, Connection, Listen, SecretString};
use crate::pipeline::Clock;
use crate::serve::{Host, Start};

/// The store that is emulated.
pub const SHOP: &str = "hats.myshopify.com";

/// The app that has the plugins.
const APP: &str = "dev";

/// Its connection to the emulated platform.
const CONNECTION: &str = "shopify";
const CLIENT_ID: &str = "tradewind-dev";
const SCOPES: [&str; 2] = ["read_products", "write_products"];

/// The database, which is made anew at each start: no name that a real one has.
const DATABASE: &str = "dev-anew.db";

/// Products that the store begins with.
const PRODUCTS: usize = 12;

/// How long the store waits for more changes of a product before it tells of one.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// What is run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Each plugin's name and component.
    pub plugins: Vec<(String, PathBuf)>,
    /// Where the database and compiled plugins are.
    pub folder: PathBuf,
    /// The port of the host; 0 takes any that is free.
    pub port: u16,
    /// Decides what the store sells.
    pub seed: u64,
}

/// A store and a host that serves it.
pub struct World {
    /// The store.
    pub emulator: Emulator,
    /// The host.
    pub host: Host,
    plugins: Vec<(String, PathBuf)>,
    app: config::App,
}

impl World {
    /// Starts both. The database is made anew: the store of the last time is gone too.
    pub async fn start(plan: Setting, clock: Arc<dyn Clock>, feed: Arc<Feed>) -> Result<Self> {
        let Setting { plugins, folder, port, seed } = plan;
        let mut emulator = EmulatorConfig::new(seed, clock.now());
        emulator.debounce = DEBOUNCE;
        let emulator = Emulator::start(emulator).await?;
        let secret = format!("dev-secret-{:016x}", seed ^ 0x7472_6164_6577_696e);
        emulator.add_app(CLIENT_ID, &secret)?;
        emulator.add_shop(SHOP, Plan::Standard, PRODUCTS)?;
        let token = emulator.install(CLIENT_ID, SHOP)?;
        feed.follow(emulator.events());

        let database = folder.join(DATABASE);
        fresh(&database)?;
        let store = format!("sqlite:{}", database.display());
        Store::migrate(&Location::parse(&store)?).await?;
        let mut connection = Connection::shopify(CLIENT_ID, secret, &SCOPES);
        let api_url = emulator.shop_url(SHOP);
        connection.shops.push(config::Shop { api_url, ..config::Shop::new(SHOP, token) });
        let app = app(connection, &plugins, &folder)?;
        let mut server = config::Server::new(SecretString::from(store));
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        server.listen = Listen { public: local(port), admin: local(0) };
        server.cache.artifacts = folder.join("artifacts");
        server.limits.drain_seconds = 2;
        server.apps = vec![app.clone()];
        let host = format!("dev-{}", std::process::id());
        let mut host =
            Host::start(server, Start { clock, seed, host, watch: feed as _, on_standstill: None, compiler: None })
                .await?;
        if !host.failed().is_empty() {
            // There is no other app to run: the second try gives the reason.
            host.replace(app.clone()).await?;
        }

        let address = format!("http://{}{}", host.public(), config::webhook_path(APP, CONNECTION));
        let topics = ["products/create", "products/update", "products/delete", "shop/update", "app/uninstalled"];
        for topic in topics.into_iter().filter_map(Topic::named) {
            emulator.subscribe(CLIENT_ID, SHOP, NewSubscription::new(topic, &address))?;
        }
        Ok(Self { emulator, host, plugins, app })
    }

    /// Installs the plugins anew, as their files are now.
    pub async fn reload(&mut self) -> Result<()> {
        self.host.replace(self.app.clone()).await
    }

    /// The components that run.
    pub fn components(&self) -> impl Iterator<Item = &Path> {
        self.plugins.iter().map(|(_, file)| file.as_path())
    }

    /// Ends both.
    pub async fn stop(self) {
        self.host.stop().await;
        self.emulator.stop().await;
    }
}

fn app(connection: Connection, plugins: &[(String, PathBuf)], folder: &Path) -> Result<config::App> {
    let connections = BTreeMap::from([(CONNECTION.to_owned(), connection)]);
    let plugins = plugins.iter().map(|(name, file)| config::Plugin::new(name, file)).collect();
    config::App::new(APP, connections, Vec::new(), plugins, folder)
        .map_err(|problems| anyhow::anyhow!("{}", problems.join("; ")))
}

/// Removes what an earlier run has left, and makes the folder.
fn fresh(database: &Path) -> Result<()> {
    let folder = database.parent().context("the database has a folder")?;
    let mut new = std::fs::DirBuilder::new();
    new.recursive(true);
    // What is in it is as private as a host's store. A folder that is there keeps its mode: other files may be in it.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut new, 0o700);
    new.create(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    for suffix in ["", "-wal", "-shm"] {
        let mut file = database.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let hint = "hint: does another `tradewind dev` run in this folder?";
                return Err(error)
                    .with_context(|| format!("`{}` cannot be removed; {hint}", Path::new(&file).display()));
            }
            _ => {}
        }
    }
    Ok(())
}
