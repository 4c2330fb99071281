//! Reads what a webhook had no room for, in the webhook's own form: beyond the hundredth variant a product's payload has ids
//! alone.

use serde_json::{Map, Value, json};
use tradewind_model::Json;

/// Asks for variants by their ids. `nodes` takes up to 250.
pub const VARIANTS_QUERY: &str = "query TradewindVariants($ids: [ID!]!) { nodes(ids: $ids) { ... on ProductVariant { \
     legacyResourceId id title sku barcode price compareAtPrice position taxable inventoryPolicy inventoryQuantity createdAt \
     updatedAt selectedOptions { value } product { legacyResourceId } inventoryItem { legacyResourceId } image { id } } } }";

/// The query and variables that read records of a model by their ids; none for a model whose records always come whole.
pub fn children_query(model: &str, ids: &[String]) -> Option<(&'static str, Json)> {
    if model != "shopify/product-variant" {
        return None;
    }
    let ids: Vec<_> = ids.iter().map(|id| format!("gid://shopify/ProductVariant/{id}")).collect();
    Some((VARIANTS_QUERY, Json::of(&json!({ "ids": ids })).ok()?))
}

/// The records of the answer, as a webhook spells them. Those that are gone meanwhile are left out.
pub fn children_of(data: &Json) -> Vec<Value> {
    let data: Value = data.to().unwrap_or_default();
    let nodes = data.get("nodes").and_then(Value::as_array);
    nodes.into_iter().flatten().filter(|node| !node.is_null()).map(variant).collect()
}

fn variant(node: &Value) -> Value {
    let number = |id: &Value| id.as_str().and_then(|id| id.parse::<u64>().ok()).map_or(Value::Null, Value::from);
    let of =
        |member: &str| node.get(member).and_then(|inner| inner.get("legacyResourceId")).map_or(Value::Null, number);
    let mut variant = Map::new();
    let mut put = |name: &str, value: Value| variant.insert(name.to_owned(), value);
    put("id", node.get("legacyResourceId").map_or(Value::Null, number));
    put("product_id", of("product"));
    put("inventory_item_id", of("inventoryItem"));
    let image = node.pointer("/image/id").and_then(Value::as_str).and_then(|gid| gid.rsplit('/').next());
    put("image_id", image.and_then(|id| id.parse::<u64>().ok()).map_or(Value::Null, Value::from));
    for (name, member) in [
        ("admin_graphql_api_id", "id"),
        ("title", "title"),
        ("sku", "sku"),
        ("barcode", "barcode"),
        ("price", "price"),
        ("compare_at_price", "compareAtPrice"),
        ("position", "position"),
        ("taxable", "taxable"),
        ("inventory_quantity", "inventoryQuantity"),
        ("created_at", "createdAt"),
        ("updated_at", "updatedAt"),
    ] {
        put(name, node.get(member).cloned().unwrap_or_default());
    }
    // The API has enumerations in capitals, the webhook has them in small letters.
    let policy = node.get("inventoryPolicy").and_then(Value::as_str).map(str::to_lowercase);
    put("inventory_policy", policy.map_or(Value::Null, Value::from));
    for at in 0..3 {
        let value = node.pointer(&format!("/selectedOptions/{at}/value")).cloned();
        put(&format!("option{}", at + 1), value.unwrap_or_default());
    }
    Value::Object(variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_of_the_api_is_spelled_like_one_of_a_webhook() {
        let data = r#"{"nodes":[{"legacyResourceId":"9007199254740993","id":"gid://shopify/ProductVariant/9007199254740993",
            "title":"S / red","price":"19.90","position":101,"inventoryPolicy":"DENY","updatedAt":"2026-05-01T10:00:00Z",
            "selectedOptions":[{"value":"S"},{"value":"red"}],"product":{"legacyResourceId":"7"},
            "inventoryItem":{"legacyResourceId":"8"},"image":{"id":"gid://shopify/ProductImage/5"}},null]}"#;
        let children = children_of(&Json::parse(data).unwrap());
        assert_eq!(children.len(), 1);
        let text = children[0].to_string();
        assert!(text.contains(r#""id":9007199254740993"#), "{text}");
        let expected = json!({"product_id": 7, "inventory_item_id": 8, "image_id": 5, "option1": "S", "option2": "red",
            "option3": null, "inventory_policy": "deny", "price": "19.90"});
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(children[0].get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn only_variants_have_to_be_asked_for() {
        let (_, variables) = children_query("shopify/product-variant", &["1".to_owned()]).unwrap();
        assert_eq!(variables.as_str(), r#"{"ids":["gid://shopify/ProductVariant/1"]}"#);
        assert!(children_query("shopify/product", &[]).is_none());
    }
}
