//! A long run of everything that goes wrong: `faults --seconds N [--seed S] [--only KIND]`.
//!
//! Each kind of fault gets its share of the time. Exits with 1 when anything was not as expected; the last line sums up.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use tradewind_tests::faults::victim::{self, Victim};
use tradewind_tests::faults::{
    Load, Report, Start, disk, frozen, ingress, kill, mapper, sandbox, server, start_of, totals,
};
use tradewind_tests::postgres::Cluster;
use tradewind_tests::stores::Place;

#[derive(Parser)]
struct Arguments {
    /// How long to go on, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Decides every choice; drawn from the clock when it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only one kind of fault.
    #[arg(long)]
    only: Option<Kind>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Be the process that things happen to
    #[command(hide = true)]
    Victim(Victim),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Hostile plugins
    Sandbox,
    /// `kill -9` on SQLite
    KillSqlite,
    /// `kill -9` on PostgreSQL
    KillPostgres,
    /// `kill -9` while plugins run, on SQLite
    PluginsSqlite,
    /// `kill -9` while plugins run, on PostgreSQL
    PluginsPostgres,
    /// The server stops and starts
    Server,
    /// The disk is full
    Disk,
    /// A host is frozen past its lease
    Frozen,
    /// Damaged webhooks at the door
    Ingress,
    /// Odd payloads for the mapper
    Mapper,
    /// Totals that are kept by counting, on SQLite
    TotalsSqlite,
    /// Totals that are kept by counting, on PostgreSQL
    TotalsPostgres,
}

/// Every kind with its share of the time, in fourteenths.
const SHARES: [(Kind, u32); 12] = [
    (Kind::Sandbox, 1),
    (Kind::KillSqlite, 1),
    (Kind::KillPostgres, 1),
    (Kind::PluginsSqlite, 2),
    (Kind::PluginsPostgres, 2),
    (Kind::Server, 1),
    (Kind::Disk, 1),
    (Kind::Frozen, 1),
    (Kind::Ingress, 1),
    (Kind::Mapper, 1),
    (Kind::TotalsSqlite, 1),
    (Kind::TotalsPostgres, 1),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ran = match &arguments.role {
        Some(Role::Victim(victim)) => victim::run(victim).map(|()| 0),
        None => Ok(run(&arguments)),
    };
    match ran {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the program's entry reads the clock")]
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Answers how many things were not as expected.
fn run(arguments: &Arguments) -> u64 {
    let Arguments { seconds, only, .. } = *arguments;
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    println!("faults: {seconds} seconds, seed {seed}");
    let length = Duration::from_secs(seconds);
    let mut reports = Vec::new();
    for (kind, share) in SHARES.into_iter().filter(|(kind, _)| only.is_none_or(|only| only == *kind)) {
        let length = if only.is_some() { length } else { length * share / 14 };
        let report = run_kind(kind, length, seed).unwrap_or_else(|error| {
            println!("  NOT AS EXPECTED: {error:#}");
            Report { did: "ended early".to_owned(), failures: 1 }
        });
        println!("  {kind:?}: {}, {} failures", report.did, report.failures);
        reports.push(report);
    }
    let failures: u64 = reports.iter().map(|report| report.failures).sum();
    let did: Vec<_> = reports.iter().map(|report| report.did.as_str()).collect();
    println!("faults: {seconds} seconds, {}, {failures} failures, seed {seed}", did.join(", "));
    failures
}

fn run_kind(kind: Kind, length: Duration, seed: u64) -> anyhow::Result<Report> {
    let program = std::env::current_exe().context("finding this program")?;
    let folder = tempfile::tempdir()?;
    match kind {
        Kind::Sandbox => {
            let executor = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
            executor.block_on(sandbox::run(length, seed))
        }
        Kind::KillSqlite => {
            let url = format!("sqlite:{}", folder.path().join("faults.db").display());
            kill::run(&start_of(&program, &url), length, 1, seed)
        }
        Kind::KillPostgres => {
            let cluster = Cluster::start()?;
            kill::run(&start_of(&program, &cluster.database("kill")?), length, 1, seed)
        }
        Kind::PluginsSqlite => {
            let url = format!("sqlite:{}", folder.path().join("faults.db").display());
            kill::run(&Start { load: Load::Plugins, ..start_of(&program, &url) }, length, 1, seed)
        }
        Kind::PluginsPostgres => {
            let cluster = Cluster::start()?;
            let start = start_of(&program, &cluster.database("plugins")?);
            kill::run(&Start { load: Load::Plugins, ..start }, length, 1, seed)
        }
        Kind::Server => {
            let mut cluster = Cluster::start()?;
            let start = start_of(&program, &cluster.database("server")?);
            server::run(&start, &mut cluster, length, 1, seed)
        }
        Kind::Disk => disk::run(&program, length, 1),
        Kind::Frozen => {
            let cluster = Cluster::start()?;
            frozen::run(&start_of(&program, &cluster.database("frozen")?), length, 1, seed)
        }
        Kind::Ingress => {
            let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            executor.block_on(ingress::run(length, 1, seed))
        }
        Kind::Mapper => mapper::run(length, 1, seed),
        Kind::TotalsSqlite => {
            let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            executor.block_on(totals::run(&Place::sqlite(), length, seed))
        }
        Kind::TotalsPostgres => {
            let cluster = Cluster::start()?;
            let place = Place::Postgres(cluster.database("totals")?);
            let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            executor.block_on(totals::run(&place, length, seed))
        }
    }
}
