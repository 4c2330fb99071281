//! Rapid edits become one webhook: an update waits a moment, and tells the state as it is then.

use std::sync::Arc;

use jiff::Timestamp;

use crate::world::Hub;

/// The latest of the changes that wait to be told together.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) event_id: String,
    pub(crate) triggered_at: Timestamp,
}

impl Hub {
    /// Waits for other changes of the product, then tells all of them to one subscription.
    pub(super) fn collect(self: &Arc<Self>, domain: &str, subscription: u64, product: u64) {
        let hub = Arc::clone(self);
        let domain = domain.to_owned();
        self.outbox.spawn(async move {
            hub.clock.sleep(hub.outbox.debounce).await;
            let delivery = {
                let world = &mut *hub.world();
                let pending =
                    world.shops.get_mut(&domain).and_then(|shop| shop.pending.remove(&(subscription, product)));
                // A product that is gone by now has nothing more to say than its deletion did.
                pending.and_then(|why| hub.delivery(world, &domain, subscription, product, why))
            };
            if let Some(delivery) = delivery {
                hub.dispatch(delivery);
            }
        });
    }
}
