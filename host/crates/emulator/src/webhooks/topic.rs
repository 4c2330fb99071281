//! What can be subscribed to.

/// A topic, by its number in the list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(usize);

/// Topics that an app can subscribe to, as webhooks name them. Those of products, the shop and the app itself are sent; of the
/// others there is nothing in the emulator that could happen.
const NAMES: &[&str] = &[
    "products/create",
    "products/update",
    "products/delete",
    "shop/update",
    "app/uninstalled",
    "app/scopes_update",
    "app_subscriptions/update",
    "bulk_operations/finish",
    "carts/create",
    "carts/update",
    "checkouts/create",
    "checkouts/delete",
    "checkouts/update",
    "collections/create",
    "collections/delete",
    "collections/update",
    "companies/create",
    "companies/delete",
    "companies/update",
    "customers/create",
    "customers/delete",
    "customers/disable",
    "customers/enable",
    "customers/merge",
    "customers/update",
    "customer_groups/create",
    "customer_groups/delete",
    "customer_groups/update",
    "disputes/create",
    "disputes/update",
    "domains/create",
    "domains/destroy",
    "domains/update",
    "draft_orders/create",
    "draft_orders/delete",
    "draft_orders/update",
    "fulfillments/create",
    "fulfillments/update",
    "fulfillment_events/create",
    "fulfillment_events/delete",
    "inventory_items/create",
    "inventory_items/delete",
    "inventory_items/update",
    "inventory_levels/connect",
    "inventory_levels/disconnect",
    "inventory_levels/update",
    "locations/activate",
    "locations/create",
    "locations/deactivate",
    "locations/delete",
    "locations/update",
    "markets/create",
    "markets/delete",
    "markets/update",
    "metaobjects/create",
    "metaobjects/delete",
    "metaobjects/update",
    "orders/cancelled",
    "orders/create",
    "orders/delete",
    "orders/edited",
    "orders/fulfilled",
    "orders/paid",
    "orders/partially_fulfilled",
    "orders/updated",
    "order_transactions/create",
    "product_listings/add",
    "product_listings/remove",
    "product_listings/update",
    "profiles/create",
    "profiles/delete",
    "profiles/update",
    "refunds/create",
    "scheduled_product_listings/add",
    "scheduled_product_listings/remove",
    "scheduled_product_listings/update",
    "selling_plan_groups/create",
    "selling_plan_groups/delete",
    "selling_plan_groups/update",
    "tender_transactions/create",
    "themes/create",
    "themes/delete",
    "themes/publish",
    "themes/update",
    "variants/in_stock",
    "variants/out_of_stock",
];

impl Topic {
    pub(crate) const PRODUCTS_CREATE: Self = Self(0);
    pub(crate) const PRODUCTS_UPDATE: Self = Self(1);
    pub(crate) const PRODUCTS_DELETE: Self = Self(2);
    pub(crate) const SHOP_UPDATE: Self = Self(3);
    pub(crate) const APP_UNINSTALLED: Self = Self(4);

    /// As webhooks name it: `products/update`.
    pub fn name(self) -> &'static str {
        NAMES.get(self.0).copied().unwrap_or_default()
    }

    /// By the name that webhooks have for it.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(Self)
    }

    /// As GraphQL names it: `PRODUCTS_UPDATE`.
    pub fn enum_name(self) -> String {
        self.name().to_uppercase().replace(['/', '.'], "_")
    }

    /// By the name that GraphQL has for it.
    pub fn enum_named(name: &str) -> Option<Self> {
        Self::all().find(|topic| topic.enum_name() == name)
    }

    /// Every topic.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::Topic;

    #[test]
    fn topics_that_are_sent_have_their_names() {
        let sent = [
            (Topic::PRODUCTS_CREATE, "PRODUCTS_CREATE"),
            (Topic::PRODUCTS_UPDATE, "PRODUCTS_UPDATE"),
            (Topic::PRODUCTS_DELETE, "PRODUCTS_DELETE"),
            (Topic::SHOP_UPDATE, "SHOP_UPDATE"),
            (Topic::APP_UNINSTALLED, "APP_UNINSTALLED"),
        ];
        for (topic, name) in sent {
            assert_eq!(topic.enum_name(), name);
        }
        for topic in Topic::all() {
            assert_eq!(Topic::named(topic.name()), Some(topic));
            assert_eq!(Topic::enum_named(&topic.enum_name()), Some(topic));
        }
    }
}
