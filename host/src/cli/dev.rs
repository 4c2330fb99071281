//! `tradewind dev`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::WallClock;
use super::serve::executor;
use super::text::printable;
use super::{Exit, Fail, Surroundings, plugin};
use crate::config::Log;
use crate::dev::{Feed, SHOP, Setting, World, changed, once, stamps};
use crate::serve::listen;

pub(super) const HELP: &str = "\
Examples:
  tradewind dev                                  the plugin of this folder, or all in `plugins/`
  tradewind dev target/plugins/product-tagger.wasm
  tradewind dev --once                           one edit through the whole way; fails unless it came back

It starts an emulated Shopify store and a host with a database of its own, made anew each time, builds and installs the plugins, and shows what
happens. Edit a product on the store's page and watch. A plugin is installed anew when its `.wasm` file changes; for a folder,
`tradewind plugin build` makes that. Nothing leaves this machine, and no account is needed.

Exit codes:
  0  it was stopped; with `--once`, the tags arrived in the store and the echo was recognised
  2  wrong usage, or there is no plugin
  3  a plugin cannot be installed
  6  something failed, or with `--once` the edit did not come back";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Components (`.wasm`), or folders of plugins.
    plugins: Vec<PathBuf>,
    /// Edits one product, shows what follows, and ends.
    #[arg(long)]
    once: bool,
    /// The host's port; any that is free when it is not given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Decides what the store sells.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the database and compiled plugins go.
    #[arg(long, value_name = "FOLDER", default_value = ".tradewind/dev")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let plugins = found(&arguments.plugins, surroundings)?;
    let filter = (surroundings.environment)("TRADEWIND_LOG").map(|filter| filter.to_string_lossy().into_owned());
    // What plugins log is in the feed; what the host finds worth a warning goes to the standard error.
    let filter = filter.as_deref().unwrap_or("warn,plugin=off");
    let listening = listen(Log::default(), None, Some(filter));
    listening.map_err(|error| Fail::usage(format_args!("{error:#}")))?.end();
    executor()?.block_on(dev(arguments, plugins))
}

async fn dev(arguments: &Arguments, plugins: Vec<(String, PathBuf)>) -> Result<Exit, Fail> {
    let clock = Arc::new(WallClock);
    let feed = Arc::new(Feed::new(clock.clone(), |line| println!("{}", printable(line))));
    let setting = Setting { plugins, folder: arguments.folder.clone(), port: arguments.port, seed: arguments.seed };
    let mut world = World::start(setting, clock, Arc::clone(&feed)).await.map_err(Fail::from_start)?;
    println!("store    {}  ({SHOP}; edit a product there)", world.emulator.url());
    println!("host     http://{}  (health, metrics: http://{})", world.host.public(), world.host.admin());
    for component in world.components() {
        println!("plugin   {}", component.display());
    }
    println!();
    if arguments.once {
        let tags = once(&world, &feed).await;
        world.stop().await;
        let tags = tags.map_err(|error| Fail::failed(format_args!("{error:#}")))?;
        println!("\nthe store has the tags {}, and their echo was recognised", tags.join(", "));
        return Ok(Exit::Fine);
    }
    let refused = |error: std::io::Error| Fail::failed(format_args!("signals cannot be heard: {error}"));
    let components: Vec<PathBuf> = world.components().map(Path::to_owned).collect();
    let components: Vec<&Path> = components.iter().map(PathBuf::as_path).collect();
    let mut seen = stamps(&components);
    loop {
        tokio::select! {
            stop = tokio::signal::ctrl_c() => {
                stop.map_err(refused)?;
                world.stop().await;
                return Ok(Exit::Fine);
            }
            files = changed(&components, &mut seen) => {
                let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                match world.reload().await {
                    Ok(()) => println!("          reloaded {}", names.join(", ")),
                    // The old one goes on.
                    Err(error) => println!("          not reloaded: {}", printable(&format!("{error:#}"))),
                }
            }
        }
    }
}

/// The plugins' names and components. Folders are built.
fn found(paths: &[PathBuf], surroundings: &Surroundings) -> Result<Vec<(String, PathBuf)>, Fail> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here[..] } else { paths };
    let mut plugins = Vec::new();
    for path in paths {
        if path.is_file() {
            plugins.push((name_of(path), path.clone()));
        } else if plugin::is_project(path) {
            plugins.push(built(path, surroundings)?);
        } else {
            let folders = [path.join("plugins"), path.clone()];
            let inner = folders.iter().find_map(|folder| projects(folder).filter(|found| !found.is_empty()));
            let inner = inner.ok_or_else(|| {
                Fail::usage(format_args!(
                    "`{}` is no component and holds no plugin; hint: make one with `tradewind plugin new NAME`, or name a \
                     `.wasm` file",
                    path.display()
                ))
            })?;
            for folder in inner {
                plugins.push(built(&folder, surroundings)?);
            }
        }
    }
    Ok(plugins)
}

fn projects(folder: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| plugin::is_project(path));
    found.sort();
    Some(found)
}

fn built(folder: &Path, surroundings: &Surroundings) -> Result<(String, PathBuf), Fail> {
    let whole = folder.canonicalize();
    let whole = whole.map_err(|error| Fail::failed(format_args!("`{}`: {error}", folder.display())))?;
    println!("building {}", folder.display());
    Ok((name_of(&whole), plugin::built(folder, surroundings)?))
}

/// A plugin is called like its file or folder, in the characters that names have.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "plugin".to_owned() } else { name.to_owned() }
}
