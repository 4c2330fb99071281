//! What may be asked of a product, and what is wrong with it.
//!
//! One way for all: a merchant on the page, the REST API and GraphQL all make an [`ProductEdit`]. To add a field, add it here,
//! in [`apply`], and to those who read it from their own form.

use jiff::Timestamp;

use super::handle::handle;
use super::{Image, Metafield, Product, ProductOption, Status, Variant};
use crate::limits::{
    BODY_HTML_BYTES_MAX, IMAGES_MAX, METAFIELDS_MAX, OPTIONS_MAX, TAGS_MAX, TEXT_CHARS_MAX, VARIANTS_MAX,
};

/// What is to change; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ProductEdit {
    /// Shown name.
    pub title: Option<String>,
    /// Description as HTML.
    pub body_html: Option<String>,
    /// Who makes it.
    pub vendor: Option<String>,
    /// What kind of thing it is.
    pub product_type: Option<String>,
    /// Its name in addresses.
    pub handle: Option<String>,
    /// Whether it is sold.
    pub status: Option<Status>,
    /// All tags; each may be several, separated by commas.
    pub tags: Option<Vec<String>>,
    /// The theme's template; empty for none.
    pub template_suffix: Option<String>,
    /// Names of options, for a new product or new variants.
    pub options: Option<Vec<(String, Vec<String>)>>,
    /// Variants to change, by their id, or to add.
    pub variants: Vec<VariantEdit>,
    /// Variants that are not named go away.
    pub only_these_variants: bool,
    /// All images: those with an id stay.
    pub images: Option<Vec<ImageEdit>>,
    /// Metafields to set.
    pub metafields: Vec<MetafieldEdit>,
}

/// What is to change of a variant.
#[derive(Clone, Debug, Default)]
pub struct VariantEdit {
    /// Which one; `None` makes a new one.
    pub id: Option<u64>,
    /// One value for each option.
    pub choices: Option<Vec<String>>,
    /// A decimal number.
    pub price: Option<String>,
    /// A decimal number, or none.
    pub compare_at_price: Option<Option<String>>,
    /// The merchant's own number, or none.
    pub sku: Option<Option<String>>,
    /// The number under the bars, or none.
    pub barcode: Option<Option<String>>,
    /// How many there are.
    pub inventory_quantity: Option<i64>,
    /// Sold on when there are none.
    pub oversell: Option<bool>,
    /// Taxes are due.
    pub taxable: Option<bool>,
}

/// An image that is to be there.
#[derive(Clone, Debug, Default)]
pub struct ImageEdit {
    /// One that is there already.
    pub id: Option<u64>,
    /// Where a new one is.
    pub src: Option<String>,
    /// What it shows.
    pub alt: Option<String>,
}

/// A metafield that is to be set.
#[derive(Clone, Debug)]
pub struct MetafieldEdit {
    /// Whose it is.
    pub namespace: String,
    /// What it is.
    pub key: String,
    /// How the value is to be read; needed for a new one.
    pub kind: Option<String>,
    /// The value, as text.
    pub value: String,
}

/// Something that is wrong with an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which field, as the REST API calls it.
    pub field: &'static str,
    /// Which of several, from zero.
    pub index: Option<usize>,
    /// What is wrong, to be read after the field's name: `can't be blank`.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, index: None, message: message.into() }
    }

    fn at(index: usize, field: &'static str, message: impl Into<String>) -> Self {
        Self { field, index: Some(index), message: message.into() }
    }
}

/// What a new product is before anything is asked of it.
pub(crate) fn blank(id: u64, vendor: &str, now: Timestamp) -> Product {
    Product {
        id,
        title: String::new(),
        body_html: String::new(),
        vendor: vendor.to_owned(),
        product_type: String::new(),
        handle: String::new(),
        status: Status::Active,
        tags: Vec::new(),
        options: Vec::new(),
        variants: Vec::new(),
        images: Vec::new(),
        metafields: Vec::new(),
        template_suffix: None,
        created_at: now,
        updated_at: now,
        published_at: None,
    }
}

/// The product as it is after the edit, or everything that is wrong with it.
///
/// A product with which nothing changed is equal to the one before, its times included.
pub(crate) fn apply(
    before: &Product,
    edit: &ProductEdit,
    now: Timestamp,
    ids: &mut impl FnMut() -> u64,
) -> Result<Product, Vec<Problem>> {
    let mut product = before.clone();
    let mut problems = Vec::new();
    texts(&mut product, edit, &mut problems);
    if let Some(tags) = &edit.tags {
        product.tags = tidy_tags(tags);
    }
    if product.tags.len() > TAGS_MAX {
        problems.push(Problem::new("tags", format!("can't be more than {TAGS_MAX}")));
    }
    if product.tags.iter().any(|tag| tag.chars().count() > TEXT_CHARS_MAX) {
        problems.push(Problem::new("tags", format!("must each have at most {TEXT_CHARS_MAX} characters")));
    }
    options(&mut product, edit, ids, &mut problems);
    variants(&mut product, edit, now, ids, &mut problems);
    images(&mut product, edit, now, ids, &mut problems);
    metafields(&mut product, edit, now, ids, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    match product.status {
        Status::Active => product.published_at = product.published_at.or(Some(now)),
        Status::Draft | Status::Archived => product.published_at = None,
    }
    if product != *before {
        product.updated_at = now;
    }
    Ok(product)
}

fn texts(product: &mut Product, edit: &ProductEdit, problems: &mut Vec<Problem>) {
    let fields = [
        ("title", &edit.title, &mut product.title),
        ("vendor", &edit.vendor, &mut product.vendor),
        ("product_type", &edit.product_type, &mut product.product_type),
    ];
    for (name, wanted, field) in fields {
        let Some(wanted) = wanted else { continue };
        wanted.trim().clone_into(field);
        if field.chars().count() > TEXT_CHARS_MAX {
            problems.push(Problem::new(name, format!("is too long (maximum is {TEXT_CHARS_MAX} characters)")));
        }
    }
    if product.title.is_empty() {
        problems.push(Problem::new("title", "can't be blank"));
    }
    if let Some(body) = &edit.body_html {
        product.body_html.clone_from(body);
        if body.len() > BODY_HTML_BYTES_MAX {
            problems.push(Problem::new("body_html", format!("is too big (maximum is {BODY_HTML_BYTES_MAX} bytes)")));
        }
    }
    match &edit.handle {
        Some(wanted) if !wanted.trim().is_empty() => product.handle = handle(wanted),
        _ if product.handle.is_empty() => product.handle = handle(&product.title),
        _ => {}
    }
    if product.handle.chars().count() > TEXT_CHARS_MAX {
        problems.push(Problem::new("handle", format!("is too long (maximum is {TEXT_CHARS_MAX} characters)")));
    }
    if let Some(status) = edit.status {
        product.status = status;
    }
    if let Some(suffix) = &edit.template_suffix {
        product.template_suffix = Some(suffix.clone()).filter(|suffix| !suffix.is_empty());
    }
}

/// Split at commas, trimmed, sorted and each kept once, whatever its case: the first spelling stays.
pub(crate) fn tidy_tags(tags: &[String]) -> Vec<String> {
    let mut tidy: Vec<String> = Vec::new();
    for tag in tags.iter().flat_map(|tags| tags.split(',')).map(str::trim).filter(|tag| !tag.is_empty()) {
        if !tidy.iter().any(|known| same_tag(known, tag)) {
            tidy.push(tag.to_owned());
        }
    }
    tidy.sort_by_key(|tag| tag.to_lowercase());
    tidy
}

/// Two spellings of one tag.
pub(crate) fn same_tag(left: &str, right: &str) -> bool {
    left.to_lowercase() == right.to_lowercase()
}

fn options(product: &mut Product, edit: &ProductEdit, ids: &mut impl FnMut() -> u64, problems: &mut Vec<Problem>) {
    let Some(wanted) = &edit.options else { return };
    if wanted.len() > OPTIONS_MAX {
        problems.push(Problem::new("options", format!("can't be more than {OPTIONS_MAX}")));
        return;
    }
    let mut options = Vec::new();
    for (name, values) in wanted {
        if name.trim().is_empty() {
            problems.push(Problem::new("options", "must have a name"));
        }
        let known = product.options.iter().find(|option| option.name == *name);
        let known_value = |value: &str| known?.values.iter().find(|(_, known)| known == value).cloned();
        let id = known.map_or_else(&mut *ids, |option| option.id);
        let mut values: Vec<_> =
            values.iter().map(|value| known_value(value).unwrap_or_else(|| (ids(), value.clone()))).collect();
        if values.is_empty() {
            values = known.map(|option| option.values.clone()).unwrap_or_default();
        }
        options.push(ProductOption { id, name: name.trim().to_owned(), values });
    }
    product.options = options;
}

fn variants(
    product: &mut Product,
    edit: &ProductEdit,
    now: Timestamp,
    ids: &mut impl FnMut() -> u64,
    problems: &mut Vec<Problem>,
) {
    let mut kept = Vec::new();
    for (index, wanted) in edit.variants.iter().enumerate() {
        let at = wanted.id.and_then(|id| product.variants.iter().position(|variant| variant.id == id));
        let mut variant = match (wanted.id, at) {
            (_, Some(at)) => product.variants[at].clone(),
            (Some(_), None) => {
                problems.push(Problem::at(index, "variants", "does not exist"));
                continue;
            }
            (None, None) => new_variant(product, now, ids),
        };
        change_variant(&mut variant, wanted, product.options.len(), now, index, problems);
        kept.push(variant.id);
        match at {
            Some(at) => product.variants[at] = variant,
            None => product.variants.push(variant),
        }
    }
    if edit.only_these_variants {
        product.variants.retain(|variant| kept.contains(&variant.id));
    }
    if product.variants.is_empty() {
        let variant = new_variant(product, now, ids);
        product.variants.push(variant);
    }
    if product.variants.len() > VARIANTS_MAX {
        problems.push(Problem::new("variants", format!("can't be more than {VARIANTS_MAX}")));
    }
    // What a variant has chosen is one of the option's values.
    for (at, option) in product.options.iter_mut().enumerate() {
        for choice in product.variants.iter().filter_map(|variant| variant.choices.get(at)) {
            if !option.values.iter().any(|(_, value)| value == choice) {
                option.values.push((ids(), choice.clone()));
            }
        }
    }
}

fn new_variant(product: &Product, now: Timestamp, ids: &mut impl FnMut() -> u64) -> Variant {
    let first_choice = |option: &ProductOption| option.values.first().map(|(_, value)| value.clone());
    Variant {
        id: ids(),
        choices: product.options.iter().map(|option| first_choice(option).unwrap_or_default()).collect(),
        price: "0.00".to_owned(),
        compare_at_price: None,
        sku: None,
        barcode: None,
        inventory_quantity: 0,
        inventory_item_id: ids(),
        oversell: false,
        taxable: true,
        created_at: now,
        updated_at: now,
    }
}

fn change_variant(
    variant: &mut Variant,
    wanted: &VariantEdit,
    options: usize,
    now: Timestamp,
    index: usize,
    problems: &mut Vec<Problem>,
) {
    let before = variant.clone();
    let mut price = |text: &String, field| {
        let parsed = money(text);
        if parsed.is_none() {
            problems.push(Problem::at(index, field, "must be a number greater than or equal to 0"));
        }
        parsed
    };
    if let Some(parsed) = wanted.price.as_ref().and_then(|text| price(text, "price")) {
        variant.price = parsed;
    }
    if let Some(wanted) = &wanted.compare_at_price {
        variant.compare_at_price = wanted.as_ref().and_then(|text| price(text, "compare_at_price"));
    }
    if let Some(choices) = &wanted.choices {
        if choices.len() == options {
            variant.choices.clone_from(choices);
        } else {
            problems.push(Problem::at(index, "option_values", format!("must be {options}, one for each option")));
        }
    }
    let empty_is_none = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(sku) = &wanted.sku {
        variant.sku = empty_is_none(sku);
    }
    if let Some(barcode) = &wanted.barcode {
        variant.barcode = empty_is_none(barcode);
    }
    variant.inventory_quantity = wanted.inventory_quantity.unwrap_or(variant.inventory_quantity);
    variant.oversell = wanted.oversell.unwrap_or(variant.oversell);
    variant.taxable = wanted.taxable.unwrap_or(variant.taxable);
    if *variant != before {
        variant.updated_at = now;
    }
}

/// A decimal number that is not negative, with two decimals.
fn money(text: &str) -> Option<String> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 15 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let mut fraction = fraction.to_owned();
    fraction.truncate(2);
    Some(format!("{whole}.{fraction:0<2}"))
}

fn images(
    product: &mut Product,
    edit: &ProductEdit,
    now: Timestamp,
    ids: &mut impl FnMut() -> u64,
    problems: &mut Vec<Problem>,
) {
    let Some(wanted) = &edit.images else { return };
    if wanted.len() > IMAGES_MAX {
        problems.push(Problem::new("images", format!("can't be more than {IMAGES_MAX}")));
        return;
    }
    let mut images = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        let known = wanted.id.and_then(|id| product.images.iter().find(|image| image.id == id));
        match (known, &wanted.src) {
            (Some(known), _) => {
                let alt = wanted.alt.clone().or_else(|| known.alt.clone());
                images.push(Image { alt, ..known.clone() });
            }
            (None, Some(src)) if src.starts_with("https://") || src.starts_with("http://") => images.push(Image {
                id: ids(),
                src: src.clone(),
                alt: wanted.alt.clone(),
                width: 800,
                height: 800,
                created_at: now,
            }),
            _ => problems.push(Problem::at(index, "images", "must have an id that exists or a `src`")),
        }
    }
    product.images = images;
}

fn metafields(
    product: &mut Product,
    edit: &ProductEdit,
    now: Timestamp,
    ids: &mut impl FnMut() -> u64,
    problems: &mut Vec<Problem>,
) {
    for (index, wanted) in edit.metafields.iter().enumerate() {
        let same = |field: &&mut Metafield| field.namespace == wanted.namespace && field.key == wanted.key;
        if let Some(known) = product.metafields.iter_mut().find(same) {
            if known.value != wanted.value {
                known.value.clone_from(&wanted.value);
                known.updated_at = now;
            }
            continue;
        }
        let Some(kind) = wanted.kind.clone() else {
            problems.push(Problem::at(index, "type", "can't be blank"));
            continue;
        };
        product.metafields.push(Metafield {
            id: ids(),
            namespace: wanted.namespace.clone(),
            key: wanted.key.clone(),
            kind,
            value: wanted.value.clone(),
            created_at: now,
            updated_at: now,
        });
    }
    if product.metafields.len() > METAFIELDS_MAX {
        problems.push(Problem::new("metafields", format!("can't be more than {METAFIELDS_MAX}")));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{ProductEdit, VariantEdit, apply, blank, money, tidy_tags};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_edit_that_changes_nothing_leaves_the_times() {
        let mut id = 0;
        let mut ids = || {
            id += 1;
            id
        };
        let edit = ProductEdit { title: Some("Wool Hat".to_owned()), ..ProductEdit::default() };
        let made = apply(&blank(1, "Acme", at(5)), &edit, at(5), &mut ids).unwrap();
        assert_eq!((made.handle.as_str(), made.variants.len(), made.updated_at), ("wool-hat", 1, at(5)));
        assert_eq!(apply(&made, &edit, at(9), &mut ids).unwrap(), made);
        let price =
            VariantEdit { id: Some(made.variants[0].id), price: Some("7".to_owned()), ..VariantEdit::default() };
        let edit = ProductEdit { variants: vec![price], ..ProductEdit::default() };
        let changed = apply(&made, &edit, at(9), &mut ids).unwrap();
        assert_eq!((changed.variants[0].price.as_str(), changed.updated_at), ("7.00", at(9)));
    }

    #[test]
    fn all_problems_are_said_at_once() {
        let variant = VariantEdit { price: Some("-1".to_owned()), ..VariantEdit::default() };
        let edit = ProductEdit { title: Some(" ".to_owned()), variants: vec![variant], ..ProductEdit::default() };
        let problems = apply(&blank(1, "Acme", at(5)), &edit, at(5), &mut || 2).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["title", "price"]);
    }

    #[test]
    fn tags_are_one_whatever_their_case() {
        let tags = ["Red", "blue, green", "red", " ", "A"].map(str::to_owned);
        assert_eq!(tidy_tags(&tags), ["A", "blue", "green", "Red"]);
    }

    #[test]
    fn money_has_two_decimals() {
        let cases = [
            ("7", Some("7.00")),
            ("007.5", Some("7.50")),
            ("1.239", Some("1.23")),
            (".5", None),
            ("-1", None),
            ("1,5", None),
            ("1e3", None),
        ];
        for (text, expected) in cases {
            assert_eq!(money(text).as_deref(), expected, "{text}");
        }
    }
}
