//! The product, running: an emulated store, a host, and an example plugin at work.

use anyhow::Result;

use crate::command;
use crate::project::Project;
use crate::setup::{self, Extent};

/// The plugin that is at work.
const PLUGIN: &str = "product-tagger.wasm";

/// Builds the Rust plugins and starts the store and the host. `args` go to `tradewind dev`.
pub(crate) fn run(project: &Project, args: &[String]) -> Result<()> {
    setup::run(project, Extent::LEAST)?;
    let mut host = project.cargo(["run", "-p", "tradewind-host", "--bin", "tradewind", "--", "dev"]);
    host.arg(project.plugins_folder().join(PLUGIN)).args(args);
    println!("dev: {}", command::line(&host));
    command::show(&mut host)
}
