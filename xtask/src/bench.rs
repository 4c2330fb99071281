//! The door to the benchmarks: found by the names of their files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::guest_languages::NETWORK_BOUNDS;
use crate::project::Project;
use crate::setup::{self, Extent};
use crate::steps::{Outcome, Step, step};
use crate::{command, folders};

/// Where the benchmarks are.
const FOLDER: &str = "tests/bench";

/// What the source of a benchmark names when it compares with Node.js.
const NODE_FOLDER: &str = "bench/node";

/// What the source of a benchmark names when it starts a server of `PostgreSQL`.
const POSTGRES_MODULE: &str = "postgres::";

/// One of the packages is compiled on the machine, which takes a minute on two cores.
const NPM_LIMIT: Duration = Duration::from_mins(15);

/// Sets up and runs one benchmark.
pub(crate) fn run(project: &Project, name: &str, args: &[String]) -> Result<()> {
    let folder = project.root.join(FOLDER);
    let Ok(source) = fs::read_to_string(folder.join(format!("{name}.rs"))) else {
        bail!("there is no benchmark `{name}`\nhint: {}", known(&folder));
    };
    setup::run(project, Extent { postgres: source.contains(POSTGRES_MODULE), ..Extent::ALL })?;
    let node = folder.join("node");
    if source.contains(NODE_FOLDER) && node.join("package.json").is_file() {
        step("setup", "Node.js packages of the benchmark", |step| Ok(install_packages(&node, step)))?;
    }
    let mut bench = project.cargo(["bench", "-p", "tradewind-tests", "--bench", name]);
    if !args.is_empty() {
        bench.arg("--").args(args);
    }
    println!("bench: {}", command::line(&bench));
    command::show(&mut bench)
}

fn known(folder: &Path) -> String {
    let names: Vec<String> = folders::entries_in(folder)
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|file| file.file_stem())
        .map(|name| format!("`cargo xtask bench {}`", name.display()))
        .collect();
    if names.is_empty() { format!("`{FOLDER}` holds no benchmarks") } else { format!("run {}", names.join(" or ")) }
}

/// Installs what `package.json` names. npm runs a package's install script, which compiles its native part, only when
/// `allowScripts` of that file allows it.
fn install_packages(node: &Path, step: &Step<'_>) -> Outcome {
    // npm writes this file last, so it tells a whole installation from a broken one, and from one of older packages.
    let changed = |file: &str| fs::metadata(node.join(file)).and_then(|file| file.modified()).ok();
    let installed = changed("node_modules/.package-lock.json");
    if installed.is_some() && installed >= changed("package-lock.json") {
        return Outcome::AlreadyThere;
    }
    let order = if node.join("package-lock.json").is_file() { "ci" } else { "install" };
    let hint = format!("hint: run `npm {order}` in `{}`; the benchmark leaves Node.js out until then", node.display());
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
