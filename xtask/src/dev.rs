//! The product, running: until there is a server to start, a plugin run on a recorded change.

use anyhow::Result;

use crate::command;
use crate::project::Project;
use crate::setup::{self, Extent};

/// The plugin that is run, its action, and the change that it is shown.
const PLUGIN: &str = "product-tagger.wasm";
const RUN: [&str; 6] = [
    "--action",
    "tag-product",
    "--before",
    "tests/fixtures/product-before.json",
    "--after",
    "tests/fixtures/product-after.json",
];

/// Builds the Rust plugins and runs one.
pub(crate) fn run(project: &Project) -> Result<()> {
    setup::run(project, Extent::LEAST)?;
    let mut host = project.cargo(["run", "-p", "tradewind-host", "--bin", "tradewind", "--", "plugin", "run"]);
    host.arg(project.plugins_folder().join(PLUGIN)).args(RUN);
    println!("dev: {}", command::line(&host));
    command::show(&mut host)
}
