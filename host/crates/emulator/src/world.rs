//! All that the emulator knows, behind one lock that is never held while anything is waited for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::broadcast;

use crate::catalog::edit::{Problem, ProductEdit, apply, blank};
use crate::catalog::seed::Ids;
use crate::catalog::{Product, handle_free};
use crate::clock::Clock;
use crate::error::EmulatorError;
use crate::event::{Attempt, Event};
use crate::limits::{EVENTS_KEPT_MAX, PRODUCTS_MAX};
use crate::shop::{Installation, Shop};
use crate::webhooks::{Outbox, Topic};

/// An app: who it is, and what its webhooks are signed with.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) client_id: String,
    pub(crate) secret: String,
    /// Still valid after a rotation.
    pub(crate) previous_secret: Option<String>,
}

impl App {
    /// Webhooks are signed with the oldest secret that is not revoked.
    pub(crate) fn signing_secret(&self) -> &str {
        self.previous_secret.as_deref().unwrap_or(&self.secret)
    }
}

/// Everything that can change.
pub(crate) struct World {
    /// By client id.
    pub(crate) apps: BTreeMap<String, App>,
    /// By domain.
    pub(crate) shops: BTreeMap<String, Shop>,
    pub(crate) ids: Ids,
    /// Makes tokens and the ids of webhooks.
    pub(crate) names: StdRng,
    /// The latest attempts to send webhooks, the oldest first.
    pub(crate) attempts: VecDeque<Attempt>,
}

impl World {
    pub(crate) fn shop(&mut self, domain: &str) -> Result<&mut Shop, EmulatorError> {
        self.shops.get_mut(domain).ok_or_else(|| unknown("shop", domain))
    }

    pub(crate) fn app(&mut self, client_id: &str) -> Result<&mut App, EmulatorError> {
        self.apps.get_mut(client_id).ok_or_else(|| unknown("app", client_id))
    }

    pub(crate) fn installation(&mut self, shop: &str, client_id: &str) -> Result<&mut Installation, EmulatorError> {
        let installations = &mut self.shop(shop)?.installations;
        installations.get_mut(client_id).ok_or_else(|| unknown("installed app", client_id))
    }

    /// 32 hexadecimal digits.
    pub(crate) fn secret_name(&mut self) -> String {
        format!("{:032x}", self.names.random::<u128>())
    }

    /// A random id in the form that webhooks have.
    pub(crate) fn uuid(&mut self) -> String {
        // Version 4, variant 1.
        let bits = self.names.random::<u128>() & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

pub(crate) fn unknown(what: &'static str, name: &str) -> EmulatorError {
    EmulatorError::Unknown { what, name: name.to_owned() }
}

/// What everybody in the emulator shares.
pub(crate) struct Hub {
    pub(crate) clock: Clock,
    pub(crate) outbox: Outbox,
    pub(crate) events: broadcast::Sender<Event>,
    /// What each shop's own seed is made of.
    pub(crate) seed: u64,
    world: Mutex<World>,
}

/// Who changes something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'a> {
    Merchant,
    App(&'a str),
}

impl By<'_> {
    fn name(self) -> String {
        match self {
            Self::Merchant => "merchant".to_owned(),
            Self::App(client_id) => client_id.to_owned(),
        }
    }
}

impl Hub {
    pub(crate) fn new(clock: Clock, seed: u64, outbox: Outbox) -> Arc<Self> {
        let world = World {
            apps: BTreeMap::new(),
            shops: BTreeMap::new(),
            ids: Ids::new(seed),
            names: StdRng::seed_from_u64(seed),
            attempts: VecDeque::new(),
        };
        Arc::new(Self {
            clock,
            outbox,
            events: broadcast::Sender::new(EVENTS_KEPT_MAX),
            seed,
            world: Mutex::new(world),
        })
    }

    /// Never hold it across an `await`.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever listens; nobody has to.
    pub(crate) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The time as products keep it: whole seconds.
    pub(crate) fn second(&self) -> Timestamp {
        let now = self.clock.now();
        now.checked_sub(SignedDuration::from_nanos(i64::from(now.subsec_nanosecond()))).unwrap_or(now)
    }

    /// Makes a product.
    pub(crate) fn create_product(
        self: &Arc<Self>,
        domain: &str,
        by: By<'_>,
        edit: &ProductEdit,
    ) -> Result<Product, EmulatorError> {
        let now = self.second();
        let product = {
            let world = &mut *self.world();
            let shop = world.shops.get_mut(domain).ok_or_else(|| unknown("shop", domain))?;
            if shop.products.len() >= PRODUCTS_MAX {
                return Err(EmulatorError::TooMany { what: "products", max: PRODUCTS_MAX });
            }
            let ids = &mut world.ids;
            let new = blank(ids.next(), &shop.name, now);
            let mut product = apply(&new, edit, now, &mut || ids.next()).map_err(EmulatorError::Invalid)?;
            product.handle = handle_free(&product.handle, product.id, shop.products.values());
            shop.products.insert(product.id, product.clone());
            product
        };
        self.changed(domain, Topic::ProductsCreate, &product, by);
        Ok(product)
    }

    /// Changes a product. An edit after which it is as it was tells nobody.
    pub(crate) fn edit_product(
        self: &Arc<Self>,
        domain: &str,
        by: By<'_>,
        id: u64,
        edit: &ProductEdit,
    ) -> Result<Product, EmulatorError> {
        let now = self.second();
        let product = {
            let world = &mut *self.world();
            let shop = world.shops.get_mut(domain).ok_or_else(|| unknown("shop", domain))?;
            let before = shop.products.get(&id).ok_or_else(|| unknown("product", &id.to_string()))?;
            let ids = &mut world.ids;
            let product = apply(before, edit, now, &mut || ids.next()).map_err(EmulatorError::Invalid)?;
            if product == *before {
                return Ok(product);
            }
            if handle_free(&product.handle, id, shop.products.values()) != product.handle {
                let message = format!("'{}' already in use. Please provide a new handle.", product.handle);
                return Err(EmulatorError::Invalid(vec![Problem::new("handle", message)]));
            }
            shop.products.insert(id, product.clone());
            product
        };
        self.changed(domain, Topic::ProductsUpdate, &product, by);
        Ok(product)
    }

    /// Deletes a product, and gives it back for the last time.
    pub(crate) fn delete_product(
        self: &Arc<Self>,
        domain: &str,
        by: By<'_>,
        id: u64,
    ) -> Result<Product, EmulatorError> {
        let product = self.world().shop(domain)?.products.remove(&id);
        let product = product.ok_or_else(|| unknown("product", &id.to_string()))?;
        self.changed(domain, Topic::ProductsDelete, &product, by);
        Ok(product)
    }

    fn changed(self: &Arc<Self>, domain: &str, topic: Topic, product: &Product, by: By<'_>) {
        self.tell(Event::Changed {
            shop: domain.to_owned(),
            topic: topic.name().to_owned(),
            product: product.id,
            title: product.title.clone(),
            by: by.name(),
        });
        self.announce(domain, topic, product.id);
    }
}
