//! What this plugin does, in a sentence: gives a product a handle made of its title, whenever the title changes.

use tradewind_sdk::prelude::*;

/// The action. Its name is what `--action` takes.
struct SetHandle;

/// What a caller may set.
#[derive(Deserialize, JsonSchema)]
struct Params {
    /// Put in front of the handle.
    #[serde(default)]
    prefix: String,
}

impl Action for SetHandle {
    const NAME: &'static str = "plugin-name";
    type Params = Params;

    /// Which records it runs on, and when.
    fn declare(action: &Declaration) {
        action.on_model("shopify/product", &["create", "update"]).when_changed(&["title"]);
    }

    /// Before the change is committed: what is set here is stored with it, or nothing is.
    fn run(call: &Call<Self>) -> Result<Value> {
        let product = call.record()?;
        if product.changed("title") {
            let title: String = product.get("title")?;
            product.set("handle", handle(&call.params()?.prefix, &title))?;
        }
        Ok(Value::Null)
    }

    /// After the commit: calls that write to Shopify go here.
    fn success(call: &Call<Self>) -> Result<()> {
        log::info!("handle set", product = call.record()?.id());
        Ok(())
    }
}

tradewind_sdk::export!(SetHandle);

/// `Straw Hat, large` becomes `straw-hat-large`.
fn handle(prefix: &str, title: &str) -> String {
    let text = format!("{prefix} {title}").to_lowercase();
    let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_sdk::testing::Fake;

    #[test]
    fn a_changed_title_makes_a_handle() {
        let fake = Fake::new().record("shopify/product", "1", json!({"title": "Hat"}), json!({"title": "Straw Hat, large"}));
        fake.both::<SetHandle>(json!({"prefix": "new"})).unwrap();
        assert_eq!(fake.field("handle"), json!("new-straw-hat-large"));
    }

    #[test]
    fn other_changes_do_nothing() {
        let fake = Fake::new().record("shopify/product", "1", json!({"title": "Hat"}), json!({"vendor": "Acme"}));
        fake.both::<SetHandle>(json!({})).unwrap();
        assert_eq!(fake.field("handle"), Value::Null);
    }
}
