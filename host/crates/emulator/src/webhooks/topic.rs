//! What can be subscribed to.

use async_graphql::Enum;

/// A list of topics: each as Rust names it and as webhooks do. GraphQL's name for it follows from the first.
macro_rules! topics {
    ($($variant:ident $name:literal,)*) => {
        /// A topic. Those of products, the shop and the app itself are sent; of the others there is nothing in the emulator
        /// that could happen, but an app can subscribe to them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
        #[graphql(name = "WebhookSubscriptionTopic")]
        pub enum Topic {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Topic {
            /// Every topic.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As webhooks name it: `products/update`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

topics! {
    ProductsCreate "products/create",
    ProductsUpdate "products/update",
    ProductsDelete "products/delete",
    ShopUpdate "shop/update",
    AppUninstalled "app/uninstalled",
    AppScopesUpdate "app/scopes_update",
    AppSubscriptionsUpdate "app_subscriptions/update",
    BulkOperationsFinish "bulk_operations/finish",
    CartsCreate "carts/create",
    CartsUpdate "carts/update",
    CheckoutsCreate "checkouts/create",
    CheckoutsDelete "checkouts/delete",
    CheckoutsUpdate "checkouts/update",
    CollectionsCreate "collections/create",
    CollectionsDelete "collections/delete",
    CollectionsUpdate "collections/update",
    CompaniesCreate "companies/create",
    CompaniesDelete "companies/delete",
    CompaniesUpdate "companies/update",
    CustomersCreate "customers/create",
    CustomersDelete "customers/delete",
    CustomersDisable "customers/disable",
    CustomersEnable "customers/enable",
    CustomersMerge "customers/merge",
    CustomersUpdate "customers/update",
    CustomerGroupsCreate "customer_groups/create",
    CustomerGroupsDelete "customer_groups/delete",
    CustomerGroupsUpdate "customer_groups/update",
    DisputesCreate "disputes/create",
    DisputesUpdate "disputes/update",
    DomainsCreate "domains/create",
    DomainsDestroy "domains/destroy",
    DomainsUpdate "domains/update",
    DraftOrdersCreate "draft_orders/create",
    DraftOrdersDelete "draft_orders/delete",
    DraftOrdersUpdate "draft_orders/update",
    FulfillmentsCreate "fulfillments/create",
    FulfillmentsUpdate "fulfillments/update",
    FulfillmentEventsCreate "fulfillment_events/create",
    FulfillmentEventsDelete "fulfillment_events/delete",
    InventoryItemsCreate "inventory_items/create",
    InventoryItemsDelete "inventory_items/delete",
    InventoryItemsUpdate "inventory_items/update",
    InventoryLevelsConnect "inventory_levels/connect",
    InventoryLevelsDisconnect "inventory_levels/disconnect",
    InventoryLevelsUpdate "inventory_levels/update",
    LocationsActivate "locations/activate",
    LocationsCreate "locations/create",
    LocationsDeactivate "locations/deactivate",
    LocationsDelete "locations/delete",
    LocationsUpdate "locations/update",
    MarketsCreate "markets/create",
    MarketsDelete "markets/delete",
    MarketsUpdate "markets/update",
    MetaobjectsCreate "metaobjects/create",
    MetaobjectsDelete "metaobjects/delete",
    MetaobjectsUpdate "metaobjects/update",
    OrdersCancelled "orders/cancelled",
    OrdersCreate "orders/create",
    OrdersDelete "orders/delete",
    OrdersEdited "orders/edited",
    OrdersFulfilled "orders/fulfilled",
    OrdersPaid "orders/paid",
    OrdersPartiallyFulfilled "orders/partially_fulfilled",
    OrdersUpdated "orders/updated",
    OrderTransactionsCreate "order_transactions/create",
    ProductListingsAdd "product_listings/add",
    ProductListingsRemove "product_listings/remove",
    ProductListingsUpdate "product_listings/update",
    ProfilesCreate "profiles/create",
    ProfilesDelete "profiles/delete",
    ProfilesUpdate "profiles/update",
    RefundsCreate "refunds/create",
    ScheduledProductListingsAdd "scheduled_product_listings/add",
    ScheduledProductListingsRemove "scheduled_product_listings/remove",
    ScheduledProductListingsUpdate "scheduled_product_listings/update",
    SellingPlanGroupsCreate "selling_plan_groups/create",
    SellingPlanGroupsDelete "selling_plan_groups/delete",
    SellingPlanGroupsUpdate "selling_plan_groups/update",
    TenderTransactionsCreate "tender_transactions/create",
    ThemesCreate "themes/create",
    ThemesDelete "themes/delete",
    ThemesPublish "themes/publish",
    ThemesUpdate "themes/update",
    VariantsInStock "variants/in_stock",
    VariantsOutOfStock "variants/out_of_stock",
}

impl Topic {
    /// By the name that webhooks have for it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|topic| topic.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::Name;
    use async_graphql::resolver_utils::{EnumType as _, enum_value};

    use super::Topic;

    /// `products/update` is `PRODUCTS_UPDATE`, without exception among those that are listed.
    #[test]
    fn the_three_names_of_a_topic_agree() {
        assert_eq!(Topic::items().len(), Topic::ALL.len());
        for topic in Topic::ALL {
            let expected = topic.name().to_uppercase().replace('/', "_");
            assert_eq!(enum_value(*topic), async_graphql::Value::Enum(Name::new(expected)));
            assert_eq!(Topic::named(topic.name()), Some(*topic));
        }
    }
}
