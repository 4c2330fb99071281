//! The command line: the only place that reads the clock and the environment, prints, and decides exit codes.
//!
//! To add a command, add a module with its arguments and a `run`, and a variant in `Command`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod exit;
mod plugin;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand};

pub(crate) use exit::{Exit, Fail};

/// Runs WebAssembly action plugins for commerce platforms.
#[derive(Parser)]
#[command(name = "tradewind", version, after_help = exit::HELP, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes, builds, checks and tries plugins.
    #[command(subcommand)]
    Plugin(plugin::Command),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let ended = match command {
        Command::Plugin(command) => plugin::run(command, &Surroundings::of_process()),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(fail) => {
            eprintln!("error: {fail}");
            fail.exit.into()
        }
    }
}

/// What a command may know of the process that it runs in.
pub(crate) struct Surroundings {
    /// Time since 1970.
    pub(crate) now: Duration,
    /// Where this user's caches go.
    pub(crate) cache: PathBuf,
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock and the environment")]
    fn of_process() -> Self {
        // A clock before 1970 is no time at all.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        Self { now, cache: cache.unwrap_or_else(std::env::temp_dir).join("tradewind") }
    }
}
