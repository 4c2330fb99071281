//! A custom action: `upcase` on a product writes its title in capitals, locally and then at Shopify.
//!
//! Nothing runs it by itself; it is called for one product, from the API, the command line or another plugin.

use tradewind_sdk::prelude::*;

/// Writes a product's title in capitals.
pub struct UpcaseTitle;

const UPDATE_TITLE: &str = "mutation UpdateTitle($product: ProductUpdateInput!) { productUpdate(product: $product) { userErrors { field message } } }";

impl Action for UpcaseTitle {
    const NAME: &'static str = "upcase-title";
    type Params = ();

    fn declare(action: &Declaration) {
        action.on_model("shopify/product", &["upcase"]);
    }

    fn run(call: &Call<Self>) -> Result<Value> {
        let product = call.record()?;
        let title: String = product.get("title")?;
        product.set("title", title.to_uppercase())?;
        Ok(Value::Null)
    }

    fn success(call: &Call<Self>) -> Result<()> {
        let product = call.record()?;
        if product.changed("title") {
            let input = json!({"id": format!("gid://shopify/Product/{}", product.id()), "title": product.get::<String>("title")?});
            let _: Value = shopify::current()?.graphql(UPDATE_TITLE, &json!({"product": input}))?;
        }
        Ok(())
    }
}

tradewind_sdk::export!(UpcaseTitle);

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_sdk::testing::Fake;

    #[test]
    fn the_title_is_written_in_capitals_once() {
        let fake = Fake::new().record("shopify/product", "1", json!({"title": "Straße"}), json!({}));
        fake.both::<UpcaseTitle>(json!({})).unwrap();
        assert_eq!(fake.field("title"), json!("STRASSE"));
        assert_eq!(fake.calls().len(), 1);

        let fake = Fake::new().record("shopify/product", "1", json!({"title": "STRASSE"}), json!({}));
        fake.both::<UpcaseTitle>(json!({})).unwrap();
        assert_eq!(fake.calls(), []);
    }

    #[test]
    fn a_product_without_a_title_is_an_error() {
        let fake = Fake::new().record("shopify/product", "1", json!({}), json!({}));
        assert_eq!(fake.run::<UpcaseTitle>(json!({})).unwrap_err().code, "unexpected-value");
    }
}
