//! Hears of products, and answers the shop as its settings say: what echoes and calls are tested with.
//!
//! `hear` tells what it was told. The others write to the shop when the setting of their name is `true`: `exclaim` puts a
//! mark behind each new title and `insist` does that to its own titles too, `later` has a tag added by a job. To try another
//! way of answering, add an action and its setting.

use tradewind_sdk::prelude::*;
use tradewind_sdk::{config, queue};

const SET_TITLE: &str =
    "mutation SetTitle($product: ProductUpdateInput!) { productUpdate(product: $product) { userErrors { message } } }";
const ADD_TAG: &str = "mutation AddTag($id: ID!) { tagsAdd(id: $id, tags: [\"later\"]) { userErrors { message } } }";

fn is_on(setting: &str) -> Result<bool> {
    Ok(config::get::<bool>(setting)?.unwrap_or_default())
}

/// Tells what it was told.
pub struct Hear;

impl Action for Hear {
    const NAME: &'static str = "hear";
    type Params = ();

    fn declare(action: &Declaration) {
        action.on_model("shopify/product", &["create", "update"]);
    }

    fn run(call: &Call<Self>) -> Result<Value> {
        let record = call.record()?;
        let mut changes = serde_json::Map::new();
        for change in record.changes()? {
            changes.insert(change.field, change.origin.into());
        }
        let credentials = match shopify::current()?.credentials() {
            Ok(credentials) => credentials,
            Err(error) => error.code.into(),
        };
        Ok(json!({ "changes": changes, "depth": call.depth(), "verb": call.verb(), "credentials": credentials }))
    }
}

/// Puts a mark behind the title.
fn exclaimed<A: Action>(call: &Call<A>) -> Result<()> {
    let record = call.record()?;
    let title = format!("{}!", record.get::<String>("title")?);
    let product = json!({ "id": format!("gid://shopify/Product/{}", record.id()), "title": title });
    let _: Value = shopify::current()?.graphql(SET_TITLE, &json!({ "product": product }))?;
    Ok(())
}

/// Answers each new title that is not its own.
pub struct Exclaim;

impl Action for Exclaim {
    const NAME: &'static str = "exclaim";
    type Params = ();

    fn declare(action: &Declaration) {
        action.on_model("shopify/product", &["update"]).when_changed(&["title"]);
    }

    fn run(_: &Call<Self>) -> Result<Value> {
        Ok(is_on(Self::NAME)?.into())
    }

    fn success(call: &Call<Self>) -> Result<()> {
        if is_on(Self::NAME)? { exclaimed(call) } else { Ok(()) }
    }
}

/// Answers each new title, its own too.
pub struct Insist;

impl Action for Insist {
    const NAME: &'static str = "insist";
    type Params = ();

    fn declare(action: &Declaration) {
        action.on_model("shopify/product", &["update"]).when_changed(&["title"]).option("own-echo", true);
    }

    fn run(_: &Call<Self>) -> Result<Value> {
        Ok(is_on(Self::NAME)?.into())
    }

    fn success(call: &Call<Self>) -> Result<()> {
        if is_on(Self::NAME)? { exclaimed(call) } else { Ok(()) }
    }
}

/// Has a tag added by a job of the same commit.
pub struct Later;

impl Action for Later {
    const NAME: &'static str = "later";
    type Params = ();

    fn declare(action: &Declaration) {
        action.on_model("shopify/product", &["update"]).when_changed(&["vendor"]);
    }

    fn run(call: &Call<Self>) -> Result<Value> {
        if !is_on(Self::NAME)? {
            return Ok(Value::Null);
        }
        let id = format!("gid://shopify/Product/{}", call.record()?.id());
        Ok(queue::enqueue_shopify(ADD_TAG, &json!({ "id": id }), &queue::Options::default())?.into())
    }
}

tradewind_sdk::export!(Hear, Exclaim, Insist, Later);
