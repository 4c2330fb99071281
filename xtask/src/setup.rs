//! All that a fresh machine needs, in the order in which one thing needs another.

use anyhow::{Error, Result, bail};

use crate::project::Project;
use crate::steps::step;
use crate::{guest_languages, plugins, postgres, wasm_target};

/// What of the set-up is wanted beyond the wasm target and the Rust plugins, which everything needs.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// The database server's programs.
    pub(crate) postgres: bool,
    /// The JavaScript plugins.
    pub(crate) javascript: bool,
    /// The Python plugins.
    pub(crate) python: bool,
}

impl Extent {
    /// Everything.
    pub(crate) const ALL: Self = Self { postgres: true, javascript: true, python: true };
    /// Only what everything needs.
    pub(crate) const LEAST: Self = Self { postgres: false, javascript: false, python: false };
}

/// Sets up what is wanted. One problem does not hide another: all that were found are told at once.
pub(crate) fn run(project: &Project, extent: Extent) -> Result<()> {
    let mut problems = Vec::new();
    if extent.postgres {
        let found = step("setup", "PostgreSQL", |step| postgres::ensure(project, step));
        problems.extend(found.err());
    }
    match step("setup", "wasm target", |step| wasm_target::ensure(project, step)) {
        Ok(_) => problems.extend(build_plugins(project, extent).err()),
        Err(error) => problems.push(error),
    }
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        count => {
            let told: Vec<String> = problems.iter().map(|problem: &Error| format!("{problem:#}")).collect();
            bail!("{count} problems\n\n{}", told.join("\n\n"))
        }
    }
}

fn build_plugins(project: &Project, extent: Extent) -> Result<()> {
    step("setup", "Rust plugins", |step| plugins::build(project, step))?;
    if extent.javascript {
        guest_languages::JAVASCRIPT.build_all(project)?;
    }
    if extent.python {
        guest_languages::PYTHON.build_all(project)?;
    }
    Ok(())
}
