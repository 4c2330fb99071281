//! Real plugins in the real pipeline, and what they have to have left.
//!
//! The compiled plugin comes from the folder that tests share, so that a victim that starts again is at work at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tradewind_host::pipeline::{App, Clock, Installed, LogSink, Pipeline, Source, lane_of};
use tradewind_model::query::{Query, Reach};
use tradewind_model::schema::{Model, Schema};
use tradewind_model::{Json, RecordKey, Shop};
use tradewind_platform::mapping::Mapper;
use tradewind_runtime::session::LogEntry;
use tradewind_runtime::{ArtifactCache, Runtime, RuntimeConfig};
use tradewind_store::{NewDelivery, Store, Stored};

use super::scripts::{EFFECT, MODELS, PLUGINS, body, first, left_by};
use super::{APP, PLATFORM, SHOPS, count_of, now_ms, shop_of, webhook};
use crate::plain::PlainMapper;

/// Products of each shop. Enough for one that is to be tried again in a second to hold up few others.
const PRODUCTS: u32 = 16;

/// The product that the webhook of this number is about.
fn product_of(number: u32) -> u32 {
    number / SHOPS % PRODUCTS
}

struct Silent;

impl LogSink for Silent {
    fn log(&self, _: &Source<'_>, _: LogEntry) {}
}

/// The pipeline with its app deployed.
pub(super) async fn pipeline(store: &Arc<Store>, clock: Arc<dyn Clock>) -> anyhow::Result<Pipeline> {
    let artifacts = ArtifactCache::in_folder(&crate::artifacts_folder()?)?;
    let runtime = Runtime::new(RuntimeConfig { limits: crate::limits(), ..RuntimeConfig::default() }, artifacts)?;
    let plugin = Arc::new(crate::install(&runtime, "puppet").await?);
    let mut plugins = Vec::new();
    for name in PLUGINS {
        plugins.push(Installed {
            name: name.to_owned(),
            version: "1".to_owned(),
            plugin: Arc::clone(&plugin),
            config: BTreeMap::from([("name".to_owned(), Json::of(name)?)]),
            secrets: BTreeMap::new(),
        });
    }
    let schema = schema()?;
    store.deploy(APP, &schema, now_ms()).await?;
    let mappers = [(PLATFORM.to_owned(), Arc::new(PlainMapper) as Arc<dyn Mapper>)].into();
    let (store, log) = (Arc::clone(store), Arc::new(Silent));
    let pipeline = Pipeline::new(store, Arc::new(runtime), clock, log, crate::SEED, mappers);
    pipeline.install(App::new(APP, schema, plugins));
    Ok(pipeline)
}

fn schema() -> anyhow::Result<Schema> {
    let models: Vec<Model> = serde_json::from_str(MODELS)?;
    Schema::new(models).map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

/// The webhook of this number.
pub(super) fn delivery(number: u32) -> NewDelivery {
    let product = product_of(number);
    let lane = lane_of("shopify/product", &product.to_string());
    webhook(number, "products/update", &body(number, product).to_string(), lane)
}

/// Whether all that these webhooks have done is there, once and whole. `sent` have numbers below this one, and `acknowledged`
/// were promised to be processed.
pub(super) async fn check(store: &Store, sent: u32, acknowledged: &BTreeSet<u32>) -> anyhow::Result<()> {
    for shop in 0..SHOPS {
        let of_shop: Vec<u32> = (shop..sent).step_by(SHOPS as usize).collect();
        let shop = shop_of(shop);
        let mut processed = BTreeSet::new();
        for some in of_shop.chunks(500) {
            let keys: Vec<_> = some.iter().map(|number| first(*number)).collect();
            let found = store.records(&shop, &keys).await?;
            let there = some.iter().zip(found).filter_map(|(number, found)| found.map(|_| *number));
            processed.extend(there);
        }
        let lost = of_shop.iter().find(|number| acknowledged.contains(number) && !processed.contains(number));
        ensure!(lost.is_none(), "webhook {lost:?} was acknowledged and left nothing");
        for some in of_shop.chunks(100) {
            check_whole(store, &shop, some, &processed).await?;
        }
        check_products(store, &shop, &processed).await?;
        check_effects(store, &shop, &processed).await?;
    }
    Ok(())
}

/// Every unit is there whole or not at all, and so is each job that it made.
async fn check_whole(store: &Store, shop: &Shop, some: &[u32], processed: &BTreeSet<u32>) -> anyhow::Result<()> {
    let expected: Vec<_> = some
        .iter()
        .flat_map(|number| left_by(*number).into_iter().map(move |(key, count)| (*number, key, count)))
        .collect();
    let keys: Vec<_> = expected.iter().map(|(_, key, _)| key.clone()).collect();
    for ((number, key, count), found) in expected.into_iter().zip(store.records(shop, &keys).await?) {
        let found = found.map(|stored| count_of(&stored.doc));
        let count = count.filter(|_| processed.contains(&number));
        ensure!(found == count, "webhook {number} of {shop} left `{key}` with {found:?}, expected {count:?}");
    }
    Ok(())
}

/// Each product was counted once for each webhook, and both plugins' parts of it come from the same one.
async fn check_products(store: &Store, shop: &Shop, processed: &BTreeSet<u32>) -> anyhow::Result<()> {
    for product in 0..PRODUCTS {
        let keys = ["shopify/product", "tally"].map(|model| RecordKey::new(model, product.to_string()));
        let found = store.records(shop, &keys).await?;
        let member = |name: &str| found[0].as_ref().and_then(|stored| member_of(stored, name));
        let (number, of_two) = (member("number"), member("numberOfTwo"));
        ensure!(number == of_two, "product {product} of {shop} is half of {number:?} and half of {of_two:?}");
        let counted = found[1].as_ref().map_or(0, |tally| count_of(&tally.doc));
        let expected = processed.iter().filter(|number| product_of(**number) == product).count();
        ensure!(
            usize::try_from(counted) == Ok(expected),
            "product {product} of {shop} was counted {counted} times for {expected} webhooks"
        );
    }
    Ok(())
}

/// Each plugin's `success` has left its effect under one key, however often it ran.
async fn check_effects(store: &Store, shop: &Shop, processed: &BTreeSet<u32>) -> anyhow::Result<()> {
    let schema = schema()?;
    let model = schema.model(EFFECT)?;
    let mut effects: BTreeMap<(u32, String), u32> = BTreeMap::new();
    let mut after = None;
    loop {
        let query = Query::parse(model, &Json::of(&serde_json::json!({"first": 250, "after": after}))?, Reach::App)?;
        let page = query.overlay(store.search(shop, model, &query, 0).await?, &[]);
        for row in &page.rows {
            let of = row.document.member("of").context("an effect of nothing")?.to()?;
            let by = row.document.member("by").context("an effect of nobody")?.to()?;
            *effects.entry((of, by)).or_default() += 1;
        }
        if !page.has_next {
            break;
        }
        after = page.end_cursor;
    }
    for (number, plugin) in processed.iter().flat_map(|number| PLUGINS.map(|plugin| (*number, plugin))) {
        let times = effects.remove(&(number, plugin.to_owned())).unwrap_or_default();
        ensure!(times == 1, "`success` of `{plugin}` for webhook {number} of {shop} has left {times} effects");
    }
    ensure!(effects.is_empty(), "effects of webhooks that {shop} has not processed: {effects:?}");
    Ok(())
}

fn member_of(stored: &Stored, name: &str) -> Option<u32> {
    stored.doc.member(name)?.to().ok()
}
