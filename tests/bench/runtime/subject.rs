//! What is measured: a plugin in the runtime, and the product that it is called about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use tradewind_model::{ActiveRecord, Json, Origin};
use tradewind_runtime::session::{Answer, ClientShop, LogEntry, Platform, PlatformCall, WhichShop};
use tradewind_runtime::{ArtifactCache, Grants, Invocation, Outcome, Phase, Plugin, Runtime, RuntimeConfig, Session};

/// The action of every `product-tagger`, whatever its language.
const ACTION: &str = "tag-product";

/// The wall clock that guests see: any fixed time does.
pub(crate) const NOW: Duration = Duration::from_secs(1_760_000_000);

/// What `run` makes of [`body`], and so what `success` is handed.
const RUN_RESULT: &str = r#"{"keywords":["cotton","linen","summer","straw","woven"]}"#;

/// A runtime with one plugin.
pub(crate) struct Subject {
    /// The runtime.
    pub(crate) runtime: Arc<Runtime>,
    /// The plugin.
    pub(crate) plugin: Arc<Plugin>,
    before: Json,
    after: Json,
}

/// What a call is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// `run`, the body changed.
    ChangedBody,
    /// `run`, only the title changed: the plugin looks and has nothing to do.
    ChangedTitle,
    /// `success`: one call to the platform and one log entry.
    Success,
}

impl Subject {
    /// Installs a built plugin, compiling it at most once per machine.
    pub(crate) async fn install(name: &str, config: RuntimeConfig) -> anyhow::Result<Self> {
        let cache = ArtifactCache::in_folder(&tradewind_tests::artifacts_folder()?)?;
        let runtime = Runtime::new(config, cache)?;
        let bytes = tradewind_tests::plugin(name)?;
        let plugin = runtime.install(bytes, Grants::usual()).await.with_context(|| format!("plugin `{name}`"))?;
        Ok(Self {
            runtime: Arc::new(runtime),
            plugin: Arc::new(plugin),
            before: product(&body("old")),
            after: product(&body("new")),
        })
    }

    /// What a call is told.
    pub(crate) fn invocation(&self, about: About) -> anyhow::Result<Invocation> {
        let phase = if about == About::Success { Phase::Success } else { Phase::Run };
        let mut invocation = Invocation::new(ACTION, phase, NOW, 1);
        let mut record = ActiveRecord::load("shopify/product", "820982911946154508", Some(&self.before))?;
        match about {
            About::ChangedTitle => record.set("title", Json::parse(r#""Another hat""#)?, Origin::External),
            _ => record.apply(&self.after, Origin::External)?,
        }
        invocation.record = Some(record);
        if phase == Phase::Success {
            invocation.run_result = Some(Json::parse(RUN_RESULT)?);
        }
        Ok(invocation)
    }

    /// Calls the plugin once and says how long that took, from the gate to the result.
    pub(crate) async fn call(&self, about: About) -> anyhow::Result<Duration> {
        let invocation = self.invocation(about)?;
        let session = Box::new(Immediate);
        let started = Instant::now();
        let outcome = self.runtime.invoke(&self.plugin, "shop", invocation, session).await;
        let took = started.elapsed();
        check(about, &outcome)?;
        Ok(took)
    }

    /// The changed body, as the plugin gets it.
    pub(crate) fn changed_body() -> String {
        body("new")
    }
}

/// Fails when a call did not do what it is timed for.
pub(crate) fn check(about: About, outcome: &Outcome) -> anyhow::Result<()> {
    let result = outcome.result.as_ref().map_err(|failure| anyhow!("the plugin failed: {failure}"))?;
    let found = result.as_str().contains("cotton");
    match about {
        About::ChangedBody if !found => bail!("no keywords in {result}"),
        About::ChangedTitle if found => bail!("unexpected keywords in {result}"),
        About::Success if outcome.usage.platform_calls != 1 => bail!("{} calls", outcome.usage.platform_calls),
        _ => Ok(()),
    }
}

/// A product as a webhook brings it.
fn product(body: &str) -> Json {
    let product = serde_json::json!({
        "id": "820982911946154508",
        "title": "Straw hat",
        "vendor": "Acme",
        "productType": "Hats",
        "status": "active",
        "tags": ["summer"],
        "createdAt": "2025-05-01T10:00:00-04:00",
        "updatedAt": "2025-10-09T08:53:20-04:00",
        "body": body,
    });
    Json::of(&product).unwrap_or_else(|_| Json::null())
}

/// A product description of 5 KB: HTML, some 600 words, a third of them stop words, some 80 different ones.
fn body(edition: &str) -> String {
    const BYTES: usize = 5 << 10;
    const NOUNS: [&str; 24] = [
        "cotton", "linen", "summer", "straw", "brim", "ribbon", "weave", "garden", "market", "morning", "shade",
        "pocket", "lining", "colour", "natural", "beach", "basket", "season", "travel", "sizes", "leather", "button",
        "Café", "harvest",
    ];
    const PHRASES: [&str; 6] = [
        "This {} was made with {} for those who like {}",
        "<li>The {} and the {} are washed before {}</li>",
        "<p class=\"text\">Every {} is woven by hand, {} &amp; {}</p>",
        "Never leave your {} under the {} without a {}",
        "<strong>{}</strong>: more {} than any other {}",
        "Both {} and {} will be there for you, even in {}",
    ];
    let mut text = format!("<h1>Woven hat, {edition} edition</h1>\n");
    // Steps that are prime to the number of nouns visit them all; the squares make some more frequent than others.
    let mut at = 0;
    for phrase in PHRASES.iter().cycle() {
        let mut line = (*phrase).to_owned();
        for step in [5, 7, 11] {
            at += step;
            line = line.replacen("{}", NOUNS[(at * at) % NOUNS.len() % (at % 23 + 1)], 1);
        }
        if text.len() + line.len() + 2 > BYTES {
            break;
        }
        text += &line;
        text += ".\n";
    }
    text
}

/// A session that answers at once and keeps nothing, so that what is timed is the sandbox.
struct Immediate;

#[async_trait]
impl Session for Immediate {
    fn log(&mut self, _: LogEntry) {}

    async fn shop(&mut self, platform: Platform, _: WhichShop) -> Answer<Option<ClientShop>> {
        Ok(Some(shop(platform)))
    }

    async fn call(&mut self, _: &ClientShop, _: PlatformCall) -> Answer<Json> {
        Ok(Json::object([]))
    }
}

/// The current shop.
pub(crate) fn shop(platform: Platform) -> ClientShop {
    ClientShop { platform, id: "1".to_owned(), name: "bench.myshopify.com".to_owned() }
}
