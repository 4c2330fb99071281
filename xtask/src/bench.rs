//! The door to the benchmarks: found by the names of their files.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::project::{Profile, Project};
use crate::setup::{self, Extent};
use crate::steps::{Outcome, step};
use crate::{command, folders, npm};

/// Where the benchmarks are.
const FOLDER: &str = "tests/bench";

/// What the source of a benchmark names when it compares with Node.js.
const NODE_FOLDER: &str = "bench/node";

/// What the source of a benchmark names when it starts a server of `PostgreSQL`.
const POSTGRES_MODULE: &str = "postgres::";

/// What the source of a benchmark names when it runs the program itself.
const PROGRAM: &str = "`tradewind serve`";

/// Sets up and runs one benchmark.
pub(crate) fn run(project: &Project, name: &str, args: &[String]) -> Result<()> {
    let folder = project.root.join(FOLDER);
    let Ok(source) = fs::read_to_string(folder.join(format!("{name}.rs"))) else {
        bail!("there is no benchmark `{name}`\nhint: {}", known(&folder));
    };
    setup::run(project, Extent { postgres: source.contains(POSTGRES_MODULE), ..Extent::ALL })?;
    let node = folder.join("node");
    if source.contains(NODE_FOLDER) && node.join("package.json").is_file() {
        step("setup", "Node.js packages of the benchmark", |step| {
            Ok(npm::install(&node, "the benchmark leaves Node.js out until then", step))
        })?;
    }
    if source.contains(PROGRAM) {
        step("build", "the program, optimized", |_| {
            command::show(&mut project.build_program("tradewind", Profile::Release))?;
            Ok(Outcome::Done)
        })?;
    }
    let mut bench = project.cargo(["bench", "--workspace", "--bench", name]);
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
