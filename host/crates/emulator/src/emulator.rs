//! The emulator itself: start, stop, and everything that a program can do with it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::Offset;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::catalog::Product;
use crate::catalog::edit::ProductEdit;
use crate::catalog::seed;
use crate::clock::Clock;
use crate::error::EmulatorError;
use crate::event::{Attempt, Event, Unsubscribed};
use crate::limits::{APPS_MAX, PRODUCTS_MAX, SHOPS_MAX};
use crate::shop::{Installation, Plan, Shop};
use crate::webhooks::{Faults, NewSubscription, Outbox, Topic};
use crate::world::{App, By, Hub};

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
    seed: u64,
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
        let router = crate::http::router(Arc::clone(&hub));
        let server = tokio::spawn(async move {
            let stopped = async move {
                // An emulator that was dropped is to stop too.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the emulator's server ended");
            }
        });
        Ok(Self { hub, address, seed: config.seed, stop, server: Some(server) })
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
        check_name("app", client_id, client_id.is_empty() || client_id.contains(char::is_whitespace))?;
        check_name("secret of app", client_id, secret.is_empty())?;
        let world = &mut *self.hub.world();
        if world.apps.len() >= APPS_MAX {
            return Err(EmulatorError::TooMany { what: "apps", max: APPS_MAX });
        }
        if world.apps.contains_key(client_id) {
            return Err(taken("app", client_id));
        }
        let id = world.ids.next();
        let (client_id, secret) = (client_id.to_owned(), secret.to_owned());
        world.apps.insert(client_id.clone(), App { id, client_id, secret, previous_secret: None });
        Ok(())
    }

    /// Gives an app a new secret. Until the old one is revoked, webhooks are signed with it.
    pub fn rotate_secret(&self, client_id: &str, secret: &str) -> Result<(), EmulatorError> {
        check_name("secret of app", client_id, secret.is_empty())?;
        let mut world = self.hub.world();
        let app = world.app(client_id)?;
        let old = std::mem::replace(&mut app.secret, secret.to_owned());
        // The oldest one stays the one that signs, however often there is a newer one.
        app.previous_secret.get_or_insert(old);
        Ok(())
    }

    /// Ends the rotation: from now on the newest secret signs.
    pub fn revoke_previous_secret(&self, client_id: &str) -> Result<(), EmulatorError> {
        self.hub.world().app(client_id)?.previous_secret = None;
        Ok(())
    }

    /// Opens a shop, by its domain: `hats.myshopify.com`.
    pub fn add_shop(&self, domain: &str, plan: Plan, products: usize) -> Result<(), EmulatorError> {
        let label = domain.strip_suffix(".myshopify.com").unwrap_or_default();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if label.is_empty() || label.starts_with('-') || label.len() > 60 || !label.bytes().all(fits) {
            let problem = "is no shop's domain; hint: small letters, digits and hyphens, then `.myshopify.com`";
            return Err(EmulatorError::Name { what: "shop", name: domain.to_owned(), problem });
        }
        if products > PRODUCTS_MAX {
            return Err(EmulatorError::TooMany { what: "products", max: PRODUCTS_MAX });
        }
        let now = self.hub.second();
        let world = &mut *self.hub.world();
        if world.shops.len() >= SHOPS_MAX {
            return Err(EmulatorError::TooMany { what: "shops", max: SHOPS_MAX });
        }
        if world.shops.contains_key(domain) {
            return Err(taken("shop", domain));
        }
        let seed =
            self.seed.wrapping_add(label.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte)));
        let id = world.ids.next();
        let mut made = seed::products(products, seed, now, &mut world.ids);
        unique_handles(&mut made);
        let shop = Shop {
            id,
            domain: domain.to_owned(),
            name: title(label),
            plan,
            offset: Offset::constant(-5),
            created_at: now,
            updated_at: now,
            products: made.into_iter().map(|product| (product.id, product)).collect(),
            installations: std::collections::BTreeMap::new(),
            subscriptions: std::collections::BTreeMap::new(),
            pending: HashMap::new(),
            faults: Faults::default(),
            chance: StdRng::seed_from_u64(seed),
        };
        world.shops.insert(domain.to_owned(), shop);
        Ok(())
    }

    /// Changes the shop's name, and tells who subscribed to that.
    pub fn rename_shop(&self, domain: &str, name: &str) -> Result<(), EmulatorError> {
        let now = self.hub.second();
        {
            let mut world = self.hub.world();
            let shop = world.shop(domain)?;
            name.clone_into(&mut shop.name);
            shop.updated_at = now;
        }
        self.hub.announce_shop(domain, Topic::SHOP_UPDATE, None);
        Ok(())
    }

    /// Installs an app and gives its access token. Again: a new token, and the old one is no longer valid.
    pub fn install(&self, client_id: &str, domain: &str) -> Result<String, EmulatorError> {
        let world = &mut *self.hub.world();
        world.app(client_id)?;
        let token = format!("shpat_{}", world.secret_name());
        let id = world.ids.next();
        let shop = world.shop(domain)?;
        let installation =
            Installation { id, token: token.clone(), graphql: shop.plan.graphql(), rest: shop.plan.rest() };
        shop.installations.insert(client_id.to_owned(), installation);
        Ok(token)
    }

    /// Takes an app out of a shop: its token and its subscriptions end, and it is told so.
    pub fn uninstall(&self, client_id: &str, domain: &str) -> Result<(), EmulatorError> {
        self.hub.world().installation(domain, client_id)?;
        self.hub.announce_shop(domain, Topic::APP_UNINSTALLED, Some(client_id));
        let subscriptions: Vec<u64> = {
            let mut world = self.hub.world();
            let shop = world.shop(domain)?;
            shop.installations.remove(client_id);
            let of_app = shop.subscriptions.values().filter(|known| known.app == client_id);
            of_app.map(|known| known.id).collect()
        };
        for id in subscriptions {
            self.hub.unsubscribe(domain, client_id, id, Unsubscribed::Uninstalled);
        }
        Ok(())
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

fn check_name(what: &'static str, name: &str, wrong: bool) -> Result<(), EmulatorError> {
    let problem = "is empty or has spaces in it";
    if wrong { Err(EmulatorError::Name { what, name: name.to_owned(), problem }) } else { Ok(()) }
}

fn taken(what: &'static str, name: &str) -> EmulatorError {
    EmulatorError::Name { what, name: name.to_owned(), problem: "is there already" }
}

/// `quiet-hats` is `Quiet Hats`.
fn title(label: &str) -> String {
    let words = label.split('-').filter(|word| !word.is_empty());
    let words = words.map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect::<Vec<_>>().join(" ")
}

/// Two seeded products with the same title have two handles.
fn unique_handles(products: &mut [Product]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for product in products {
        let count = seen.entry(product.handle.clone()).or_default();
        if *count > 0 {
            product.handle = format!("{}-{}", product.handle, product.id);
        }
        *count += 1;
    }
}
