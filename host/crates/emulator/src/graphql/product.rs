//! Products and what belongs to them.

#![expect(clippy::unused_async, reason = "the library takes async functions alone")]
#![expect(clippy::too_many_arguments, clippy::struct_field_names, reason = "the platform's own arguments and names")]
use async_graphql::connection::Connection;
use async_graphql::{ComplexObject, Enum, Error, ID, Interface, SimpleObject};
use sha2::{Digest as _, Sha256};

use super::ids::id;
use super::paging::{Paging, Place};
use super::scalars::{DateTime, Html, Money, UnsignedInt64, Url};
use crate::catalog::{self, Status};

/// Whether a product is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ProductStatus {
    Active,
    Archived,
    Draft,
}

impl From<Status> for ProductStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Archived => Self::Archived,
            Status::Draft => Self::Draft,
        }
    }
}

impl From<ProductStatus> for Status {
    fn from(status: ProductStatus) -> Self {
        match status {
            ProductStatus::Active => Self::Active,
            ProductStatus::Archived => Self::Archived,
            ProductStatus::Draft => Self::Draft,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ProductVariantSortKeys {
    Id,
    Position,
    Sku,
    Title,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ProductMediaSortKeys {
    Id,
    Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ProductImageSortKeys {
    CreatedAt,
    Id,
    Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum CountPrecision {
    Exact,
}

/// How many there are.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct Count {
    count: usize,
    precision: CountPrecision,
}

impl Count {
    pub(super) fn exactly(count: usize) -> Self {
        Self { count, precision: CountPrecision::Exact }
    }
}

/// A product.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(super) struct Product {
    pub(super) id: ID,
    legacy_resource_id: UnsignedInt64,
    title: String,
    handle: String,
    description_html: Html,
    #[graphql(deprecation = "Use `descriptionHtml` instead.")]
    body_html: Option<String>,
    vendor: String,
    product_type: String,
    status: ProductStatus,
    tags: Vec<String>,
    template_suffix: Option<String>,
    created_at: DateTime,
    updated_at: DateTime,
    published_at: Option<DateTime>,
    total_inventory: i64,
    tracks_inventory: bool,
    has_only_default_variant: bool,
    is_gift_card: bool,
    variants_count: Option<Count>,
    media_count: Option<Count>,
    #[graphql(skip)]
    product: catalog::Product,
}

impl From<catalog::Product> for Product {
    fn from(product: catalog::Product) -> Self {
        Self {
            id: id("Product", product.id),
            legacy_resource_id: UnsignedInt64(product.id.to_string()),
            title: product.title.clone(),
            handle: product.handle.clone(),
            description_html: Html(product.body_html.clone()),
            body_html: Some(product.body_html.clone()),
            vendor: product.vendor.clone(),
            product_type: product.product_type.clone(),
            status: product.status.into(),
            tags: product.tags.clone(),
            template_suffix: product.template_suffix.clone(),
            created_at: product.created_at.into(),
            updated_at: product.updated_at.into(),
            published_at: product.published_at.map(Into::into),
            total_inventory: product.variants.iter().map(|variant| variant.inventory_quantity).sum(),
            tracks_inventory: true,
            has_only_default_variant: product.options.is_empty(),
            is_gift_card: false,
            variants_count: Some(Count::exactly(product.variants.len())),
            media_count: Some(Count::exactly(product.images.len())),
            product,
        }
    }
}

#[ComplexObject]
impl Product {
    /// The description without its HTML.
    async fn description(&self, truncate_at: Option<usize>) -> String {
        let text = without_tags(&self.product.body_html);
        match truncate_at {
            Some(at) => text.chars().take(at).collect(),
            None => text,
        }
    }

    /// What a buyer chooses from.
    async fn options(&self, first: Option<usize>) -> Vec<ProductOption> {
        options(&self.product).into_iter().take(first.unwrap_or(usize::MAX)).collect()
    }

    /// What is bought.
    async fn variants(
        &self,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        #[graphql(default_with = "Some(false)")] reverse: Option<bool>,
        #[graphql(default_with = "Some(ProductVariantSortKeys::Position)")] sort_key: Option<ProductVariantSortKeys>,
    ) -> Result<Connection<String, ProductVariant>, Error> {
        let paging = Paging { first, last, after, before, reverse: reverse.unwrap_or_default() };
        variants_page(variants(&self.product), &paging, sort_key.unwrap_or(ProductVariantSortKeys::Position))
    }

    /// Its images.
    #[graphql(deprecation = "Use `media` instead.")]
    async fn images(
        &self,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        #[graphql(default_with = "Some(false)")] reverse: Option<bool>,
        #[graphql(default_with = "Some(ProductImageSortKeys::Position)")] sort_key: Option<ProductImageSortKeys>,
    ) -> Result<Connection<String, Image>, Error> {
        let paging = Paging { first, last, after, before, reverse: reverse.unwrap_or_default() };
        let by_id = sort_key.is_some_and(|key| key != ProductImageSortKeys::Position);
        paging.page(numbered(&self.product.images), |item| image_place(*item, by_id), |(_, image)| Image::from(image))
    }

    /// Its images, as what they may be beside other things.
    async fn media(
        &self,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        #[graphql(default_with = "Some(false)")] reverse: Option<bool>,
        #[graphql(default_with = "Some(ProductMediaSortKeys::Position)")] sort_key: Option<ProductMediaSortKeys>,
    ) -> Result<Connection<String, Media>, Error> {
        let paging = Paging { first, last, after, before, reverse: reverse.unwrap_or_default() };
        let by_id = sort_key == Some(ProductMediaSortKeys::Id);
        paging.page(
            numbered(&self.product.images),
            |item| image_place(*item, by_id),
            |(_, image)| Media::MediaImage(image.into()),
        )
    }

    /// One value that is attached to it.
    async fn metafield(&self, key: String, namespace: Option<String>) -> Option<Metafield> {
        let fields = &self.product.metafields;
        let wanted = |field: &&catalog::Metafield| {
            field.key == key && namespace.as_ref().is_none_or(|namespace| field.namespace == *namespace)
        };
        fields.iter().find(wanted).map(Metafield::from)
    }

    /// Values that are attached to it; a key is `namespace.key`.
    async fn metafields(
        &self,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        keys: Option<Vec<String>>,
        namespace: Option<String>,
        #[graphql(default_with = "Some(false)")] reverse: Option<bool>,
    ) -> Result<Connection<String, Metafield>, Error> {
        let paging = Paging { first, last, after, before, reverse: reverse.unwrap_or_default() };
        let wanted = |field: &&catalog::Metafield| {
            let name = format!("{}.{}", field.namespace, field.key);
            keys.as_ref().is_none_or(|keys| keys.contains(&name))
                && namespace.as_ref().is_none_or(|namespace| field.namespace == *namespace)
        };
        let fields = self.product.metafields.iter().filter(wanted);
        paging.page(fields, |field| Place::new("", field.id), Metafield::from)
    }
}

fn numbered<T>(items: &[T]) -> impl Iterator<Item = (usize, &T)> {
    items.iter().enumerate()
}

fn image_place((at, image): (usize, &catalog::Image), by_id: bool) -> Place {
    if by_id { Place::new("", image.id) } else { Place::at(at, image.id) }
}

/// Text between tags, with the few entities that the seeds use.
fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for letter in html.chars() {
        match letter {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            letter if !inside => text.push(letter),
            _ => {}
        }
    }
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// What a buyer chooses from.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ProductOption {
    id: ID,
    name: String,
    position: usize,
    values: Vec<String>,
    option_values: Vec<ProductOptionValue>,
}

/// One choice.
#[derive(Clone, Debug, SimpleObject)]
struct ProductOptionValue {
    id: ID,
    name: String,
    has_variants: bool,
}

/// A product without options has one that nobody sees.
fn options(product: &catalog::Product) -> Vec<ProductOption> {
    let unseen = || catalog::ProductOption {
        id: product.id,
        name: "Title".to_owned(),
        values: vec![(product.id, "Default Title".to_owned())],
    };
    let options = if product.options.is_empty() { vec![unseen()] } else { product.options.clone() };
    let chosen = |at: usize, value: &String| {
        product.options.is_empty() || product.variants.iter().any(|variant| variant.choices.get(at) == Some(value))
    };
    let option = |(at, option): (usize, catalog::ProductOption)| ProductOption {
        id: id("ProductOption", option.id),
        name: option.name,
        position: at + 1,
        values: option.values.iter().map(|(_, value)| value.clone()).collect(),
        option_values: option
            .values
            .into_iter()
            .map(|(number, name)| ProductOptionValue {
                id: id("ProductOptionValue", number),
                has_variants: chosen(at, &name),
                name,
            })
            .collect(),
    };
    options.into_iter().enumerate().map(option).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ProductVariantInventoryPolicy {
    Continue,
    Deny,
}

/// What is bought.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(super) struct ProductVariant {
    pub(super) id: ID,
    legacy_resource_id: UnsignedInt64,
    title: String,
    display_name: String,
    price: Money,
    compare_at_price: Option<Money>,
    sku: Option<String>,
    barcode: Option<String>,
    position: usize,
    inventory_quantity: Option<i64>,
    inventory_policy: ProductVariantInventoryPolicy,
    inventory_item: InventoryItem,
    taxable: bool,
    available_for_sale: bool,
    selected_options: Vec<SelectedOption>,
    /// None: the emulator's variants share their product's images.
    #[graphql(deprecation = "Use `media` instead.")]
    image: Option<Image>,
    created_at: DateTime,
    updated_at: DateTime,
    #[graphql(skip)]
    number: u64,
    #[graphql(skip)]
    product: catalog::Product,
}

#[ComplexObject]
impl ProductVariant {
    /// What it is a choice of.
    async fn product(&self) -> Product {
        self.product.clone().into()
    }
}

/// What lies in the stock.
#[derive(Clone, Debug, SimpleObject)]
struct InventoryItem {
    id: ID,
    legacy_resource_id: UnsignedInt64,
    sku: Option<String>,
    tracked: bool,
    requires_shipping: bool,
}

/// What was chosen of an option.
#[derive(Clone, Debug, SimpleObject)]
struct SelectedOption {
    name: String,
    value: String,
}

/// All variants of a product.
pub(super) fn variants(product: &catalog::Product) -> impl Iterator<Item = ProductVariant> {
    product.variants.iter().enumerate().map(|(at, one)| variant(product, at, one))
}

fn variant(product: &catalog::Product, at: usize, variant: &catalog::Variant) -> ProductVariant {
    let selected = product.options.iter().zip(&variant.choices);
    let mut selected_options: Vec<_> =
        selected.map(|(option, value)| SelectedOption { name: option.name.clone(), value: value.clone() }).collect();
    if selected_options.is_empty() {
        selected_options = vec![SelectedOption { name: "Title".to_owned(), value: variant.title() }];
    }
    let policy =
        if variant.oversell { ProductVariantInventoryPolicy::Continue } else { ProductVariantInventoryPolicy::Deny };
    ProductVariant {
        id: id("ProductVariant", variant.id),
        legacy_resource_id: UnsignedInt64(variant.id.to_string()),
        title: variant.title(),
        display_name: format!("{} - {}", product.title, variant.title()),
        price: Money(variant.price.clone()),
        compare_at_price: variant.compare_at_price.clone().map(Money),
        sku: variant.sku.clone(),
        barcode: variant.barcode.clone(),
        position: at + 1,
        inventory_quantity: Some(variant.inventory_quantity),
        inventory_policy: policy,
        inventory_item: InventoryItem {
            id: id("InventoryItem", variant.inventory_item_id),
            legacy_resource_id: UnsignedInt64(variant.inventory_item_id.to_string()),
            sku: variant.sku.clone(),
            tracked: true,
            requires_shipping: true,
        },
        taxable: variant.taxable,
        available_for_sale: product.status == Status::Active && (variant.oversell || variant.inventory_quantity > 0),
        selected_options,
        image: None,
        created_at: variant.created_at.into(),
        updated_at: variant.updated_at.into(),
        number: variant.id,
        product: product.clone(),
    }
}

/// A page of variants.
pub(super) fn variants_page(
    variants: impl IntoIterator<Item = ProductVariant>,
    paging: &Paging,
    sort_key: ProductVariantSortKeys,
) -> Result<Connection<String, ProductVariant>, Error> {
    let place = |variant: &ProductVariant| match sort_key {
        ProductVariantSortKeys::Id => Place::new("", variant.number),
        ProductVariantSortKeys::Position => Place::at(variant.position, variant.number),
        ProductVariantSortKeys::Sku => Place::new(variant.sku.clone().unwrap_or_default(), variant.number),
        ProductVariantSortKeys::Title => Place::new(variant.title.clone(), variant.number),
    };
    paging.page(variants, place, |variant| variant)
}

/// A picture.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct Image {
    id: Option<ID>,
    url: Url,
    #[graphql(deprecation = "Use `url` instead.")]
    src: Url,
    alt_text: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
}

impl From<&catalog::Image> for Image {
    fn from(image: &catalog::Image) -> Self {
        Self {
            id: Some(id("ProductImage", image.id)),
            url: Url(image.src.clone()),
            src: Url(image.src.clone()),
            alt_text: image.alt.clone(),
            width: Some(image.width),
            height: Some(image.height),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum MediaContentType {
    Image,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum MediaStatus {
    Ready,
}

/// Something to look at.
#[derive(Clone, Debug, Interface)]
#[graphql(
    field(name = "id", ty = "&ID"),
    field(name = "alt", ty = "&Option<String>"),
    field(name = "media_content_type", ty = "&MediaContentType"),
    field(name = "status", ty = "&MediaStatus"),
    field(name = "preview", ty = "&Option<MediaPreviewImage>")
)]
pub(super) enum Media {
    MediaImage(MediaImage),
}

/// A picture among the media.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct MediaImage {
    pub(super) id: ID,
    alt: Option<String>,
    media_content_type: MediaContentType,
    status: MediaStatus,
    preview: Option<MediaPreviewImage>,
    image: Option<Image>,
}

/// What is shown in its place.
#[derive(Clone, Debug, SimpleObject)]
struct MediaPreviewImage {
    image: Option<Image>,
}

impl From<&catalog::Image> for MediaImage {
    fn from(image: &catalog::Image) -> Self {
        Self {
            id: id("MediaImage", image.id),
            alt: image.alt.clone(),
            media_content_type: MediaContentType::Image,
            status: MediaStatus::Ready,
            preview: Some(MediaPreviewImage { image: Some(image.into()) }),
            image: Some(image.into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum MetafieldOwnerType {
    Product,
}

/// A value that is attached.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct Metafield {
    id: ID,
    legacy_resource_id: UnsignedInt64,
    namespace: String,
    key: String,
    #[graphql(name = "type")]
    kind: String,
    value: String,
    json_value: serde_json::Value,
    compare_digest: String,
    owner_type: MetafieldOwnerType,
    created_at: DateTime,
    updated_at: DateTime,
}

impl From<&catalog::Metafield> for Metafield {
    fn from(field: &catalog::Metafield) -> Self {
        let text = || serde_json::Value::String(field.value.clone());
        let is_text = field.kind.ends_with("text_field") || field.kind == "date" || field.kind == "date_time";
        let digest = Sha256::digest(field.value.as_bytes());
        Self {
            id: id("Metafield", field.id),
            legacy_resource_id: UnsignedInt64(field.id.to_string()),
            namespace: field.namespace.clone(),
            key: field.key.clone(),
            kind: field.kind.clone(),
            value: field.value.clone(),
            json_value: if is_text { text() } else { serde_json::from_str(&field.value).unwrap_or_else(|_| text()) },
            compare_digest: digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
            owner_type: MetafieldOwnerType::Product,
            created_at: field.created_at.into(),
            updated_at: field.updated_at.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_tags;

    #[test]
    fn a_description_is_text() {
        assert_eq!(without_tags("<p>Salt &amp; <b>pepper</b></p>\n<ul><li>mill</li></ul>"), "Salt & pepper mill");
    }
}
