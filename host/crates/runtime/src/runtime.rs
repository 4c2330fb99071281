//! Installs plugins and calls them.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tradewind_model::Description;
use wasmtime::component::{Component, Linker};

use crate::artifacts::ArtifactCache;
use crate::bindings::PluginPre;
use crate::check::{Grants, Needs, Problem, inspect};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::host::{State, link};
use crate::invoke::{Invocation, Outcome, Phase, call, describe};
use crate::limits::{Limit, LimitExceeded, Limits};
use crate::meter::Usage;
use crate::pool::{Pool, Tuning};
use crate::session::{NoSession, Session};
use crate::share::Share;
use crate::ticker::Ticker;

/// How the sandbox is set up. One for a whole process.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The bounds of an invocation; a plugin's own may be lower.
    pub limits: Limits,
    /// Invocations in flight at once; further ones wait. 1,000: with two workers nobody needs more, and a slot that is
    /// not used costs address space only.
    pub slots: u32,
    /// Bytes of all sandboxes' linear memories together; who needs more waits. 4 GiB: the stated bound of what strangers'
    /// code can take from the machine.
    pub sandbox_bytes_max: u64,
    /// What stays warm in the pool.
    pub tuning: Tuning,
    /// Whether slots are pooled. Unpooled instances are slower to make but need no address space reserved.
    pub pooled: bool,
    /// Calls that compute for longer than a tick or two at the same time; further ones take turns. As many as the machine has
    /// processors: more would only slow each other down.
    pub long_calls: usize,
    /// Counts WebAssembly instructions, which makes guests slower: for `tradewind plugin run`.
    pub count_instructions: bool,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            slots: 1_000,
            sandbox_bytes_max: 4 << 30,
            tuning: Tuning::default(),
            pooled: true,
            long_calls: std::thread::available_parallelism().map_or(1, usize::from),
            count_instructions: false,
        }
    }
}

/// The sandbox: one engine (another one only after a plugin with more memories was installed, in few steps), its
/// pool, its ticker.
pub struct Runtime {
    config: RuntimeConfig,
    artifacts: ArtifactCache,
    pool: Mutex<Option<Arc<Pool>>>,
    gate: Arc<Gate>,
    share: Arc<Share>,
    ticker: Ticker,
}

/// An installed version of a plugin: checked, compiled, linked, described. Immutable.
pub struct Plugin {
    pub(crate) pre: PluginPre<State>,
    pub(crate) grants: Grants,
    pub(crate) counts_instructions: bool,
    limits: Limits,
    needs: Needs,
    description: Description,
    from_cache: bool,
}

/// Why a plugin was not installed: everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("the plugin cannot be installed:{}", listed(&self.problems))]
pub struct InstallError {
    /// In the order in which they were found.
    pub problems: Vec<Problem>,
}

/// The time that `describe` sees, since 1970: the beginning of 2000. It stands still.
const DESCRIBE_NOW: Duration = Duration::from_hours(262_968);

/// Decides every random number that `describe` sees.
const DESCRIBE_SEED: u64 = 0;

/// More problems than this are one problem said many times.
const PROBLEMS_SHOWN_MAX: usize = 100;

fn listed(problems: &[Problem]) -> String {
    let mut list = String::new();
    for problem in problems.iter().take(PROBLEMS_SHOWN_MAX) {
        // Writing into a `String` cannot fail. A line of the plugin's must not begin like one of ours.
        let _ = write!(list, "\n  - {}", problem.to_string().replace('\n', "\n    "));
    }
    if problems.len() > PROBLEMS_SHOWN_MAX {
        let _ = write!(list, "\n  and {} more", problems.len() - PROBLEMS_SHOWN_MAX);
    }
    list
}

impl Runtime {
    /// Makes the sandbox. Fails when the machine refuses a thread.
    pub fn new(config: RuntimeConfig, artifacts: ArtifactCache) -> std::io::Result<Self> {
        let gate = Gate::new(config.slots, config.sandbox_bytes_max);
        let share = Share::new(config.long_calls);
        Ok(Self { config, artifacts, pool: Mutex::new(None), gate, share, ticker: Ticker::start()? })
    }

    /// What it was made with.
    pub fn config(&self) -> &RuntimeConfig {
        &self.config
    }

    /// Sizes the pool for several plugins at once, so that installing them one after another makes one pool and not
    /// several. What cannot be read is left for [`install`](Self::install) to complain about.
    pub fn reserve<'a>(&self, components: impl IntoIterator<Item = &'a [u8]>) -> wasmtime::Result<()> {
        let readable =
            components.into_iter().filter_map(|bytes| inspect(bytes, &Grants::usual(), &self.config.limits).ok());
        let needs = readable.map(|inspection| inspection.needs).fold(Needs::default(), Needs::max);
        self.pool_for(needs).map(drop)
    }

    /// Installs a component under the runtime's own limits. What its `describe` says follows from the bytes alone: the time
    /// and the random numbers that it sees are always the same.
    pub async fn install(&self, bytes: Vec<u8>, grants: Grants) -> Result<Plugin, InstallError> {
        let failed = |problem| InstallError { problems: vec![problem] };
        let inspection = inspect(&bytes, &grants, &self.config.limits).map_err(|problems| InstallError { problems })?;
        let compile_error = |error: wasmtime::Error| failed(Problem::Compile { reason: format!("{error:#}") });
        let no_pool = |error: wasmtime::Error| failed(Problem::Pool { reason: format!("{error:#}") });
        let pool = self.pool_for(inspection.needs).map_err(no_pool)?;
        let (component, from_cache) = self.compile(Arc::clone(&pool), bytes).await.map_err(compile_error)?;
        let pre = typecheck(&pool, &component, &grants)
            .map_err(|error| failed(Problem::Types { reason: format!("{error:#}") }))?;
        let mut plugin = Plugin {
            pre,
            grants,
            counts_instructions: self.config.count_instructions,
            limits: self.config.limits.clone(),
            needs: inspection.needs,
            description: Description::default(),
            from_cache,
        };
        let (description, problems) =
            self.describe(&plugin).await.map_err(|failure| failed(Problem::Describe(failure)))?;
        let problems: Vec<_> = problems.into_iter().chain(description.problems()).map(Problem::Description).collect();
        if !problems.is_empty() {
            return Err(InstallError { problems });
        }
        plugin.description = description;
        Ok(plugin)
    }

    /// Calls a plugin on behalf of `shop`, which only decides whose turn it is when the pool is full or the processors are busy.
    /// What stands before its first `/` is the app: apps share the processors, and within an app its shops do.
    pub async fn invoke(
        &self,
        plugin: &Plugin,
        shop: &str,
        invocation: Invocation,
        session: Box<dyn Session>,
    ) -> Outcome {
        if plugin.action(&invocation.action).is_none() {
            let failure = Failure::NoAction(invocation.action);
            return Outcome { result: Err(failure), record: invocation.record, session, usage: Usage::default() };
        }
        let permit = self.gate.enter(shop, plugin.needs.memory_bytes).await;
        let _running = self.ticker.running();
        let (app, _) = shop.split_once('/').unwrap_or((shop, ""));
        let seat = self.share.seat(app, shop);
        call(plugin, plugin.limits.clone(), invocation, session, permit, seat).await
    }

    async fn describe(&self, plugin: &Plugin) -> Result<(Description, Vec<String>), Failure> {
        let permit = self.gate.enter("", plugin.needs.memory_bytes).await;
        let _running = self.ticker.running();
        let invocation = Invocation::new("describe", Phase::Run, DESCRIBE_NOW, DESCRIBE_SEED);
        let seat = self.share.seat("", "");
        describe(plugin, plugin.limits.clone(), invocation, Box::new(NoSession), permit, seat).await
    }

    /// The present pool, or a larger one in its place when it offers too little.
    fn pool_for(&self, needs: Needs) -> wasmtime::Result<Arc<Pool>> {
        let mut present = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let offered = present.as_ref().and_then(|pool| pool.needs).unwrap_or_default();
        if let Some(pool) = present.as_ref().filter(|pool| pool.offers(needs)) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(Pool::new(&self.config, offered.max(needs))?);
        self.ticker.watch(&pool.engine);
        *present = Some(Arc::clone(&pool));
        Ok(pool)
    }

    async fn compile(&self, pool: Arc<Pool>, bytes: Vec<u8>) -> wasmtime::Result<(Component, bool)> {
        let (artifacts, counts) = (self.artifacts.clone(), self.config.count_instructions);
        let compiled =
            tokio::task::spawn_blocking(move || artifacts.load_or_compile(&pool.engine, &bytes, counts)).await;
        compiled.unwrap_or_else(|error| Err(wasmtime::format_err!("the compiler stopped: {error}")))
    }
}

fn typecheck(pool: &Pool, component: &Component, grants: &Grants) -> wasmtime::Result<PluginPre<State>> {
    let mut linker = Linker::new(&pool.engine);
    link(&mut linker, grants)?;
    PluginPre::new(linker.instantiate_pre(component)?)
}

impl Plugin {
    /// What the operator allows it.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// What it offers.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// One of its actions.
    pub fn action(&self, name: &str) -> Option<&tradewind_model::ActionDeclaration> {
        self.description.actions.iter().find(|action| action.name == name)
    }

    /// What it needs from the pool.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Whether its machine code came from the cache.
    pub fn is_from_cache(&self) -> bool {
        self.from_cache
    }

    /// Lowers its limits. What is above the runtime's own is an error, because the pool is sized by those.
    pub fn with_limits(mut self, limits: Limits) -> Result<Self, LimitExceeded> {
        let own = &self.limits;
        if limits.memory_bytes_max > own.memory_bytes_max {
            return Err(LimitExceeded { limit: Limit::MemoryBytes, max: own.memory_bytes_max });
        }
        if limits.table_elements_max > own.table_elements_max {
            return Err(LimitExceeded { limit: Limit::TableElements, max: own.table_elements_max });
        }
        self.limits = limits;
        Ok(self)
    }
}
