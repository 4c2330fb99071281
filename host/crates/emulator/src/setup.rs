//! Apps, shops, and apps in shops: what is there before anybody sells or calls anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::Offset;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::catalog::{Product, seed};
use crate::error::EmulatorError;
use crate::event::Unsubscribed;
use crate::limits::{APPS_MAX, PRODUCTS_MAX, SHOPS_MAX};
use crate::shop::{Installation, Plan, Shop};
use crate::webhooks::{Faults, Topic};
use crate::world::{App, Hub};

impl Hub {
    /// Makes an app known, by its client id and secret.
    pub(crate) fn add_app(&self, client_id: &str, secret: &str) -> Result<(), EmulatorError> {
        check_name("app", client_id, client_id.is_empty() || client_id.contains(char::is_whitespace))?;
        check_name("secret of app", client_id, secret.is_empty())?;
        let world = &mut *self.world();
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
    pub(crate) fn rotate_secret(&self, client_id: &str, secret: &str) -> Result<(), EmulatorError> {
        check_name("secret of app", client_id, secret.is_empty())?;
        let mut world = self.world();
        let app = world.app(client_id)?;
        let old = std::mem::replace(&mut app.secret, secret.to_owned());
        // The oldest one stays the one that signs, however often there is a newer one.
        app.previous_secret.get_or_insert(old);
        Ok(())
    }

    /// Ends the rotation: from now on the newest secret signs.
    pub(crate) fn revoke_previous_secret(&self, client_id: &str) -> Result<(), EmulatorError> {
        self.world().app(client_id)?.previous_secret = None;
        Ok(())
    }

    /// Opens a shop, by its domain: `hats.myshopify.com`.
    pub(crate) fn add_shop(&self, domain: &str, plan: Plan, products: usize) -> Result<(), EmulatorError> {
        let label = domain.strip_suffix(".myshopify.com").unwrap_or_default();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if label.is_empty() || label.starts_with('-') || label.len() > 60 || !label.bytes().all(fits) {
            let problem = "is no shop's domain; hint: small letters, digits and hyphens, then `.myshopify.com`";
            return Err(EmulatorError::Name { what: "shop", name: domain.to_owned(), problem });
        }
        if products > PRODUCTS_MAX {
            return Err(EmulatorError::TooMany { what: "products", max: PRODUCTS_MAX });
        }
        let now = self.second();
        let world = &mut *self.world();
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
            installations: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            pending: HashMap::new(),
            faults: Faults::default(),
            chance: StdRng::seed_from_u64(seed),
        };
        world.shops.insert(domain.to_owned(), shop);
        Ok(())
    }

    /// Changes the shop's name, and tells who subscribed to that.
    pub(crate) fn rename_shop(self: &Arc<Self>, domain: &str, name: &str) -> Result<(), EmulatorError> {
        let now = self.second();
        {
            let mut world = self.world();
            let shop = world.shop(domain)?;
            name.clone_into(&mut shop.name);
            shop.updated_at = now;
        }
        self.announce_shop(domain, Topic::ShopUpdate, None);
        Ok(())
    }

    /// Installs an app and gives its access token. Again: a new token, and the old one is no longer valid.
    pub(crate) fn install(&self, client_id: &str, domain: &str) -> Result<String, EmulatorError> {
        let world = &mut *self.world();
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
    pub(crate) fn uninstall(self: &Arc<Self>, client_id: &str, domain: &str) -> Result<(), EmulatorError> {
        self.world().installation(domain, client_id)?;
        self.announce_shop(domain, Topic::AppUninstalled, Some(client_id));
        let subscriptions: Vec<u64> = {
            let mut world = self.world();
            let shop = world.shop(domain)?;
            shop.installations.remove(client_id);
            let of_app = shop.subscriptions.values().filter(|known| known.app == client_id);
            of_app.map(|known| known.id).collect()
        };
        for id in subscriptions {
            self.unsubscribe(domain, client_id, id, Unsubscribed::Uninstalled);
        }
        Ok(())
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
