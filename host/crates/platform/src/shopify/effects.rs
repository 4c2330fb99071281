//! Which records a call to the Admin API changes, and how, read from the call itself.
//!
//! The mutations that plugins use most are known by name; of any other, every global id among its arguments counts as
//! touched. What a mutation creates has no id yet, so nothing is expected of it.

use std::collections::BTreeMap;

use async_graphql_parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationType, Selection, SelectionSet,
};
use async_graphql_value::ConstValue;
use serde_json::{Map, Value};
use tradewind_model::Json;

use super::models::Table;
use crate::effect::{Effect, Expected};

/// How deep fragments may be inside one another. 4: two of the same kind would be a circle, which the platform refuses.
const FRAGMENTS_DEPTH_MAX: usize = 4;

/// How many selections of a document are looked at. 1,000: fragments of fragments can stand for any number.
const SELECTIONS_MAX: usize = 1_000;

/// How many records one call's effects may name. 250: as many as the platform takes in one list.
const EFFECTS_MAX: usize = 250;

/// What a GraphQL call changes; nothing for a query.
pub(super) fn graphql_effects(document: &ExecutableDocument, variables: &Json) -> Vec<Effect> {
    let mut effects = Effects::default();
    let variables: Value = variables.to().unwrap_or_default();
    let operations: Vec<_> = match &document.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values().collect(),
    };
    for operation in operations.into_iter().filter(|operation| operation.node.ty == OperationType::Mutation) {
        let defaults = operation.node.variable_definitions.iter().filter_map(|variable| {
            let value = variable.node.default_value.as_ref()?.node.clone().into_json().ok()?;
            Some((variable.node.name.node.to_string(), value))
        });
        let mut given: Map<String, Value> = defaults.collect();
        given.extend(variables.as_object().cloned().unwrap_or_default());
        let mut fields = Vec::new();
        let mut left = SELECTIONS_MAX;
        collect(document, &operation.node.selection_set.node, &mut fields, 0, &mut left);
        for field in fields {
            let arguments = field.arguments.iter().map(|(name, value)| {
                let value = value.node.clone().into_const_with(|name| {
                    ConstValue::from_json(given.get(name.as_str()).cloned().unwrap_or_default())
                });
                let value = value.ok().and_then(|value| value.into_json().ok()).unwrap_or_default();
                (name.node.to_string(), value)
            });
            effects.mutation(field.name.node.as_str(), &arguments.collect());
        }
    }
    effects.done()
}

/// The fields that a selection asks for, through fragments.
fn collect<'a>(
    document: &'a ExecutableDocument,
    selections: &'a SelectionSet,
    fields: &mut Vec<&'a Field>,
    depth: usize,
    left: &mut usize,
) {
    for selection in &selections.items {
        if depth > FRAGMENTS_DEPTH_MAX || fields.len() >= EFFECTS_MAX || *left == 0 {
            return;
        }
        *left -= 1;
        match &selection.node {
            Selection::Field(field) => fields.push(&field.node),
            Selection::InlineFragment(inline) => {
                collect(document, &inline.node.selection_set.node, fields, depth + 1, left);
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    collect(document, &fragment.node.selection_set.node, fields, depth + 1, left);
                }
            }
        }
    }
}

/// What a REST call changes.
pub fn rest_effects(method: &str, path: &str, body: Option<&Json>) -> Vec<Effect> {
    let mut effects = Effects::default();
    if matches!(method, "GET" | "HEAD" | "OPTIONS") {
        return Vec::new();
    }
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let path = path.strip_suffix(".json").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    for pair in parts.windows(2) {
        let model = match pair[0] {
            "products" => "shopify/product",
            "variants" => "shopify/product-variant",
            "images" => "shopify/product-image",
            _ => continue,
        };
        if pair[1].is_empty() || !pair[1].bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        effects.touch(model, pair[1]);
        let sent = body.and_then(Json::members).unwrap_or_default();
        let sent = sent.first().and_then(|(_, record)| record.members()).unwrap_or_default();
        // The body is about the last record of the path.
        if parts.last() == Some(&pair[1]) {
            for (member, value) in sent {
                effects.member(model, pair[1], &member, &value);
            }
        }
    }
    effects.done()
}

/// The records that an answer names: global ids anywhere in it, and the record of a REST answer.
pub fn answer_effects(answer: &Json) -> Vec<Effect> {
    let mut effects = Effects::default();
    let value: Value = answer.to().unwrap_or_default();
    effects.touch_all(&value);
    for (member, model) in [("product", "shopify/product"), ("variant", "shopify/product-variant")] {
        let id = answer.member(member).and_then(|record| record.member("id"));
        if let Some(id) = id.filter(|id| id.as_str().bytes().all(|byte| byte.is_ascii_digit())) {
            effects.touch(model, id.as_str());
        }
    }
    effects.done()
}

#[derive(Default)]
struct Effects(BTreeMap<(String, String), BTreeMap<String, Expected>>);

impl Effects {
    fn mutation(&mut self, name: &str, arguments: &BTreeMap<String, Value>) {
        match name {
            "tagsAdd" | "tagsRemove" => {
                let words = match arguments.get("tags") {
                    Some(Value::String(words)) => words.split(',').map(|word| word.trim().to_owned()).collect(),
                    Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                    _ => Vec::new(),
                };
                let expected = if name == "tagsAdd" { Expected::Has(words) } else { Expected::Lacks(words) };
                if let Some((model, id)) = arguments.get("id").and_then(Value::as_str).and_then(record_of) {
                    self.expect(&model, &id, "tags", expected);
                }
            }
            "productUpdate" => {
                let input = arguments.get("product").or(arguments.get("input"));
                self.input("shopify/product", input);
            }
            "productVariantsBulkUpdate" => {
                for variant in arguments.get("variants").and_then(Value::as_array).into_iter().flatten() {
                    self.input("shopify/product-variant", Some(variant));
                }
            }
            _ => {}
        }
        // Whatever else is named is touched: metafields of a product change its time.
        for value in arguments.values() {
            self.touch_all(value);
        }
    }

    /// The members of an update's input.
    fn input(&mut self, model: &str, input: Option<&Value>) {
        let Some(input) = input.and_then(Value::as_object) else { return };
        let Some((_, id)) = input.get("id").and_then(Value::as_str).and_then(record_of) else { return };
        for (name, value) in input {
            let member = match name.as_str() {
                "id" => continue,
                "descriptionHtml" => "body_html".to_owned(),
                name => snake_case(name),
            };
            let value = match (member.as_str(), value) {
                // The API has enumerations in capitals, the webhook has them in small letters.
                ("status" | "inventory_policy", Value::String(value)) => Value::String(value.to_lowercase()),
                (_, value) => value.clone(),
            };
            if let Ok(value) = Json::of(&value) {
                self.member(model, &id, &member, &value);
            }
        }
    }

    fn member(&mut self, model: &str, id: &str, member: &str, value: &Json) {
        let Some((field, _)) = Table::of(model).and_then(|table| table.field(member)) else { return };
        let value = super::mapper::as_field(model, member, value);
        self.expect(model, id, field, Expected::Is(value));
    }

    fn touch_all(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                if let Some((model, id)) = record_of(text) {
                    self.touch(&model, &id);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.touch_all(item)),
            Value::Object(members) => members.values().for_each(|member| self.touch_all(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn touch(&mut self, model: &str, id: &str) {
        if self.0.len() < EFFECTS_MAX {
            self.0.entry((model.to_owned(), id.to_owned())).or_default();
        }
    }

    fn expect(&mut self, model: &str, id: &str, field: &str, expected: Expected) {
        self.touch(model, id);
        if let Some(fields) = self.0.get_mut(&(model.to_owned(), id.to_owned())) {
            fields.insert(field.to_owned(), expected);
        }
    }

    fn done(self) -> Vec<Effect> {
        let effects = self.0.into_iter().map(|((model, id), mut fields)| {
            if let Some(table) = Table::of(&model)
                && let Some((updated, _)) = table.field("updated_at")
            {
                fields.insert(updated.to_owned(), Expected::Moves);
            }
            Effect { model, id, fields }
        });
        effects.collect()
    }
}

/// The record that a global id names, when its model is mirrored: `gid://shopify/ProductVariant/1`.
fn record_of(gid: &str) -> Option<(String, String)> {
    let (kind, id) = gid.strip_prefix("gid://shopify/")?.split_once('/')?;
    let id = id.split('?').next().filter(|id| !id.is_empty())?;
    let model = match kind {
        "Product" => "shopify/product",
        "ProductVariant" => "shopify/product-variant",
        "ProductOption" => "shopify/product-option",
        "ProductImage" | "MediaImage" => "shopify/product-image",
        "Shop" => "shopify/shop",
        _ => return None,
    };
    Some((model.to_owned(), id.to_owned()))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn shown(effects: &[Effect]) -> Vec<String> {
        let field = |(name, expected): (&String, &Expected)| match expected {
            Expected::Is(value) => Some(format!("{name}={}", value.as_str())),
            Expected::Has(words) => Some(format!("{name}+{}", words.join(","))),
            Expected::Lacks(words) => Some(format!("{name}-{}", words.join(","))),
            Expected::Moves => None,
        };
        let show = |effect: &Effect| {
            let fields: Vec<_> = effect.fields.iter().filter_map(field).collect();
            format!("{} {} {}", effect.model, effect.id, fields.join(" "))
        };
        effects.iter().map(show).collect()
    }

    #[test]
    fn known_mutations_say_what_becomes_of_fields() {
        let check = |query: &str, variables: &str, expected: &[&str]| {
            let document = async_graphql_parser::parse_query(query).unwrap();
            assert_eq!(shown(&graphql_effects(&document, &json(variables))), expected, "{query}");
        };
        check(
            "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { message } } }",
            r#"{"id":"gid://shopify/Product/9007199254740993","tags":["a","b"]}"#,
            &["shopify/product 9007199254740993 tags+a,b"],
        );
        check(
            r#"mutation { tagsRemove(id: "gid://shopify/Product/1", tags: "a, b") { userErrors { message } } }"#,
            "null",
            &["shopify/product 1 tags-a,b"],
        );
        check(
            "mutation($p: ProductUpdateInput!) { productUpdate(product: $p) { product { id } } }",
            r#"{"p":{"id":"gid://shopify/Product/1","descriptionHtml":"<p>x</p>","status":"ACTIVE","tags":["a"],"seo":{}}}"#,
            &[r#"shopify/product 1 body="<p>x</p>" status="active" tags=["a"]"#],
        );
        check(
            "mutation($v: [ProductVariantsBulkInput!]!) { productVariantsBulkUpdate(productId: \"gid://shopify/Product/1\", variants: $v) { userErrors { field } } }",
            r#"{"v":[{"id":"gid://shopify/ProductVariant/2","price":"9.90"}]}"#,
            &["shopify/product 1 ", r#"shopify/product-variant 2 price="9.90""#],
        );
        check(
            "mutation { metafieldsSet(metafields: [{ownerId: \"gid://shopify/Product/7\"}]) { userErrors { field } } }",
            "null",
            &["shopify/product 7 "],
        );
        check(
            "mutation($t: [String!]! = [\"x\"]) { ...F } fragment F on Mutation { tagsAdd(id: \"gid://shopify/Product/1\", tags: $t) { node { id } } }",
            "null",
            &["shopify/product 1 tags+x"],
        );
        check("query { product(id: \"gid://shopify/Product/1\") { id } }", "null", &[]);
    }

    #[test]
    fn an_answer_names_what_was_created() {
        let graphql = json(r#"{"productCreate":{"product":{"id":"gid://shopify/Product/9"},"userErrors":[]}}"#);
        assert_eq!(shown(&answer_effects(&graphql)), ["shopify/product 9 "]);
        let rest = json(r#"{"product":{"id":9007199254740993,"title":"Hat"}}"#);
        assert_eq!(shown(&answer_effects(&rest)), ["shopify/product 9007199254740993 "]);
    }

    #[test]
    fn rest_calls_say_it_by_their_path_and_body() {
        let effects = rest_effects(
            "PUT",
            "products/1.json",
            Some(&json(r#"{"product":{"id":1,"body_html":"x","tags":"a, b"}}"#)),
        );
        assert_eq!(shown(&effects), [r#"shopify/product 1 body="x" tags=["a","b"]"#]);
        let effects = rest_effects("PUT", "products/1/images/5.json", Some(&json(r#"{"image":{"alt":"y"}}"#)));
        assert_eq!(shown(&effects), ["shopify/product 1 ", r#"shopify/product-image 5 alt="y""#]);
        assert_eq!(rest_effects("GET", "products/1.json", None), []);
        assert_eq!(rest_effects("POST", "products.json", Some(&json(r#"{"product":{"title":"x"}}"#))), []);
    }
}
