//! Where the time of one webhook goes: the steps of its way, one at a time, with nothing else to do.
//!
//! Commits stand there twice: alone, where each pays for the disk, and together, where they share it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use async_trait::async_trait;
use tokio::task::JoinSet;
use tradewind_host::pipeline::lane_of;
use tradewind_model::document::{Mode, canonical, changed_members, merged};
use tradewind_model::schema::Model;
use tradewind_model::{ActiveRecord, Json, Origin, RecordKey, Shop};
use tradewind_platform::digest;
use tradewind_platform::mapping::{Incoming, Mapper as _, Report, Saved};
use tradewind_platform::shopify::{self, AdminApi, CallReport, Connection, Observer, Options, Shopify, SigningSecrets};
use tradewind_runtime::session::{Answer, ClientShop, LogEntry, Platform as Which, PlatformCall, WhichShop};
use tradewind_runtime::{ArtifactCache, Invocation, Phase, Plugin, Runtime, RuntimeConfig, Session};
use tradewind_store::{Engine, Location, NewDelivery, Store, Unit, Write, compress};
use tradewind_tests::{NOW, artifacts_folder, install};

use super::feed::Feed;
use super::platform::Platform;
use super::side::{Kind, Places, SECRET, engine_name};
use super::table::{Table, time};
use super::turns::{Effort, percentile};

/// How often a step is timed.
const CALLS: u32 = 4_000;

/// Callers that commit together.
const CALLERS: u32 = 32;

const TOPIC: &str = "products/update";
const QUERY: &str =
    "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { field message } } }";

/// Prints the times of one step.
struct Steps<'a> {
    calls: u32,
    table: &'a Table,
}

impl Steps<'_> {
    fn time(&self, what: &str, mut run: impl FnMut()) {
        let took = (0..self.calls).map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        });
        self.show(what, took.collect());
    }

    fn show(&self, what: &str, mut took: Vec<Duration>) {
        let best = took.iter().min().copied().unwrap_or_default();
        self.table.row(what, &time(percentile(&mut took, 0.5)), &time(best), "");
    }
}

pub(crate) async fn measure(places: &Places, effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("One webhook of 8.9 KB, step by step, one at a time");
    let steps = Steps { calls: effort.of(CALLS), table };
    let feed = Feed::new(1, 2);
    let bodies = [0, 1].map(|number| {
        let mut body = Vec::new();
        feed.write_body(number, &mut body);
        body
    });
    door(&steps, &bodies[1])?;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        database(&steps, places, engine, &bodies[1]).await?;
    }
    let (stored, incoming) = (saved(&bodies[0])?, saved(&bodies[1])?);
    compared(&steps, &stored, &incoming, &bodies[1])?;
    plugin(&steps, &stored, &incoming).await?;
    call(&steps).await
}

/// Before the commit.
fn door(steps: &Steps<'_>, body: &[u8]) -> anyhow::Result<()> {
    let secrets = SigningSecrets::new(SECRET, None);
    let signature = secrets.sign(body);
    let text = std::str::from_utf8(body)?;
    steps.time("signature (HMAC-SHA-256)", || {
        black_box(secrets.signed(black_box(body), signature.as_bytes()));
    });
    steps.time("check that it is JSON, find the product", || {
        black_box(shopify::subject(TOPIC, black_box(text)).is_ok());
    });
    steps.time("digest (SHA-256)", || {
        black_box(digest(black_box(body)));
    });
    steps.time("compress (LZ4)", || {
        black_box(compress(black_box(body)));
    });
    Ok(())
}

/// To the disk and back.
async fn database(steps: &Steps<'_>, places: &Places, engine: Engine, body: &[u8]) -> anyhow::Result<()> {
    let name = engine_name(engine);
    let folder = tempfile::tempdir()?;
    let location = Location::parse(&places.database(engine, Kind::Tradewind, folder.path())?)?;
    Store::migrate(&location).await?;
    let store = Arc::new(Store::open(&location).await?);
    let count = steps.calls / 4;
    let mut took = Vec::new();
    let mut seq = 0;
    for number in 0..count {
        let unit = delivery(number, body);
        let started = Instant::now();
        let committed = store.commit(unit).await?;
        took.push(started.elapsed());
        seq = match committed.deliveries.first() {
            Some(tradewind_store::Ingested::New { seq, .. }) => *seq,
            other => return Err(anyhow!("the delivery became {other:?}")),
        };
    }
    steps.show(&format!("{name}: commit the delivery and its job, alone"), took);
    let deliveries = (count..count + steps.calls).map(|number| delivery(number, body));
    together(steps, &store, &format!("{name}: the same, its part of {CALLERS} together"), deliveries).await?;
    let document = saved(body)?.values;
    let records = (0..steps.calls).map(|number| record(number, &document));
    together(steps, &store, &format!("{name}: commit a record, its part of {CALLERS} together"), records).await?;
    let mut took = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        let found = store.delivery(seq).await?;
        took.push(started.elapsed());
        ensure!(found.is_some_and(|found| found.body == body), "the delivery came back as another");
    }
    steps.show(&format!("{name}: read the delivery back"), took);
    Ok(())
}

/// Commits units by several callers; the time of each is its part of the whole.
async fn together(
    steps: &Steps<'_>,
    store: &Arc<Store>,
    what: &str,
    units: impl Iterator<Item = Unit>,
) -> anyhow::Result<()> {
    let mut units: Vec<_> = units.collect();
    let part = units.len() / CALLERS as usize;
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for _ in 0..CALLERS {
        let (store, units) = (Arc::clone(store), units.split_off(units.len() - part));
        tasks.spawn(async move {
            for unit in units {
                store.commit(unit).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let each = started.elapsed() / (u32::try_from(part)? * CALLERS);
    steps.show(what, vec![each]);
    Ok(())
}

/// What came is held against what is stored.
fn compared(steps: &Steps<'_>, stored: &Saved, incoming: &Saved, body: &[u8]) -> anyhow::Result<()> {
    let text = std::str::from_utf8(body)?;
    let json = Json::parse(text)?;
    steps.time("parse", || {
        black_box(Json::parse(black_box(text)).is_ok());
    });
    steps.time("map to a record", || {
        black_box(map(&json).is_ok());
    });
    let model = product()?;
    let before = canonical(&model, &stored.values, Mode::Lenient)?.document;
    steps.time("canonical document", || {
        black_box(canonical(&model, black_box(&incoming.values), Mode::Lenient).is_ok());
    });
    let after = canonical(&model, &incoming.values, Mode::Lenient)?.document;
    steps.time("what changed, new document", || {
        let changed = changed_members(black_box(&before), black_box(&after));
        black_box(merged(&before, &changed));
    });
    steps.time("record with change tracking", || {
        black_box(tracked(&before, &after).is_ok());
    });
    Ok(())
}

/// The action.
async fn plugin(steps: &Steps<'_>, stored: &Saved, incoming: &Saved) -> anyhow::Result<()> {
    let runtime = Runtime::new(RuntimeConfig::default(), ArtifactCache::in_folder(&artifacts_folder()?)?)?;
    let plugin = install(&runtime, "product-tagger").await?;
    let (mut ran, mut succeeded) = (Vec::new(), Vec::new());
    for _ in 0..steps.calls {
        let (result, took) = invoke(&runtime, &plugin, stored, incoming, None).await?;
        ran.push(took);
        ensure!(result.as_str().contains("keywords"), "`run` answered {result}");
        succeeded.push(invoke(&runtime, &plugin, stored, incoming, Some(result)).await?.1);
    }
    steps.show("plugin: `run`", ran);
    steps.show("plugin: `success`, the call answered at once", succeeded);
    Ok(())
}

async fn invoke(
    runtime: &Runtime,
    plugin: &Plugin,
    stored: &Saved,
    incoming: &Saved,
    run_result: Option<Json>,
) -> anyhow::Result<(Json, Duration)> {
    let phase = if run_result.is_some() { Phase::Success } else { Phase::Run };
    let record = Some(tracked(&stored.values, &incoming.values)?);
    let invocation = Invocation { record, run_result, ..Invocation::new("tag-product", phase, NOW, 1) };
    let started = Instant::now();
    let outcome = runtime.invoke(plugin, "shop", invocation, Box::new(Immediate)).await;
    let took = started.elapsed();
    Ok((outcome.result.map_err(|failure| anyhow!("the plugin failed: {failure}"))?, took))
}

/// The client's call, to the stand-in and back.
async fn call(steps: &Steps<'_>) -> anyhow::Result<()> {
    let platform = Platform::start().await?;
    let api = AdminApi::new("bench", Arc::new(Nobody), || 0)?;
    let client = api.client(Connection {
        app: "bench".into(),
        shop: "shop".into(),
        domain: "shop.myshopify.com".into(),
        token: "shpat_bench".into(),
        api_version: "2026-07".into(),
        base_url: Some(format!("http://{}", platform.address).into()),
    });
    let variables =
        Json::parse(r#"{"id":"gid://shopify/Product/1","tags":["straw","hats","summer","woven","linen"]}"#)?;
    let mut took = Vec::new();
    for _ in 0..steps.calls {
        let started = Instant::now();
        client.graphql(QUERY, &variables, &Options::default()).await?;
        took.push(started.elapsed());
    }
    steps.show("client: one call of the platform", took);
    Ok(())
}

fn map(json: &Json) -> anyhow::Result<Saved> {
    let report = Report { topic: TOPIC, shop: "hats.myshopify.com", triggered_ms: Some(1), body: json };
    match Shopify.map(&report).map_err(|error| anyhow!(error))?.pop() {
        Some(Incoming::Saved(saved)) => Ok(saved),
        other => Err(anyhow!("the body became {other:?}")),
    }
}

pub(crate) fn saved(body: &[u8]) -> anyhow::Result<Saved> {
    map(&Json::parse(std::str::from_utf8(body)?)?)
}

pub(crate) fn product() -> anyhow::Result<Model> {
    let mut models = shopify::models().into_iter().map(|mirrored| mirrored.model);
    models.find(|model| model.name == "shopify/product").context("products are not mirrored")
}

pub(crate) fn tracked(before: &Json, after: &Json) -> anyhow::Result<ActiveRecord> {
    let mut record = ActiveRecord::load("shopify/product", "1", Some(before))?;
    record.apply(after, Origin::External)?;
    Ok(record)
}

fn now_ms() -> i64 {
    i64::try_from(NOW.as_millis()).unwrap_or_default()
}

fn unit(number: u32) -> Unit {
    Unit::new(Shop::new("bench", Feed::shop(number)), now_ms())
}

/// The unit that keeps a webhook, prepared so that only the commit is timed.
fn delivery(number: u32, body: &[u8]) -> Unit {
    let mut unit = unit(number);
    unit.deliveries.push(NewDelivery {
        platform: "shopify".into(),
        webhook_id: format!("{:08x}-4d0c-4ff4-9db7-{number:012x}", number.wrapping_mul(0x9e37_79b9)),
        topic: TOPIC.to_owned(),
        event_id: Some(format!("{:08x}-7a1b-41c5-b0aa-{number:012x}", number.wrapping_mul(0x85eb_ca6b))),
        body_sha256: digest(body),
        triggered_ms: Some(now_ms()),
        headers: Json::object([]),
        body_bytes: body.len() as u64,
        body: compress(body),
        lane: Some(lane_of("shopify/product", &number.to_string())),
        depth: 0,
        parked_if_replayed: None,
    });
    unit
}

fn record(number: u32, document: &Json) -> Unit {
    let mut unit = unit(number);
    let key = RecordKey::new("shopify/product", number.to_string());
    unit.writes.push(Write {
        before: None,
        key,
        expected: None,
        doc: Some(document.clone()),
        platform_updated_us: Some(1),
    });
    unit
}

/// A session whose platform answers at once.
struct Immediate;

#[async_trait]
impl Session for Immediate {
    fn log(&mut self, _: LogEntry) {}

    async fn shop(&mut self, platform: Which, _: WhichShop) -> Answer<Option<ClientShop>> {
        Ok(Some(ClientShop { platform, id: "1".to_owned(), name: "bench.myshopify.com".to_owned() }))
    }

    async fn call(&mut self, _: &ClientShop, _: PlatformCall) -> Answer<Json> {
        Ok(Json::object([]))
    }
}

/// Nobody is told of calls.
struct Nobody;

impl Observer for Nobody {
    fn called(&self, _: &CallReport) {}
}
