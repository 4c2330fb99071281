//! Set-up and checks as code: `cargo xtask dev` runs the product and `cargo xtask test` passes the tests, on a machine
//! that has only rustup's stable toolchain and a C compiler.
//!
//! This file knows the command line and nothing else. Each module is one thing to set up or to check; it may start
//! other programs and may not know the product's code. To add a thing to set up: a module with one function that
//! returns an [`Outcome`](steps::Outcome), and a line in [`setup`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints")]

mod bench;
mod checks;
mod command;
mod debian;
mod dev;
mod folders;
mod guest_languages;
mod npm;
mod plugins;
mod postgres;
mod project;
mod rust_source;
mod rustc;
mod setup;
mod std_build;
mod steps;
mod wasm_target;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::project::Project;
use crate::setup::Extent;

/// Set-up and checks of Tradewind.
///
/// Every command sets up what it needs first, says what it does, and skips what is there.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set up this machine: the wasm target, the database for tests, the example plugins
    ///
    /// The wasm target comes from rustup. Where rustup cannot reach its server, the standard library is built once
    /// from the source of exactly the compiler's version and placed into the toolchain. That source is looked for in
    /// `TRADEWIND_RUST_SRC` (a folder or a `.tar.xz` that holds `library/` and `wasm32-wasip2/`), in rustup's
    /// `rust-src` component, and in Debian's packages.
    #[command(after_help = "Examples:\n  \
        cargo xtask setup\n  \
        cargo xtask setup --no-postgres --no-python\n  \
        TRADEWIND_RUST_SRC=rust-std.tar.xz cargo xtask setup")]
    Setup(SetupArgs),
    /// Build all example plugins to `<target>/plugins/*.wasm`
    ///
    /// Rust plugins must build. JavaScript and Python plugins are skipped, with the reason, where the tool that
    /// builds them cannot be had.
    Plugins,
    /// Set up, then formatting, lints, documentation and all tests
    ///
    /// Stops at the first step that fails and says how to run that step again.
    #[command(after_help = "Examples:\n  \
        cargo xtask test\n  \
        cargo xtask test --quick\n  \
        cargo xtask test --quick -- deadline --nocapture")]
    Test {
        /// Only build the plugins and run the tests: no database, formatting, lints or documentation
        #[arg(long)]
        quick: bool,
        /// What goes to the test binaries: a filter and their options
        #[arg(last = true, value_name = "FILTER ARGS")]
        args: Vec<String>,
    },
    /// Build the Rust plugins and see one at work: an emulated store and a host, on this machine
    #[command(after_help = "Examples:\n  cargo xtask dev\n  cargo xtask dev -- --once")]
    Dev {
        /// Passed on to `tradewind dev`
        #[arg(last = true, value_name = "DEV ARGS")]
        args: Vec<String>,
    },
    /// Run one benchmark
    #[command(after_help = "Example:\n  cargo xtask bench invocation -- --seconds 5\n\n\
        A NAME that does not exist lists those that do.")]
    Bench {
        /// The benchmark: a file of tests/bench, without `.rs`
        name: String,
        /// What goes to the benchmark
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Run the long fault tests
    #[command(after_help = "Example:\n  cargo xtask faults --seconds 600")]
    Faults {
        /// How long to go on, in seconds
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
}

#[derive(Args)]
struct SetupArgs {
    /// Leave the database out
    #[arg(long)]
    no_postgres: bool,
    /// Leave the JavaScript plugins out
    #[arg(long)]
    no_javascript: bool,
    /// Leave the Python plugins out
    #[arg(long)]
    no_python: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let project = Project::load()?;
    match task {
        Task::Setup(args) => setup::run(
            &project,
            Extent { postgres: !args.no_postgres, javascript: !args.no_javascript, python: !args.no_python },
        ),
        Task::Plugins => setup::run(&project, Extent { postgres: false, ..Extent::ALL }),
        Task::Test { quick, args } => checks::test(&project, quick, &args),
        Task::Dev { args } => dev::run(&project, &args),
        Task::Bench { name, args } => bench::run(&project, &name, &args),
        Task::Faults { seconds } => checks::faults(&project, seconds),
    }
}
