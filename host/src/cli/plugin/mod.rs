//! `tradewind plugin`: what a plugin developer needs.

mod build;
mod check;
mod new;
mod run;
pub(in crate::cli) mod show;
mod try_out;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use tradewind_runtime::{ArtifactCache, Grants, Plugin, Runtime, RuntimeConfig};

use super::{Exit, Fail, Surroundings};

/// Makes, builds, checks and tries plugins.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a new plugin that works, with a test and a sample change.
    #[command(after_help = new::EXAMPLES)]
    New(new::Arguments),
    /// Builds the plugin of a folder into `plugin.wasm` and checks it.
    #[command(after_help = build::EXAMPLES)]
    Build(build::Arguments),
    /// Says whether a component can be installed, and what it offers and needs.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Arguments),
    /// Runs an action on a change of a record, and shows everything that it does. Nothing leaves this machine.
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::Arguments>),
}

pub(crate) fn run(command: Command, surroundings: &Surroundings) -> Result<Exit, Fail> {
    match command {
        Command::New(arguments) => new::run(&arguments),
        Command::Build(arguments) => build::run(&arguments, surroundings),
        Command::Check(arguments) => check::run(&arguments, surroundings),
        Command::Run(arguments) => run::run(&arguments, surroundings),
    }
}

/// Whether a folder holds a plugin that can be built.
pub(in crate::cli) fn is_project(folder: &Path) -> bool {
    build::PROJECT_FILES.iter().any(|file| folder.join(file).is_file())
}

/// Builds a folder's plugin and answers where the component is.
pub(in crate::cli) fn built(folder: &Path, surroundings: &Surroundings) -> Result<PathBuf, Fail> {
    build::built(folder, surroundings)
}

/// What the operator would grant, given by name on the command line.
#[derive(clap::Args)]
struct GrantArguments {
    /// Grants only what is named here: `data`, `queue`, `shopify`, `bigcommerce`, `http`, `config`, `all-shops`,
    /// `expose-token` or `none`. May be repeated. Without it, everything but the last two is granted.
    #[arg(long = "grant", value_name = "NAME")]
    grants: Vec<String>,
}

impl GrantArguments {
    fn grants(&self) -> Result<Grants, Fail> {
        if self.grants.is_empty() {
            return Ok(Grants::usual());
        }
        let mut grants = Grants::default();
        for name in self.grants.iter().filter(|name| *name != "none") {
            if !grants.add(name) {
                let known = Grants::NAMES.join("`, `");
                return Err(Fail::usage(format_args!("there is no grant `{name}`; hint: `{known}` or `none`")));
            }
        }
        Ok(grants)
    }
}

/// A file's bytes.
fn read(path: &Path) -> Result<Vec<u8>, Fail> {
    std::fs::read(path).map_err(|error| {
        Fail::usage(format_args!("cannot read `{}`: {error}; hint: is the path right?", path.display()))
    })
}

/// The sandbox for one try: nothing pooled, instructions counted, artifacts in the user's cache.
fn sandbox(surroundings: &Surroundings) -> Result<Runtime, Fail> {
    let folder = artifacts_folder(surroundings);
    // Without a cache everything works, only slower.
    let artifacts = ArtifactCache::in_folder(&folder).unwrap_or_else(|error| {
        eprintln!("warning: compiled plugins are not kept, because `{}` cannot be used: {error}", folder.display());
        ArtifactCache::none()
    });
    let artifacts = match &surroundings.program {
        Some(program) => artifacts.with_compiler(crate::config::Limits::default().compiler(program)),
        None => artifacts,
    };
    let config = RuntimeConfig { pooled: false, count_instructions: true, ..RuntimeConfig::default() };
    Runtime::new(config, artifacts).map_err(|error| Fail::failed(format_args!("cannot start the sandbox: {error}")))
}

fn artifacts_folder(surroundings: &Surroundings) -> PathBuf {
    surroundings.cache.join("artifacts")
}

/// Installs a component, and says so when it takes long.
async fn install(runtime: &Runtime, path: &Path, grants: Grants) -> Result<Plugin, Fail> {
    let bytes = read(path)?;
    let size = bytes.len();
    let mut installing = std::pin::pin!(runtime.install(bytes, grants));
    if let Ok(installed) = tokio::time::timeout(Duration::from_secs(1), &mut installing).await {
        return Ok(installed?);
    }
    eprintln!("compiling `{}` ({}); the next time it comes from the cache …", path.display(), show::bytes(size as u64));
    Ok(installing.await?)
}

/// Runs async code on a small executor.
fn block_on<T>(work: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    executor.map_err(|error| Fail::failed(format_args!("cannot start: {error}")))?.block_on(work)
}
