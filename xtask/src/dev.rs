//! The product, running: an emulated store, a host, and an example plugin at work.

use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::project::{Profile, Project};
use crate::setup::{self, Extent};

/// The plugin that is at work.
const PLUGIN: &str = "product-tagger.wasm";

/// Builds the Rust plugins and starts the store and the host. `args` go to `tradewind dev`.
pub(crate) fn run(project: &Project, args: &[String]) -> Result<()> {
    setup::run(project, Extent::LEAST)?;
    command::show(&mut project.build_program("tradewind", Profile::Debug))?;
    let mut host = Command::new(project.program("tradewind", Profile::Debug));
    host.current_dir(&project.root).arg("dev").arg(project.plugins_folder().join(PLUGIN)).args(args);
    println!("dev: {}", command::line(&host));
    command::show(&mut host)
}
