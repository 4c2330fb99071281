//! One edit through the whole way, and whether it came back as it should.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::timeout;
use tradewind_emulator::{Event, ProductEdit};
use tradewind_store::DeliveryFilter;

use super::{Feed, SHOP, World};

/// How long the whole way may take. 60 seconds: it takes one, and a machine that is busy building takes more.
const WAY_MAX: Duration = Duration::from_mins(1);

/// How often it is looked whether the host still has something to do. 100 ms: nobody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    let tagged = async {
        tokio::select! {
            // What was done by then was told by then.
            biased;
            tagged = tagged => tagged,
            done = everything_done(world) => done.and_then(|()| bail!("{no_tags}")),
        }
    };
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

/// Waits until the host has heard of the edit and nothing of what it led to is left to do.
async fn everything_done(world: &World) -> Result<()> {
    let store = world.host.store();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let has_heard = !store.deliveries(&DeliveryFilter::default(), 1).await?.is_empty();
        if has_heard && store.count_jobs(None, None).await?.is_empty() {
            return Ok(());
        }
    }
}
