//! What can be asked.

#![expect(clippy::unused_async, reason = "the library takes async functions alone")]
#![expect(clippy::too_many_arguments, reason = "the platform's own arguments")]
use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, Interface, Object};

use super::Call;
use super::ids;
use super::paging::{Paging, Place};
use super::product::{Count, Product, ProductVariant, ProductVariantSortKeys, variants, variants_page};
use super::search::Search;
use super::shop::{ApiVersion, AppInstallation, Shop};
use super::subscription::{WebhookSubscription, WebhookSubscriptionFormat, WebhookSubscriptionSortKeys};
use crate::catalog;
use crate::version::VERSIONS;
use crate::webhooks::{Subscription, Topic};

/// Anything that has an id.
#[derive(Clone, Debug, Interface)]
#[graphql(field(name = "id", ty = "&ID"))]
pub(super) enum Node {
    Product(Product),
    ProductVariant(ProductVariant),
    Shop(Shop),
    WebhookSubscription(WebhookSubscription),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum ProductSortKeys {
    CreatedAt,
    Id,
    InventoryTotal,
    ProductType,
    PublishedAt,
    Title,
    UpdatedAt,
    Vendor,
}

/// Where queries begin.
pub(super) struct QueryRoot;

#[Object]
impl QueryRoot {
    async fn product(&self, context: &Context<'_>, id: ID) -> Result<Option<Product>, Error> {
        Ok(Call::of(context)?.product(ids::number(&id, "Product")?).map(Into::into))
    }

    async fn products(
        &self,
        context: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        query: Option<String>,
        #[graphql(default_with = "Some(false)")] reverse: Option<bool>,
        #[graphql(default_with = "Some(ProductSortKeys::Id)")] sort_key: Option<ProductSortKeys>,
    ) -> Result<Connection<String, Product>, Error> {
        let paging = Paging { first, last, after, before, reverse: reverse.unwrap_or_default() };
        let found = Call::of(context)?.found(query.as_deref())?;
        paging.page(found, |product| place(product, sort_key.unwrap_or(ProductSortKeys::Id)), Product::from)
    }

    async fn products_count(&self, context: &Context<'_>, query: Option<String>) -> Result<Option<Count>, Error> {
        Ok(Some(Count::exactly(Call::of(context)?.found(query.as_deref())?.len())))
    }

    async fn product_variant(&self, context: &Context<'_>, id: ID) -> Result<Option<ProductVariant>, Error> {
        let number = ids::number(&id, "ProductVariant")?;
        Ok(Call::of(context)?.variant(number))
    }

    async fn product_variants(
        &self,
        context: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        query: Option<String>,
        #[graphql(default_with = "Some(false)")] reverse: Option<bool>,
        #[graphql(default_with = "Some(ProductVariantSortKeys::Id)")] sort_key: Option<ProductVariantSortKeys>,
    ) -> Result<Connection<String, ProductVariant>, Error> {
        if query.is_some_and(|query| !query.is_empty()) {
            return Err(Error::new("the emulator does not search variants; hint: search their products"));
        }
        let paging = Paging { first, last, after, before, reverse: reverse.unwrap_or_default() };
        let products = Call::of(context)?.found(None)?;
        variants_page(products.iter().flat_map(variants), &paging, sort_key.unwrap_or(ProductVariantSortKeys::Id))
    }

    async fn shop(&self, context: &Context<'_>) -> Result<Shop, Error> {
        let call = Call::of(context)?;
        let mut world = call.hub.world();
        Ok(Shop::from(&*world.shop(&call.shop)?))
    }

    async fn node(&self, context: &Context<'_>, id: ID) -> Result<Option<Node>, Error> {
        Call::of(context)?.node(&id)
    }

    async fn nodes(&self, context: &Context<'_>, ids: Vec<ID>) -> Result<Vec<Option<Node>>, Error> {
        let call = Call::of(context)?;
        ids.iter().map(|id| call.node(id)).collect()
    }

    async fn webhook_subscription(&self, context: &Context<'_>, id: ID) -> Result<Option<WebhookSubscription>, Error> {
        let number = ids::number(&id, "WebhookSubscription")?;
        Ok(Call::of(context)?.subscription(number))
    }

    async fn webhook_subscriptions(
        &self,
        context: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        topics: Option<Vec<Topic>>,
        uri: Option<String>,
        format: Option<WebhookSubscriptionFormat>,
        #[graphql(default_with = "Some(false)")] reverse: Option<bool>,
        #[graphql(default_with = "Some(WebhookSubscriptionSortKeys::CreatedAt)")] sort_key: Option<
            WebhookSubscriptionSortKeys,
        >,
    ) -> Result<Connection<String, WebhookSubscription>, Error> {
        let paging = Paging { first, last, after, before, reverse: reverse.unwrap_or_default() };
        let call = Call::of(context)?;
        let mut world = call.hub.world();
        let known = world.shop(&call.shop)?.subscriptions.values().filter(|known| {
            known.app == call.app
                && topics.as_ref().is_none_or(|topics| topics.contains(&known.topic))
                && uri.as_ref().is_none_or(|uri| known.address == *uri)
                && format != Some(WebhookSubscriptionFormat::Xml)
        });
        let by_time = sort_key != Some(WebhookSubscriptionSortKeys::Id);
        let time = |known: &Subscription| if by_time { known.created_at.to_string() } else { String::new() };
        paging.page(known, |known| Place::new(time(known), known.id), WebhookSubscription::from)
    }

    async fn current_app_installation(&self, context: &Context<'_>) -> Result<AppInstallation, Error> {
        let call = Call::of(context)?;
        let mut world = call.hub.world();
        let installation = world.installation(&call.shop, &call.app)?.id;
        Ok(AppInstallation::new(installation, world.app(&call.app)?))
    }

    async fn public_api_versions(&self) -> Vec<ApiVersion> {
        VERSIONS.iter().map(Into::into).collect()
    }
}

fn place(product: &catalog::Product, sort_key: ProductSortKeys) -> Place {
    let inventory = || product.variants.iter().map(|variant| variant.inventory_quantity).sum::<i64>();
    let value = match sort_key {
        ProductSortKeys::Id => String::new(),
        ProductSortKeys::Title => product.title.to_lowercase(),
        ProductSortKeys::Vendor => product.vendor.to_lowercase(),
        ProductSortKeys::ProductType => product.product_type.to_lowercase(),
        ProductSortKeys::CreatedAt => product.created_at.to_string(),
        ProductSortKeys::UpdatedAt => product.updated_at.to_string(),
        ProductSortKeys::PublishedAt => product.published_at.map(|time| time.to_string()).unwrap_or_default(),
        ProductSortKeys::InventoryTotal => format!("{:020}", inventory().max(0)),
    };
    Place::new(value, product.id)
}

impl Call {
    fn product(&self, id: u64) -> Option<catalog::Product> {
        self.hub.world().shop(&self.shop).ok()?.products.get(&id).cloned()
    }

    fn found(&self, query: Option<&str>) -> Result<Vec<catalog::Product>, Error> {
        let search = Search::parse(query)?;
        let mut world = self.hub.world();
        let mut found = Vec::new();
        for product in world.shop(&self.shop)?.products.values() {
            if search.finds(product)? {
                found.push(product.clone());
            }
        }
        Ok(found)
    }

    fn variant(&self, id: u64) -> Option<ProductVariant> {
        let mut world = self.hub.world();
        let products = &world.shop(&self.shop).ok()?.products;
        let holds = |product: &&catalog::Product| product.variants.iter().any(|variant| variant.id == id);
        let product = products.values().find(holds)?;
        let at = product.variants.iter().position(|variant| variant.id == id)?;
        variants(product).nth(at)
    }

    fn subscription(&self, id: u64) -> Option<WebhookSubscription> {
        let mut world = self.hub.world();
        let known = world.shop(&self.shop).ok()?.subscriptions.get(&id)?;
        (known.app == self.app).then(|| known.into())
    }

    /// What an id names, if it is of a kind that the emulator has.
    fn node(&self, id: &ID) -> Result<Option<Node>, Error> {
        let Some((kind, number)) = ids::parse(id) else { return Err(ids::invalid()) };
        Ok(match kind {
            "Product" => self.product(number).map(|product| Node::Product(product.into())),
            "ProductVariant" => self.variant(number).map(Node::ProductVariant),
            "WebhookSubscription" => self.subscription(number).map(Node::WebhookSubscription),
            "Shop" => {
                let mut world = self.hub.world();
                let shop = world.shop(&self.shop)?;
                (shop.id == number).then(|| Node::Shop((&*shop).into()))
            }
            _ => None,
        })
    }
}
