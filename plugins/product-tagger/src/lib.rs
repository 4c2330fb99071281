//! Tags a product with the keywords of its description, whenever the description changes.
//!
//! `run` finds the keywords, `success` sends them to Shopify. The webhook that Shopify sends back reports changed tags
//! and an unchanged body, so the plugin does not run again: this is how a plugin avoids looping on its own writes.

mod keywords;

use tradewind_sdk::prelude::*;

/// Tags a product.
pub struct TagProduct;

/// What a caller may set.
#[derive(Deserialize, JsonSchema)]
pub struct Params {
    /// How many keywords at most.
    #[serde(default = "Params::default_limit")]
    #[schemars(range(min = 1, max = 20))]
    limit: usize,
}

impl Params {
    fn default_limit() -> usize {
        5
    }
}

/// What `run` hands to `success`.
#[derive(Serialize, Deserialize)]
struct Found {
    keywords: Vec<String>,
}

const ADD_TAGS: &str =
    "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { field message } } }";

impl Action for TagProduct {
    const NAME: &'static str = "tag-product";
    type Params = Params;

    fn declare(action: &Declaration) {
        action.on_model("shopify/product", &["create", "update"]).when_changed(&["body"]);
    }

    fn run(call: &Call<Self>) -> Result<Value> {
        let product = call.record()?;
        let mut found = Found { keywords: Vec::new() };
        if product.changed("body") {
            // A body that is not text has no keywords.
            let body: Value = product.get("body")?;
            found.keywords = keywords::of(body.as_str().unwrap_or_default(), call.params()?.limit);
        }
        Ok(serde_json::to_value(found)?)
    }

    fn success(call: &Call<Self>) -> Result<()> {
        let Found { keywords } = call.run_result()?;
        if keywords.is_empty() {
            return Ok(());
        }
        let id = format!("gid://shopify/Product/{}", call.record()?.id());
        let _: Value = shopify::current()?.graphql(ADD_TAGS, &json!({"id": id, "tags": keywords}))?;
        log::info!("product tagged", tags = keywords.len());
        Ok(())
    }
}

tradewind_sdk::export!(registrar => {
    registrar.option("title", "Product tagger").ask("shopify", json!({"scopes": ["write_products"]}));
}, TagProduct);

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_sdk::testing::Fake;

    #[test]
    fn a_changed_body_becomes_tags() {
        let fake = Fake::new().record(
            "shopify/product",
            "42",
            json!({"body": "old", "title": "Hat"}),
            json!({"body": "<p>Straw hats: a straw summer.</p>"}),
        );
        let found = fake.both::<TagProduct>(json!({})).unwrap();
        assert_eq!(found, json!({"keywords": ["straw", "hats", "summer"]}));
        let variables = json!({"id": "gid://shopify/Product/42", "tags": ["straw", "hats", "summer"]});
        assert_eq!(fake.calls(), [(ADD_TAGS.to_owned(), variables)]);
    }

    #[test]
    fn other_changes_do_nothing() {
        let stored = json!({"body": "<p>Straw hats</p>", "tags": []});
        let fake = Fake::new().record("shopify/product", "42", stored, json!({"tags": ["straw"]}));
        assert_eq!(fake.both::<TagProduct>(json!({})).unwrap(), json!({"keywords": []}));
        assert_eq!(fake.calls(), []);
    }

    #[test]
    fn the_limit_is_a_declared_parameter() {
        let declared = Fake::new().declared::<TagProduct>();
        assert_eq!(declared.when_changed, ["body"]);
        let (name, schema, required) = &declared.params[0];
        assert_eq!((name.as_str(), *required), ("limit", false));
        assert_eq!((&schema["minimum"], &schema["maximum"], &schema["default"]), (&json!(1), &json!(20), &json!(5)));
    }
}
