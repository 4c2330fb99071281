//! One call of a plugin, built step by step: its record, parameters, shop and limits.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::OnceCell;
use tradewind_model::{ActiveRecord, Json, Origin};
use tradewind_runtime::fake::{FakeSession, PreparedAnswer};
use tradewind_runtime::session::{ClientShop, Platform};
use tradewind_runtime::{ArtifactCache, Grants, Invocation, Limits, Outcome, Phase, Plugin, Runtime, RuntimeConfig};

/// When every test happens: 28 May 2026, 20:26:40 UTC. Later than what its payloads claim, since times of far ahead are cut, and
/// earlier than the clock of any machine.
pub const NOW: Duration = Duration::from_secs(1_780_000_000);

/// Decides every random byte in every test.
pub const SEED: u64 = 7;

/// The usual limits without a deadline: on a machine that is busy with other tests, only a test of the deadline may run
/// into it.
pub fn limits() -> Limits {
    Limits { wall_ms_max: 600_000, ..Limits::default() }
}

/// The one sandbox that tests share unless they need a special one.
pub fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: LazyLock<Arc<Runtime>> = LazyLock::new(|| {
        let made = crate::artifacts_folder().and_then(|folder| {
            let artifacts = ArtifactCache::in_folder(&folder)?;
            let runtime = Runtime::new(RuntimeConfig { limits: limits(), ..RuntimeConfig::default() }, artifacts)?;
            // One pool for all: the largest needs of anything that a test installs.
            let names = [
                "product-tagger",
                "hostile",
                "product-tagger-js",
                "product-tagger-js-starlingmonkey",
                "product-tagger-py",
            ];
            let components: Vec<_> = names.iter().filter_map(|name| crate::plugin(name).ok()).collect();
            runtime.reserve(components.iter().map(Vec::as_slice)).map_err(|error| anyhow::anyhow!("{error:#}"))?;
            Ok(runtime)
        });
        match made {
            Ok(runtime) => Arc::new(runtime),
            Err(error) => panic!("no sandbox: {error:#}"),
        }
    });
    &RUNTIME
}

/// Installs a built plugin in the shared sandbox, once for all tests.
pub async fn installed(name: &str) -> anyhow::Result<Arc<Plugin>> {
    type Cells = HashMap<String, Arc<OnceCell<Arc<Plugin>>>>;
    static PLUGINS: LazyLock<Mutex<Cells>> = LazyLock::new(Mutex::default);
    let cell = {
        let mut plugins = PLUGINS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(plugins.entry(name.to_owned()).or_default())
    };
    let plugin = cell.get_or_try_init(|| async { install(runtime(), name).await.map(Arc::new) }).await?;
    Ok(Arc::clone(plugin))
}

/// Installs a built plugin in any sandbox, with every grant but the one that gives tokens away.
pub async fn install(runtime: &Runtime, name: &str) -> anyhow::Result<Plugin> {
    let bytes = crate::plugin(name)?;
    runtime.install(bytes, Grants::usual()).await.with_context(|| format!("installing `{name}`"))
}

/// One call of a plugin. Begins as a `run` without a record, in the Shopify shop `hats.myshopify.com`.
#[derive(Clone)]
pub struct Fixture {
    /// What the plugin is told.
    pub invocation: Invocation,
    /// What it may do.
    pub session: FakeSession,
}

impl Fixture {
    /// A call of `action`.
    pub fn new(action: &str) -> Self {
        let shop =
            ClientShop { platform: Platform::Shopify, id: "1".to_owned(), name: "hats.myshopify.com".to_owned() };
        let session = FakeSession { shop: Some(shop), ..FakeSession::default() };
        Self { invocation: Invocation::new(action, Phase::Run, NOW, SEED), session }
    }

    /// With a product: as it is stored (`null` when it is not), and the incoming fields.
    #[must_use]
    pub fn product(mut self, stored: &str, incoming: &str) -> Self {
        let stored = json(stored);
        let mut record = ActiveRecord::load("shopify/product", "42", Some(&stored).filter(|stored| !stored.is_null()))
            .unwrap_or_else(|error| panic!("{stored}: {error}"));
        record.apply(&json(incoming), Origin::External).unwrap_or_else(|error| panic!("{incoming}: {error}"));
        self.invocation.record = Some(record);
        self
    }

    /// With parameters, a JSON object.
    #[must_use]
    pub fn params(mut self, params: &str) -> Self {
        self.invocation.params = json(params);
        self
    }

    /// As `success`, after a `run` that returned `run_result`.
    #[must_use]
    pub fn success(mut self, run_result: &str) -> Self {
        self.invocation.phase = Phase::Success;
        self.invocation.run_result = Some(json(run_result));
        self
    }

    /// In another shop, or in none.
    #[must_use]
    pub fn shop(mut self, shop: Option<ClientShop>) -> Self {
        self.session.shop = shop;
        self
    }

    /// With a prepared answer to a platform call whose text contains `matching`.
    #[must_use]
    pub fn answer(mut self, matching: &str, answer: &str) -> Self {
        let answer = PreparedAnswer { matching: matching.to_owned(), answer: Some(json(answer)), error: None };
        self.session.answers.push_back(answer);
        self
    }

    /// Calls the plugin in the shared sandbox.
    pub async fn call(self, plugin: &Plugin) -> Outcome {
        self.call_in(runtime(), plugin).await
    }

    /// Calls the plugin in any sandbox.
    pub async fn call_in(self, runtime: &Runtime, plugin: &Plugin) -> Outcome {
        let Self { invocation, session } = self;
        let shop = session.shop.as_ref().map_or_else(String::new, |shop| shop.name.clone());
        runtime.invoke(plugin, &shop, invocation, Box::new(session)).await
    }

    /// Calls `hostile` under other limits than the usual.
    pub async fn call_hostile(self, limits: Limits) -> anyhow::Result<Outcome> {
        let plugin = install(runtime(), "hostile").await?.with_limits(limits)?;
        Ok(self.call(&plugin).await)
    }
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
