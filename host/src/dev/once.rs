//! One edit through the whole way, and whether it came back as it should.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::timeout;
use tradewind_emulator::{Event, ProductEdit};

use super::{Feed, SHOP, World};

/// How long the whole way may take. 60 seconds: it takes one, and a machine that is busy building takes more.
const WAY_MAX: Duration = Duration::from_mins(1);

/// The description that a merchant writes.
const BODY: &str = "<p>A <b>straw</b> hat for long summer days. Woven straw, a wide brim, and a ribbon: a hat for the garden, \
     for the beach and for days without shade.</p>";

/// Edits a product as a merchant would, and waits until its new tags are in the store and their echo was recognised.
/// Answers the tags.
pub async fn once(world: &World, feed: &Arc<Feed>) -> Result<Vec<String>> {
    let product = world.emulator.products(SHOP)?.into_iter().next().context("the store sells nothing")?;
    let (mut events, mut echoes) = (world.emulator.events(), feed.echoes());
    echoes.mark_unchanged();
    world.emulator.edit_product(
        SHOP,
        product.id,
        &ProductEdit { body_html: Some(BODY.to_owned()), ..ProductEdit::default() },
    )?;
    let tagged = async {
        loop {
            match events.recv().await {
                Ok(Event::Changed { by, .. }) if by != "merchant" => return Ok(()),
                Ok(_) => {}
                Err(error) => bail!("the store's events cannot be followed: {error}"),
            }
        }
    };
    let no_tags =
        "no plugin changed the product in the store; hint: does one run on `shopify/product` when `body` changes?";
    timeout(WAY_MAX, tagged).await.context(no_tags)??;
    let no_echo = "the webhook that reports the plugin's own write was not recognised as its echo";
    timeout(WAY_MAX, echoes.changed()).await.context(no_echo)?.context(no_echo)?;
    let after = world.emulator.product(SHOP, product.id)?.context("the product is gone")?;
    let new: Vec<_> = after.tags.iter().filter(|tag| !product.tags.contains(tag)).cloned().collect();
    if new.is_empty() {
        bail!("the product has no new tags");
    }
    Ok(new)
}
