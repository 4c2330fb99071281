//! A product as REST clients send it, and the edit that it asks for.

#![expect(clippy::option_option, reason = "a field is not given, null, or a value")]

use serde::{Deserialize, Deserializer};

use crate::catalog::Status;
use crate::catalog::edit::{ImageEdit, MetafieldEdit, ProductEdit, VariantEdit};

/// What is inside of `{"product": …}`. Fields that nobody knows are passed over, as by the platform.
#[derive(Debug, Deserialize)]
pub(super) struct ProductInput {
    title: Option<String>,
    #[serde(default, deserialize_with = "given")]
    body_html: Option<Option<String>>,
    vendor: Option<String>,
    product_type: Option<String>,
    handle: Option<String>,
    status: Option<StatusInput>,
    published: Option<bool>,
    tags: Option<Tags>,
    #[serde(default, deserialize_with = "given")]
    template_suffix: Option<Option<String>>,
    options: Option<Vec<OptionInput>>,
    variants: Option<Vec<VariantInput>>,
    images: Option<Vec<ImageInput>>,
    #[serde(default)]
    metafields: Vec<MetafieldInput>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StatusInput {
    Active,
    Archived,
    Draft,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tags {
    Text(String),
    List(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct OptionInput {
    name: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct VariantInput {
    id: Option<u64>,
    option1: Option<String>,
    option2: Option<String>,
    option3: Option<String>,
    price: Option<Amount>,
    #[serde(default, deserialize_with = "given")]
    compare_at_price: Option<Option<Amount>>,
    #[serde(default, deserialize_with = "given")]
    sku: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    barcode: Option<Option<String>>,
    inventory_quantity: Option<i64>,
    inventory_policy: Option<Policy>,
    taxable: Option<bool>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Policy {
    Continue,
    Deny,
}

/// A price, as text or as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Amount {
    Text(String),
    Number(serde_json::Number),
}

impl Amount {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct ImageInput {
    id: Option<u64>,
    src: Option<String>,
    alt: Option<String>,
}

#[derive(Debug, Deserialize)]
struct MetafieldInput {
    namespace: String,
    key: String,
    value: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// A field that is given, be it `null`, is another thing than one that is not.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl From<ProductInput> for ProductEdit {
    fn from(input: ProductInput) -> Self {
        let options = input
            .options
            .map(|options| options.into_iter().map(|option| (option.name, option.values)).collect::<Vec<_>>());
        let status = match (input.status, input.published) {
            (Some(StatusInput::Active), _) | (None, Some(true)) => Some(Status::Active),
            (Some(StatusInput::Archived), _) => Some(Status::Archived),
            (Some(StatusInput::Draft), _) | (None, Some(false)) => Some(Status::Draft),
            (None, None) => None,
        };
        let image = |image: ImageInput| ImageEdit { id: image.id, src: image.src, alt: image.alt };
        let metafield = |field: MetafieldInput| MetafieldEdit {
            namespace: field.namespace,
            key: field.key,
            kind: field.kind,
            value: field.value,
        };
        Self {
            title: input.title,
            body_html: input.body_html.map(Option::unwrap_or_default),
            vendor: input.vendor,
            product_type: input.product_type,
            handle: input.handle,
            status,
            tags: input.tags.map(|tags| match tags {
                Tags::Text(text) => vec![text],
                Tags::List(list) => list,
            }),
            template_suffix: input.template_suffix.map(Option::unwrap_or_default),
            options,
            only_these_variants: input.variants.is_some(),
            variants: input.variants.into_iter().flatten().map(Into::into).collect(),
            images: input.images.map(|images| images.into_iter().map(image).collect()),
            metafields: input.metafields.into_iter().map(metafield).collect(),
        }
    }
}

impl From<VariantInput> for VariantEdit {
    fn from(input: VariantInput) -> Self {
        let choices: Vec<_> = [input.option1, input.option2, input.option3].into_iter().flatten().collect();
        // The one choice of a product without options is none.
        let unseen = choices.first().is_some_and(|choice| choice == "Default Title");
        Self {
            id: input.id,
            choices: (!choices.is_empty() && !unseen).then_some(choices),
            price: input.price.map(Amount::text),
            compare_at_price: input.compare_at_price.map(|price| price.map(Amount::text)),
            sku: input.sku,
            barcode: input.barcode,
            inventory_quantity: input.inventory_quantity,
            oversell: input.inventory_policy.map(|policy| policy == Policy::Continue),
            taxable: input.taxable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ProductInput;
    use crate::catalog::edit::ProductEdit;

    #[test]
    fn what_is_not_given_stays_and_null_does_not() {
        let text = r#"{"body_html":null,"tags":"a, b","variants":[{"id":9007199254740993,"price":7.5,"sku":null}]}"#;
        let edit: ProductEdit = serde_json::from_str::<ProductInput>(text).unwrap().into();
        assert_eq!((edit.title, edit.body_html.as_deref()), (None, Some("")));
        let variant = &edit.variants[0];
        assert_eq!(variant.id, Some(9_007_199_254_740_993));
        assert_eq!((variant.price.as_deref(), &variant.sku, &variant.barcode), (Some("7.5"), &Some(None), &None));
        assert!(edit.only_these_variants);
    }
}
