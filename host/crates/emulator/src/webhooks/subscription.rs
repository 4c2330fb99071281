//! Who wants to be told what, and where.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;

use super::Topic;
use crate::error::EmulatorError;
use crate::event::{Event, Unsubscribed};
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::version;
use crate::world::{Hub, unknown};

/// A subscription of one app in one shop.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: u64,
    /// The app's client id.
    pub(crate) app: String,
    pub(crate) topic: Topic,
    pub(crate) address: String,
    /// Top-level fields of the body; none means all.
    pub(crate) include_fields: Vec<String>,
    pub(crate) metafield_namespaces: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) api_version: &'static str,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// Webhooks that were taken: whoever gave up looks whether another one came through meanwhile.
    pub(crate) successes: u64,
    /// What was last said of each product.
    said: HashMap<u64, u64>,
}

impl Subscription {
    /// Whether a body differs from the one before; it is the one before from now on.
    pub(super) fn is_news(&mut self, product: u64, body: &str) -> bool {
        if self.topic == Topic::ProductsDelete {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let digest = hasher.finish();
        self.said.insert(product, digest) != Some(digest)
    }
}

/// What is to be subscribed to.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// What it tells.
    pub topic: Topic,
    /// Where to: `http://…`. An `https://` address is kept, but the emulator brings no TLS: it is reached only in a program
    /// whose other clients do.
    pub address: String,
    /// Top-level fields of the body; none means all.
    pub include_fields: Vec<String>,
    /// Namespaces whose metafields are in the body.
    pub metafield_namespaces: Vec<String>,
    /// Sent along as `X-Shopify-Name`.
    pub name: Option<String>,
    /// The version of the payload.
    pub api_version: &'static str,
}

impl NewSubscription {
    /// A topic for an address, and the usual for the rest.
    pub fn new(topic: Topic, address: impl Into<String>) -> Self {
        Self {
            topic,
            address: address.into(),
            include_fields: Vec::new(),
            metafield_namespaces: Vec::new(),
            name: None,
            api_version: version::USUAL,
        }
    }
}

impl Hub {
    /// Subscribes an installed app.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        domain: &str,
        app: &str,
        new: NewSubscription,
    ) -> Result<Subscription, EmulatorError> {
        let now = self.second();
        let world = &mut *self.world();
        world.installation(domain, app)?;
        let id = world.ids.next();
        let shop = world.shop(domain)?;
        let of_app = || shop.subscriptions.values().filter(|known| known.app == app);
        if of_app().count() >= SUBSCRIPTIONS_MAX {
            return Err(EmulatorError::TooMany { what: "subscriptions of the app", max: SUBSCRIPTIONS_MAX });
        }
        check_address(&new.address)?;
        if of_app().any(|known| known.topic == new.topic && known.address == new.address) {
            return Err(EmulatorError::Subscription("Address for this topic has already been taken".to_owned()));
        }
        let subscription = Subscription {
            id,
            app: app.to_owned(),
            topic: new.topic,
            address: new.address,
            include_fields: new.include_fields,
            metafield_namespaces: new.metafield_namespaces,
            name: new.name,
            api_version: new.api_version,
            created_at: now,
            updated_at: now,
            successes: 0,
            said: HashMap::new(),
        };
        shop.subscriptions.insert(id, subscription.clone());
        Ok(subscription)
    }

    /// Changes an app's subscription.
    pub(crate) fn change_subscription(
        &self,
        domain: &str,
        app: &str,
        id: u64,
        change: impl FnOnce(&mut Subscription),
    ) -> Result<Subscription, EmulatorError> {
        let now = self.second();
        let world = &mut *self.world();
        let subscriptions = &mut world.shop(domain)?.subscriptions;
        let known = subscriptions.get(&id).filter(|known| known.app == app);
        let mut changed = known.ok_or_else(|| unknown("subscription", &id.to_string()))?.clone();
        change(&mut changed);
        check_address(&changed.address)?;
        changed.updated_at = now;
        subscriptions.insert(id, changed.clone());
        Ok(changed)
    }

    /// Ends a subscription, if it is the app's.
    pub(crate) fn unsubscribe(&self, domain: &str, app: &str, id: u64, why: Unsubscribed) -> bool {
        let gone = {
            let world = &mut *self.world();
            let Ok(shop) = world.shop(domain) else { return false };
            let of_app = shop.subscriptions.get(&id).is_some_and(|known| known.app == app);
            if of_app { shop.subscriptions.remove(&id) } else { None }
        };
        if let Some(gone) = &gone {
            self.tell(Event::Unsubscribed {
                shop: domain.to_owned(),
                app: app.to_owned(),
                subscription: id,
                topic: gone.topic.name().to_owned(),
                why,
            });
        }
        gone.is_some()
    }
}

fn check_address(address: &str) -> Result<(), EmulatorError> {
    let problem = match reqwest::Url::parse(address) {
        _ if address.is_empty() => "Address can't be blank".to_owned(),
        Err(_) => "Address is invalid".to_owned(),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Ok(()),
        Ok(url) => format!("Address protocol {}:// is not supported by the emulator: it sends over HTTP", url.scheme()),
    };
    Err(EmulatorError::Subscription(problem))
}
