//! The Rust plugins: one cargo invocation builds them all, so that what they share is compiled once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::project::Project;
use crate::rustc::TARGET;
use crate::steps::{Outcome, Step};
use crate::{command, folders};

/// The profile of the workspace that makes plugins small and keeps the names that a backtrace needs.
const PROFILE: &str = "plugin";

/// Builds all Rust plugins and copies each to `<target>/plugins/NAME.wasm`.
pub(crate) fn build(project: &Project, step: &Step<'_>) -> Result<Outcome> {
    if project.rust_plugins.is_empty() {
        return Ok(Outcome::Skipped("there are none in `plugins/`".to_owned()));
    }
    let mut build = project.cargo(["build", "--profile", PROFILE, "--target", TARGET]);
    for plugin in &project.rust_plugins {
        build.args(["-p", &plugin.package]);
    }
    step.says(command::line(&build));
    command::show(&mut build)?;
    let artifacts = project.target.join(TARGET).join(PROFILE);
    let mut outcome = Outcome::AlreadyThere;
    for plugin in &project.rust_plugins {
        let component = artifacts.join(format!("{}.wasm", plugin.artifact));
        if copy_changed(&component, &project.plugins_folder().join(format!("{}.wasm", plugin.package)))? {
            outcome = Outcome::Done;
        }
    }
    Ok(outcome)
}

/// Copies a file when its bytes differ: what watches the copy sees only real changes. Says whether it did.
fn copy_changed(from: &Path, to: &Path) -> Result<bool> {
    let bytes = fs::read(from).with_context(|| format!("cannot read `{}`", from.display()))?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    folders::write_whole(to, &bytes)?;
    Ok(true)
}
