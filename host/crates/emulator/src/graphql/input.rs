//! What mutations are given, and the edits that they ask for.

use async_graphql::{ID, InputObject, MaybeUndefined};

use super::ids;
use super::product::{ProductStatus, ProductVariantInventoryPolicy};
use super::scalars::Money;
use crate::catalog::edit::{MetafieldEdit, ProductEdit, VariantEdit};

/// A new product.
#[derive(Clone, Debug, InputObject)]
pub(super) struct ProductCreateInput {
    title: Option<String>,
    description_html: Option<String>,
    vendor: Option<String>,
    product_type: Option<String>,
    handle: Option<String>,
    status: Option<ProductStatus>,
    tags: Option<Vec<String>>,
    template_suffix: Option<String>,
    product_options: Option<Vec<OptionCreateInput>>,
    metafields: Option<Vec<MetafieldInput>>,
}

/// What a buyer is to choose from.
#[derive(Clone, Debug, InputObject)]
struct OptionCreateInput {
    name: Option<String>,
    values: Option<Vec<OptionValueCreateInput>>,
}

/// One choice.
#[derive(Clone, Debug, InputObject)]
struct OptionValueCreateInput {
    name: Option<String>,
}

/// A changed product.
#[derive(Clone, Debug, InputObject)]
pub(super) struct ProductUpdateInput {
    pub(super) id: Option<ID>,
    title: Option<String>,
    description_html: Option<String>,
    vendor: Option<String>,
    product_type: Option<String>,
    handle: Option<String>,
    status: Option<ProductStatus>,
    tags: Option<Vec<String>>,
    template_suffix: Option<String>,
    metafields: Option<Vec<MetafieldInput>>,
}

/// A product that is to go.
#[derive(Clone, Debug, InputObject)]
pub(super) struct ProductDeleteInput {
    pub(super) id: ID,
}

/// A value that is to be attached.
#[derive(Clone, Debug, InputObject)]
struct MetafieldInput {
    namespace: Option<String>,
    key: Option<String>,
    #[graphql(name = "type")]
    kind: Option<String>,
    value: Option<String>,
}

/// A value that is to be attached to something.
#[derive(Clone, Debug, InputObject)]
pub(super) struct MetafieldsSetInput {
    pub(super) owner_id: ID,
    namespace: Option<String>,
    key: String,
    #[graphql(name = "type")]
    kind: Option<String>,
    value: String,
}

/// A changed variant.
#[derive(Clone, Debug, InputObject)]
pub(super) struct ProductVariantsBulkInput {
    pub(super) id: Option<ID>,
    price: Option<Money>,
    compare_at_price: MaybeUndefined<Money>,
    barcode: MaybeUndefined<String>,
    inventory_policy: Option<ProductVariantInventoryPolicy>,
    inventory_item: Option<InventoryItemInput>,
    taxable: Option<bool>,
}

/// What is to be known of it in the stock.
#[derive(Clone, Debug, InputObject)]
struct InventoryItemInput {
    sku: MaybeUndefined<String>,
}

/// What is said of an app's own metafields.
fn namespace(namespace: Option<String>) -> String {
    namespace.unwrap_or_else(|| "$app".to_owned())
}

impl From<MetafieldInput> for MetafieldEdit {
    fn from(input: MetafieldInput) -> Self {
        Self {
            namespace: namespace(input.namespace),
            key: input.key.unwrap_or_default(),
            kind: input.kind,
            value: input.value.unwrap_or_default(),
        }
    }
}

impl From<MetafieldsSetInput> for MetafieldEdit {
    fn from(input: MetafieldsSetInput) -> Self {
        Self { namespace: namespace(input.namespace), key: input.key, kind: input.kind, value: input.value }
    }
}

impl From<ProductCreateInput> for ProductEdit {
    fn from(input: ProductCreateInput) -> Self {
        let values = |option: &OptionCreateInput| {
            let values = option.values.iter().flatten();
            values.filter_map(|value| value.name.clone()).collect::<Vec<_>>()
        };
        let options = input.product_options.map(|options| {
            options.into_iter().map(|option| (option.name.clone().unwrap_or_default(), values(&option))).collect()
        });
        Self {
            // A new product without a title is told so.
            title: Some(input.title.unwrap_or_default()),
            body_html: input.description_html,
            vendor: input.vendor,
            product_type: input.product_type,
            handle: input.handle,
            status: input.status.map(Into::into),
            tags: input.tags,
            template_suffix: input.template_suffix,
            options,
            metafields: input.metafields.into_iter().flatten().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

impl From<ProductUpdateInput> for ProductEdit {
    fn from(input: ProductUpdateInput) -> Self {
        Self {
            title: input.title,
            body_html: input.description_html,
            vendor: input.vendor,
            product_type: input.product_type,
            handle: input.handle,
            status: input.status.map(Into::into),
            tags: input.tags,
            template_suffix: input.template_suffix,
            metafields: input.metafields.into_iter().flatten().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

impl From<ProductVariantsBulkInput> for VariantEdit {
    fn from(input: ProductVariantsBulkInput) -> Self {
        let set = |value: MaybeUndefined<String>| match value {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(value) => Some(Some(value)),
        };
        Self {
            id: input.id.as_ref().and_then(ids::parse).map(|(_, number)| number),
            price: input.price.map(|price| price.0),
            compare_at_price: set(input.compare_at_price.map_value(|price| price.0)),
            sku: input.inventory_item.and_then(|item| set(item.sku)),
            barcode: set(input.barcode),
            oversell: input.inventory_policy.map(|policy| policy == ProductVariantInventoryPolicy::Continue),
            taxable: input.taxable,
            ..Self::default()
        }
    }
}
