//! Webhooks: who is told what, when, and how often it is tried.
//!
//! A change is announced once, whoever made it: the app that made it is told too, which is what makes loops. Creations and
//! deletions are sent at once; updates wait a moment for others of the same product ([`pending`]). [`sender`] tries until
//! somebody takes it or gives up. What the platform promises is promised here, and no more: no order, no single delivery.

mod faults;
pub(crate) mod pending;
mod sender;
mod signature;
mod subscription;
mod topic;

use std::collections::hash_map::Entry;
use std::sync::Arc;

pub use faults::Faults;
use pending::Pending;
pub(crate) use sender::{Delivery, Outbox};
pub use subscription::NewSubscription;
pub(crate) use subscription::Subscription;
pub use topic::Topic;

use crate::catalog::rest;
use crate::event::{Event, Withheld};
use crate::shop::Shop;
use crate::spelling::spell;
use crate::world::{Hub, World};

impl Hub {
    /// Tells all who subscribed to it that something happened to a product.
    pub(crate) fn announce(self: &Arc<Self>, domain: &str, topic: Topic, product: u64) {
        let mut deliveries = Vec::new();
        let mut waiting = Vec::new();
        {
            let world = &mut *self.world();
            let why = Pending { event_id: world.uuid(), triggered_at: self.clock.now() };
            let Some(shop) = world.shops.get(domain) else { return };
            let told = shop.subscriptions.values().filter(|subscription| subscription.topic == topic);
            let told: Vec<_> = told.map(|subscription| subscription.id).collect();
            for id in told {
                if topic != Topic::ProductsUpdate || self.outbox.debounce.is_zero() {
                    deliveries.extend(self.delivery(world, domain, id, product, why.clone()));
                    continue;
                }
                let Some(shop) = world.shops.get_mut(domain) else { return };
                match shop.pending.entry((id, product)) {
                    Entry::Vacant(entry) => {
                        entry.insert(why.clone());
                        waiting.push(id);
                    }
                    Entry::Occupied(mut entry) => {
                        entry.insert(why.clone());
                        self.withheld(domain, topic, Withheld::Collapsed);
                    }
                }
            }
        }
        for delivery in deliveries {
            self.dispatch(delivery);
        }
        for subscription in waiting {
            self.collect(domain, subscription, product);
        }
    }

    /// Tells who subscribed to it that something happened to the shop, or to one app in it.
    pub(crate) fn announce_shop(self: &Arc<Self>, domain: &str, topic: Topic, only: Option<&str>) {
        let mut deliveries = Vec::new();
        {
            let world = &mut *self.world();
            let why = Pending { event_id: world.uuid(), triggered_at: self.clock.now() };
            let Some(shop) = world.shops.get(domain) else { return };
            let told = shop
                .subscriptions
                .values()
                .filter(|subscription| subscription.topic == topic && only.is_none_or(|app| subscription.app == app));
            let told: Vec<_> = told.map(|subscription| subscription.id).collect();
            for id in told {
                deliveries.extend(self.delivery(world, domain, id, 0, why.clone()));
            }
        }
        for delivery in deliveries {
            self.dispatch(delivery);
        }
    }

    /// What is to be sent for a subscription, with the newest state of what it is about. Nothing when there is nothing to
    /// say: the product is gone, or the body is the one before.
    fn delivery(
        &self,
        world: &mut World,
        domain: &str,
        subscription: u64,
        product: u64,
        why: Pending,
    ) -> Option<Delivery> {
        let webhook_id = world.uuid();
        let shop = world.shops.get_mut(domain)?;
        let body = body(shop, subscription, product)?;
        let subscription = shop.subscriptions.get_mut(&subscription)?;
        if !subscription.is_news(product, &body) {
            self.withheld(domain, subscription.topic, Withheld::Equal);
            return None;
        }
        Some(Delivery {
            shop: domain.to_owned(),
            app: subscription.app.clone(),
            topic: subscription.topic,
            address: subscription.address.clone(),
            subscription: subscription.id,
            api_version: subscription.api_version,
            name: subscription.name.clone(),
            successes: subscription.successes,
            webhook_id,
            event_id: why.event_id,
            triggered_at: why.triggered_at,
            body,
        })
    }

    pub(crate) fn withheld(&self, shop: &str, topic: Topic, why: Withheld) {
        self.tell(Event::Withheld { shop: shop.to_owned(), topic: topic.name().to_owned(), why });
    }
}

/// The bytes of a webhook.
fn body(shop: &Shop, subscription: u64, product: u64) -> Option<String> {
    let subscription = shop.subscriptions.get(&subscription)?;
    match subscription.topic {
        Topic::ProductsDelete => Some(rest::deleted(product).text(&[])),
        Topic::ShopUpdate | Topic::AppUninstalled => Some(spell(&shop.resource())),
        _ => {
            let product = shop.products.get(&product)?;
            let fields = rest::webhook(product, shop.offset, &subscription.metafield_namespaces);
            Some(fields.text(&subscription.include_fields))
        }
    }
}
