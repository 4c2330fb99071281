//! Which of the platform's models a connection mirrors: what there is, what its scopes allow, what fits together.

use std::collections::BTreeSet;

use tradewind_model::schema::{FieldType, Model};
use tradewind_platform::shopify;

/// What stands before the `/` of a platform's models. Nothing of an app's own is called so.
pub(super) const PREFIXES: [&str; 2] = ["shopify", "bigcommerce"];

/// The scope that lets an app read a model; none for what every app may read.
const SCOPES: &[(&str, Option<&str>)] = &[
    ("shopify/product", Some("read_products")),
    ("shopify/product-variant", Some("read_products")),
    ("shopify/product-option", Some("read_products")),
    ("shopify/product-image", Some("read_products")),
    ("shopify/shop", None),
];

/// Every model that can be mirrored.
pub(super) fn all() -> Vec<Model> {
    shopify::models().into_iter().map(|mirrored| mirrored.model).collect()
}

/// The scope that a model needs and that is not among those that are granted.
pub(super) fn missing_scope<'a>(model: &str, granted: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    let needed = SCOPES.iter().find(|(name, _)| *name == model)?.1?;
    // Who may write may read.
    let writing = needed.replacen("read_", "write_", 1);
    let mut granted = granted.into_iter();
    (!granted.any(|scope| scope == needed || scope == writing)).then_some(needed)
}

/// The model whose records bring those of this one.
pub(super) fn parent(model: &str) -> Option<String> {
    let brings = |field: &tradewind_model::schema::Field| match &field.of {
        FieldType::HasMany { model: child, .. } => child == model,
        _ => false,
    };
    all().into_iter().find(|parent| parent.fields.iter().any(brings)).map(|parent| parent.name)
}

/// The models of these names, linked among one another alone: what names a record of another model is text, and lists of
/// other models' records are left out.
pub(super) fn chosen(names: &BTreeSet<String>) -> Vec<Model> {
    let mut models: Vec<_> = all().into_iter().filter(|model| names.contains(&model.name)).collect();
    for model in &mut models {
        model.fields.retain(|field| match &field.of {
            FieldType::HasMany { model, .. } => names.contains(model),
            _ => true,
        });
        for field in &mut model.fields {
            if matches!(&field.of, FieldType::BelongsTo { model } if !names.contains(model)) {
                field.of = FieldType::String;
            }
        }
    }
    models
}

#[cfg(test)]
mod tests {
    use tradewind_model::schema::Schema;

    use super::*;

    #[test]
    fn the_scope_of_every_model_is_known() {
        let models: Vec<_> = all().into_iter().map(|model| model.name).collect();
        let known: Vec<_> = SCOPES.iter().map(|(model, _)| (*model).to_owned()).collect();
        assert_eq!(models, known);
    }

    #[test]
    fn whatever_is_chosen_fits_together() {
        let models = all();
        for left_out in 0..=models.len() {
            let names =
                models.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, model)| model.name.clone());
            Schema::new(chosen(&names.collect())).unwrap();
        }
        for model in models {
            Schema::new(chosen(&BTreeSet::from([model.name]))).unwrap();
        }
    }

    #[test]
    fn writing_implies_reading() {
        let check = |model: &str, granted: &[&str], missing: Option<&str>| {
            assert_eq!(missing_scope(model, granted.iter().copied()), missing, "{model} {granted:?}");
        };
        check("shopify/product", &["read_products"], None);
        check("shopify/product-image", &["write_products"], None);
        check("shopify/product", &["read_orders"], Some("read_products"));
        check("shopify/shop", &[], None);
    }

    #[test]
    fn children_come_with_their_parent() {
        assert_eq!(parent("shopify/product-variant").as_deref(), Some("shopify/product"));
        assert_eq!(parent("shopify/product"), None);
    }
}
