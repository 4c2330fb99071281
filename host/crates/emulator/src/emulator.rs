//! The emulator itself: start, stop, and everything that a program can do with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::catalog::Product;
use crate::catalog::edit::ProductEdit;
use crate::clock::Clock;
use crate::error::EmulatorError;
use crate::event::{Attempt, Event};
use crate::shop::Plan;
use crate::webhooks::{Faults, NewSubscription, Outbox, Topic};
use crate::world::{By, Hub};

/// How an emulator is started.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Where on 127.0.0.1; 0 takes any that is free.
    pub port: u16,
    /// Decides products, ids, tokens and faults.
    pub seed: u64,
    /// The time of day at the start, since 1970.
    pub now: Duration,
    /// How many times as fast as usual its time runs: buckets refill, retries come, edits are collapsed.
    pub speed: u32,
    /// How long an update waits for others of the same product, in the emulator's time. The platform does not say; zero
    /// sends each at once.
    pub debounce: Duration,
}

impl Config {
    /// Any port, the usual speed, and updates that are collapsed within a second.
    pub fn new(seed: u64, now: Duration) -> Self {
        Self { port: 0, seed, now, speed: 1, debounce: Duration::from_secs(1) }
    }
}

/// A small Shopify on this machine. It ends when it is stopped or dropped.
pub struct Emulator {
    hub: Arc<Hub>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Listens on 127.0.0.1.
    pub async fn start(config: Config) -> Result<Self, EmulatorError> {
        let clock = Clock::new(config.now, config.speed);
        let clock = clock.ok_or(EmulatorError::Time { seconds: config.now.as_secs() })?;
        let hub = Hub::new(clock, config.seed, Outbox::new(config.debounce)?);
        let listen = |source| EmulatorError::Listen { port: config.port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, mut stopped) = watch::channel(false);
        let router = crate::http::router(&hub);
        let server = tokio::spawn(async move {
            let stopped = async move {
                // An emulator that was dropped is to stop too.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the emulator's server ended");
            }
        });
        Ok(Self { hub, address, stop, server: Some(server) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the page is: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where a shop's APIs are, for clients that cannot set `Host`: `…/{shop}/admin/api/{version}/…` follows.
    pub fn shop_url(&self, domain: &str) -> String {
        format!("http://{}/{domain}", self.address)
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.hub.events.subscribe()
    }

    /// The latest attempts to send webhooks, the oldest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.hub.world().attempts.iter().cloned().collect()
    }

    /// Waits until no webhook waits to be collected, sent or sent again.
    pub async fn settled(&self) {
        self.hub.outbox.empty().await;
    }

    /// Makes an app known, by its client id and secret.
    pub fn add_app(&self, client_id: &str, secret: &str) -> Result<(), EmulatorError> {
        self.hub.add_app(client_id, secret)
    }

    /// Gives an app a new secret. Until the old one is revoked, webhooks are signed with it.
    pub fn rotate_secret(&self, client_id: &str, secret: &str) -> Result<(), EmulatorError> {
        self.hub.rotate_secret(client_id, secret)
    }

    /// Ends the rotation: from now on the newest secret signs.
    pub fn revoke_previous_secret(&self, client_id: &str) -> Result<(), EmulatorError> {
        self.hub.revoke_previous_secret(client_id)
    }

    /// Opens a shop, by its domain: `hats.myshopify.com`. It begins with so many products, all made from the seed.
    pub fn add_shop(&self, domain: &str, plan: Plan, products: usize) -> Result<(), EmulatorError> {
        self.hub.add_shop(domain, plan, products)
    }

    /// Changes the shop's name, and tells who subscribed to that.
    pub fn rename_shop(&self, domain: &str, name: &str) -> Result<(), EmulatorError> {
        self.hub.rename_shop(domain, name)
    }

    /// Installs an app and gives its access token. Again: a new token, and the old one is no longer valid.
    pub fn install(&self, client_id: &str, domain: &str) -> Result<String, EmulatorError> {
        self.hub.install(client_id, domain)
    }

    /// Takes an app out of a shop: its token and its subscriptions end, and it is told so.
    pub fn uninstall(&self, client_id: &str, domain: &str) -> Result<(), EmulatorError> {
        self.hub.uninstall(client_id, domain)
    }

    /// Subscribes an installed app, and gives the subscription's id.
    pub fn subscribe(&self, client_id: &str, domain: &str, new: NewSubscription) -> Result<u64, EmulatorError> {
        Ok(self.hub.subscribe(domain, client_id, new)?.id)
    }

    /// The ids and topics of an app's subscriptions in a shop.
    pub fn subscriptions(&self, client_id: &str, domain: &str) -> Result<Vec<(u64, Topic)>, EmulatorError> {
        let mut world = self.hub.world();
        let of_app = world.shop(domain)?.subscriptions.values().filter(|known| known.app == client_id);
        Ok(of_app.map(|known| (known.id, known.topic)).collect())
    }

    /// Switches faults on or off; the shop's seed decides from here on.
    pub fn set_faults(&self, domain: &str, faults: Faults) -> Result<(), EmulatorError> {
        self.hub.world().shop(domain)?.faults = faults;
        Ok(())
    }

    /// A product.
    pub fn product(&self, domain: &str, id: u64) -> Result<Option<Product>, EmulatorError> {
        Ok(self.hub.world().shop(domain)?.products.get(&id).cloned())
    }

    /// All products of a shop, by id.
    pub fn products(&self, domain: &str) -> Result<Vec<Product>, EmulatorError> {
        Ok(self.hub.world().shop(domain)?.products.values().cloned().collect())
    }

    /// Makes a product, as a merchant would.
    pub fn create_product(&self, domain: &str, edit: &ProductEdit) -> Result<Product, EmulatorError> {
        self.hub.create_product(domain, By::Merchant, edit)
    }

    /// Changes a product, as a merchant would.
    pub fn edit_product(&self, domain: &str, id: u64, edit: &ProductEdit) -> Result<Product, EmulatorError> {
        self.hub.edit_product(domain, By::Merchant, id, edit)
    }

    /// Deletes a product, as a merchant would.
    pub fn delete_product(&self, domain: &str, id: u64) -> Result<(), EmulatorError> {
        self.hub.delete_product(domain, By::Merchant, id).map(drop)
    }

    /// A merchant's bulk edit: so many products, one after the other, get a tag that they did not have.
    pub fn burst(&self, domain: &str, products: usize) -> Result<(), EmulatorError> {
        let ids: Vec<_> = self.hub.world().shop(domain)?.products.keys().copied().take(products).collect();
        let tag = format!("burst-{}", self.hub.world().secret_name());
        for id in ids {
            let Some(product) = self.product(domain, id)? else { continue };
            let tags = [product.tags.as_slice(), std::slice::from_ref(&tag)].concat();
            self.edit_product(domain, id, &ProductEdit { tags: Some(tags), ..ProductEdit::default() })?;
        }
        Ok(())
    }

    /// Ends what is under way and stops listening; requests that are being answered are answered.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let mut tasks = self.hub.outbox.abort();
        while tasks.join_next().await.is_some() {}
        if let Some(server) = self.server.take()
            && let Err(error) = server.await
        {
            tracing::error!(%error, "the emulator's server broke off");
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        drop(self.hub.outbox.abort());
    }
}
