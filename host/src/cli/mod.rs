//! The command line: the only place that reads the clock and the environment, prints, and decides exit codes.
//!
//! To add a command, add a module with its arguments and a `run`, and a variant in `Command`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod age;
mod check;
mod clock;
mod compile_component;
mod delivery;
mod dev;
mod doctor;
mod exit;
mod job;
mod migrate;
mod plugin;
mod problems;
mod serve;
mod store;
mod table;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand};
use tradewind_runtime::COMPILE_COMMAND;

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
    /// Starts an emulated store and a host beside it, and shows plugins at work.
    #[command(after_help = dev::HELP)]
    Dev(dev::Arguments),
    /// Runs a host.
    #[command(after_help = serve::HELP)]
    Serve(serve::Arguments),
    /// Makes, builds, checks and tries plugins.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Checks the configuration and shows what would run.
    #[command(after_help = check::HELP)]
    Check(check::Arguments),
    /// Brings the tables of a store up to date.
    #[command(after_help = migrate::HELP)]
    Migrate(migrate::Arguments),
    /// Lists, shows, retries, parks and purges jobs.
    #[command(subcommand)]
    Job(job::Command),
    /// Lists, shows and replays the webhooks that arrived.
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Checks a store and says what to do about what is not well.
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::Arguments),
    /// Compiles a component from the standard input to the standard output; the host starts it for itself.
    #[command(name = COMPILE_COMMAND, hide = true)]
    CompileComponent(compile_component::Arguments),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let surroundings = Surroundings::of_process();
    let ended = match command {
        Command::Dev(arguments) => dev::run(&arguments, &surroundings),
        Command::Serve(arguments) => serve::run(&arguments, &surroundings),
        Command::Plugin(command) => plugin::run(command, &surroundings),
        Command::Check(arguments) => check::run(&arguments, &surroundings),
        Command::Migrate(arguments) => migrate::run(&arguments, &surroundings),
        Command::Job(command) => job::run(&command, &surroundings),
        Command::Delivery(command) => delivery::run(&command, &surroundings),
        Command::Doctor(arguments) => doctor::run(&arguments, &surroundings),
        Command::CompileComponent(arguments) => Ok(compile_component::run(&arguments)),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(fail) => {
            eprintln!("error: {}", text::printable(&fail.to_string()));
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
    /// The store of commands that are not given one, from `TRADEWIND_STORE`.
    pub(crate) store: Option<String>,
    /// This program, to be started again.
    pub(crate) program: Option<PathBuf>,
    /// What an environment variable holds, for configurations that name one.
    pub(crate) environment: fn(&str) -> Option<OsString>,
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock and the environment")]
    fn of_process() -> Self {
        // A clock before 1970 is no time at all.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        // An empty variable is how some shells and unit files spell none.
        let store = std::env::var_os("TRADEWIND_STORE").filter(|store| !store.is_empty());
        Self {
            now,
            cache: cache.unwrap_or_else(std::env::temp_dir).join("tradewind"),
            store: store.map(|store| store.to_string_lossy().into_owned()),
            program: std::env::current_exe().ok(),
            environment: |name| std::env::var_os(name),
        }
    }

    /// The time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX)
    }
}
