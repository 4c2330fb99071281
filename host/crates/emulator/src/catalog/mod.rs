//! What a shop sells: products, how they change, and where the first ones come from.
//!
//! Values and decisions alone: times, ids and seeds are arguments. [`edit`] is what may be asked of a product and what is
//! wrong with it, [`seed`] what a new shop sells, [`rest`] how the platform writes a product down.

pub(crate) mod edit;
mod handle;
pub(crate) mod rest;
pub(crate) mod seed;
mod words;

use jiff::Timestamp;

pub(crate) use handle::free as handle_free;

/// Something that is sold, as the platform keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Numeric id; some are beyond 2^53.
    pub id: u64,
    /// Shown name.
    pub title: String,
    /// Description as HTML.
    pub body_html: String,
    /// Who makes it.
    pub vendor: String,
    /// What kind of thing it is.
    pub product_type: String,
    /// Its name in addresses, unique in the shop.
    pub handle: String,
    /// Whether it is sold.
    pub status: Status,
    /// Sorted, without repetition whatever the case.
    pub tags: Vec<String>,
    /// What a buyer chooses from; up to three.
    pub options: Vec<ProductOption>,
    /// What is bought; at least one.
    pub variants: Vec<Variant>,
    /// Pictures, in order.
    pub images: Vec<Image>,
    /// Values that apps and merchants attach.
    pub metafields: Vec<Metafield>,
    /// Which of the theme's templates shows it.
    pub template_suffix: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed; whole seconds, as everywhere on the platform.
    pub updated_at: Timestamp,
    /// Since when buyers can see it.
    pub published_at: Option<Timestamp>,
}

/// Whether a product is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Sold.
    Active,
    /// No longer sold.
    Archived,
    /// Not sold yet.
    Draft,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
            Self::Draft => "draft",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Active, Self::Archived, Self::Draft].into_iter().find(|status| status.name() == name)
    }
}

/// What a buyer chooses from: a size, a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductOption {
    /// Numeric id.
    pub id: u64,
    /// What is chosen.
    pub name: String,
    /// The choices, in order, each with its numeric id.
    pub values: Vec<(u64, String)>,
}

/// One choice of all options: what is bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Numeric id.
    pub id: u64,
    /// One value for each option.
    pub choices: Vec<String>,
    /// In the shop's currency, with two decimals.
    pub price: String,
    /// What it cost before.
    pub compare_at_price: Option<String>,
    /// The merchant's own number.
    pub sku: Option<String>,
    /// The number under the bars.
    pub barcode: Option<String>,
    /// How many there are.
    pub inventory_quantity: i64,
    /// Numeric id of what lies in the stock.
    pub inventory_item_id: u64,
    /// Sold on when there are none.
    pub oversell: bool,
    /// Taxes are due.
    pub taxable: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Variant {
    /// Its choices, or what the platform calls the only variant.
    pub fn title(&self) -> String {
        if self.choices.is_empty() { "Default Title".to_owned() } else { self.choices.join(" / ") }
    }
}

/// A picture of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Numeric id.
    pub id: u64,
    /// Where it is.
    pub src: String,
    /// What it shows, for those who cannot see it.
    pub alt: Option<String>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A value that is attached to a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metafield {
    /// Numeric id.
    pub id: u64,
    /// Whose it is.
    pub namespace: String,
    /// What it is.
    pub key: String,
    /// How the value is to be read.
    pub kind: String,
    /// The value, as text.
    pub value: String,
    /// When it was attached.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The name of something across the platform's APIs.
pub(crate) fn gid(kind: &str, id: u64) -> String {
    format!("gid://shopify/{kind}/{id}")
}
