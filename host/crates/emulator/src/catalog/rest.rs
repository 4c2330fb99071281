//! A product as the platform's REST resources and webhooks write it down.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::Serialize;
use serde_json::json;

use super::{Image, Metafield, Product, Variant, gid};
use crate::limits::WEBHOOK_VARIANTS_MAX;
use crate::spelling::{Fields, array};

/// A time as the shop's clock on the wall shows it, with its distance from UTC.
pub(crate) fn local(time: Timestamp, offset: Offset) -> String {
    time.to_zoned(TimeZone::fixed(offset)).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The resource that the REST API gives.
pub(crate) fn product(product: &Product, offset: Offset) -> Fields {
    resource(product, offset, usize::MAX)
}

/// The body of a webhook: only so many variants in full, the ids of all, the latest change first.
pub(crate) fn webhook(product: &Product, offset: Offset, namespaces: &[String]) -> Fields {
    let mut latest: Vec<_> = product.variants.iter().collect();
    latest.sort_by_key(|variant| std::cmp::Reverse(variant.updated_at));
    let gids: Vec<_> = latest
        .iter()
        .map(|variant| {
            let updated_at = variant.updated_at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
            json!({ "admin_graphql_api_id": gid("ProductVariant", variant.id), "updated_at": updated_at })
        })
        .collect();
    let fields = resource(product, offset, WEBHOOK_VARIANTS_MAX)
        .with("media", &product.images.iter().enumerate().map(media).collect::<Vec<_>>())
        .with("variant_gids", &gids)
        .with("has_variants_that_requires_components", &false)
        .with("category", &());
    if namespaces.is_empty() {
        return fields;
    }
    let metafields = product.metafields.iter().filter(|field| namespaces.contains(&field.namespace));
    fields.with_spelled("metafields", array(metafields.map(|field| metafield(field, product.id, offset).text(&[]))))
}

/// What is left to say of a product that is gone.
pub(crate) fn deleted(id: u64) -> Fields {
    Fields::new().with("id", &id)
}

fn resource(product: &Product, offset: Offset, variants_max: usize) -> Fields {
    let variants = product.variants.iter().enumerate().take(variants_max);
    let images: Vec<_> =
        product.images.iter().enumerate().map(|(at, image)| image_resource(image, at, product.id, offset)).collect();
    Fields::new()
        .with("admin_graphql_api_id", &gid("Product", product.id))
        .with("body_html", &product.body_html)
        .with("created_at", &local(product.created_at, offset))
        .with("handle", &product.handle)
        .with("id", &product.id)
        .with("product_type", &product.product_type)
        .with("published_at", &product.published_at.map(|time| local(time, offset)))
        .with("template_suffix", &product.template_suffix)
        .with("title", &product.title)
        .with("updated_at", &local(product.updated_at, offset))
        .with("vendor", &product.vendor)
        .with("status", &product.status.name())
        .with("published_scope", &"global")
        .with("tags", &product.tags.join(", "))
        .with_spelled(
            "variants",
            array(variants.map(|(at, variant)| self::variant(variant, at, product.id, offset).text(&[]))),
        )
        .with("options", &options(product))
        .with("images", &images)
        .with("image", &images.first())
}

/// A variant; its position is its place in the product, from zero.
pub(crate) fn variant(variant: &Variant, at: usize, product_id: u64, offset: Offset) -> Fields {
    let title = variant.title();
    let choice = |at: usize| match (variant.choices.get(at), at) {
        (Some(choice), _) => Some(choice.as_str()),
        (None, 0) => Some(title.as_str()),
        (None, _) => None,
    };
    Fields::new()
        .with("admin_graphql_api_id", &gid("ProductVariant", variant.id))
        .with("barcode", &variant.barcode)
        .with("compare_at_price", &variant.compare_at_price)
        .with("created_at", &local(variant.created_at, offset))
        .with("id", &variant.id)
        .with("inventory_policy", &if variant.oversell { "continue" } else { "deny" })
        .with("position", &(at + 1))
        .with("price", &variant.price)
        .with("product_id", &product_id)
        .with("sku", &variant.sku)
        .with("taxable", &variant.taxable)
        .with("title", &title)
        .with("updated_at", &local(variant.updated_at, offset))
        .with("option1", &choice(0))
        .with("option2", &choice(1))
        .with("option3", &choice(2))
        .with("image_id", &())
        .with("inventory_item_id", &variant.inventory_item_id)
        .with("inventory_quantity", &variant.inventory_quantity)
        .with("old_inventory_quantity", &variant.inventory_quantity)
}

/// A metafield of a product.
pub(crate) fn metafield(field: &Metafield, product_id: u64, offset: Offset) -> Fields {
    Fields::new()
        .with("id", &field.id)
        .with("namespace", &field.namespace)
        .with("key", &field.key)
        .with("value", &field.value)
        .with("description", &())
        .with("owner_id", &product_id)
        .with("created_at", &local(field.created_at, offset))
        .with("updated_at", &local(field.updated_at, offset))
        .with("owner_resource", &"product")
        .with("type", &field.kind)
        .with("admin_graphql_api_id", &gid("Metafield", field.id))
}

#[derive(Serialize)]
struct OptionResource<'a> {
    name: &'a str,
    id: u64,
    product_id: u64,
    position: usize,
    values: Vec<&'a str>,
}

/// A product without options has one that nobody sees.
fn options(product: &Product) -> Vec<OptionResource<'_>> {
    if product.options.is_empty() {
        let values = vec!["Default Title"];
        return vec![OptionResource { name: "Title", id: product.id, product_id: product.id, position: 1, values }];
    }
    let options = product.options.iter().enumerate();
    options
        .map(|(at, option)| OptionResource {
            name: &option.name,
            id: option.id,
            product_id: product.id,
            position: at + 1,
            values: option.values.iter().map(|(_, value)| value.as_str()).collect(),
        })
        .collect()
}

#[derive(Serialize)]
struct ImageResource<'a> {
    id: u64,
    alt: Option<&'a str>,
    position: usize,
    product_id: u64,
    created_at: String,
    updated_at: String,
    admin_graphql_api_id: String,
    width: u32,
    height: u32,
    src: &'a str,
    variant_ids: [u64; 0],
}

fn image_resource(image: &Image, at: usize, product_id: u64, offset: Offset) -> ImageResource<'_> {
    ImageResource {
        id: image.id,
        alt: image.alt.as_deref(),
        position: at + 1,
        product_id,
        created_at: local(image.created_at, offset),
        updated_at: local(image.created_at, offset),
        admin_graphql_api_id: gid("MediaImage", image.id),
        width: image.width,
        height: image.height,
        src: &image.src,
        variant_ids: [],
    }
}

#[derive(Serialize)]
struct MediaResource<'a> {
    id: u64,
    position: usize,
    alt: Option<&'a str>,
    status: &'static str,
    media_content_type: &'static str,
    variant_ids: [u64; 0],
    admin_graphql_api_id: String,
}

fn media((at, image): (usize, &Image)) -> MediaResource<'_> {
    MediaResource {
        id: image.id,
        position: at + 1,
        alt: image.alt.as_deref(),
        status: "READY",
        media_content_type: "IMAGE",
        variant_ids: [],
        admin_graphql_api_id: gid("MediaImage", image.id),
    }
}
