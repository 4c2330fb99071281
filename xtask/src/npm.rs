//! Packages of npm, for what is compared with Node.js or tried by its programs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command;
use crate::guest_languages::NETWORK_BOUNDS;
use crate::steps::{Outcome, Step};

/// One of the packages is compiled on the machine, which takes a minute on two cores.
const NPM_LIMIT: Duration = Duration::from_mins(15);

/// Installs what `package.json` in the folder names; `without` says what happens until then. npm runs a package's install script, which compiles its native part, only when
/// `allowScripts` of that file allows it.
pub(crate) fn install(node: &Path, without: &str, step: &Step<'_>) -> Outcome {
    // npm writes this file last, so it tells a whole installation from a broken one, and from one of older packages.
    let changed = |file: &str| fs::metadata(node.join(file)).and_then(|file| file.modified()).ok();
    let installed = changed("node_modules/.package-lock.json");
    if installed.is_some() && installed >= changed("package-lock.json") {
        return Outcome::AlreadyThere;
    }
    let order = if node.join("package-lock.json").is_file() { "ci" } else { "install" };
    let hint = format!("hint: run `npm {order}` in `{}`; {without}", node.display());
    if !command::starts(&["npm", "--version"]) {
        return Outcome::Skipped(format!("`npm` does not start\n{hint}"));
    }
    step.says(format_args!("installing with `npm {order}`"));
    let mut npm = Command::new("npm");
    npm.current_dir(node).args([order, "--no-audit", "--no-fund"]).envs(NETWORK_BOUNDS);
    match command::quote(&mut npm, NPM_LIMIT) {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Skipped(format!("{error:#}\n{hint}")),
    }
}
