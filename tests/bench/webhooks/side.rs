//! What is compared: a process that takes webhooks, and the stand-in for the platform that it calls.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;
use tradewind_store::Engine;
use tradewind_tests::postgres::Cluster;

use super::feed::Feed;
use super::load::{self, Pace};
use super::platform::Platform;
use super::{host, node};

/// Signs the webhooks.
pub(crate) const SECRET: &str = "bench-client-secret-0123456789";

/// Where they are sent.
pub(crate) const CONNECTION_PATH: &str = "/webhooks/bench/shopify";

/// How long nothing may happen before a side counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Units of the processor's time that the system counts in a second. 100: Linux tells all programs so.
const TICKS_PER_SECOND: u64 = 100;

/// How often memory is looked at under load.
const SAMPLED_EVERY: Duration = Duration::from_millis(100);

/// Who takes webhooks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `tradewind serve` with `product-tagger`.
    Tradewind,
    /// Node.js with Express and the platform's library.
    Express,
    /// Node.js without any.
    Raw,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Tradewind, Self::Express, Self::Raw];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tradewind => "tradewind serve",
            Self::Express => "express, @shopify/shopify-api",
            Self::Raw => "node:http, node:crypto",
        }
    }

    /// The name in comparisons.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Tradewind => "tradewind",
            Self::Express => "express",
            Self::Raw => "node:http",
        }
    }
}

/// Where databases come from.
pub(crate) struct Places {
    cluster: Cluster,
}

impl Places {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self { cluster: Cluster::start()? })
    }

    /// The address of a new database as this side names it; a file of `SQLite` is in the folder.
    pub(crate) fn database(&self, engine: Engine, kind: Kind, folder: &Path) -> anyhow::Result<String> {
        let file = folder.join("bench.db").display().to_string();
        Ok(match (engine, kind) {
            (Engine::Postgres, _) => self.cluster.database("webhooks")?,
            (Engine::Sqlite, Kind::Tradewind) => format!("sqlite:{file}"),
            (Engine::Sqlite, _) => file,
        })
    }
}

/// The name that the table has for a database.
pub(crate) fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}

/// A process that takes webhooks. Is killed when dropped.
pub(crate) struct Side {
    pub(crate) kind: Kind,
    pub(crate) database: String,
    pub(crate) feed: Arc<Feed>,
    platform: Platform,
    process: Process,
    /// Webhooks so far.
    sent: u32,
    _folder: TempDir,
}

/// What a start brings.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// The operators' door.
    pub(crate) admin: Option<SocketAddr>,
    /// It and its children.
    pub(crate) pids: Vec<u32>,
}

/// What became of some webhooks.
pub(crate) struct Sent {
    pub(crate) count: u32,
    /// Until the last was answered.
    pub(crate) acknowledged: Duration,
    /// Until the last was completed.
    pub(crate) completed: Duration,
    /// How long each waited for its answer.
    pub(crate) waited: Vec<Duration>,
    /// The most that was resident, in bytes; none where the system does not say.
    pub(crate) resident: Option<u64>,
    /// The processor's time that the side took, without its database's server; none where the system does not say.
    pub(crate) busy: Option<Duration>,
}

impl Side {
    /// Starts it on an empty database.
    pub(crate) async fn start(places: &Places, engine: Engine, kind: Kind, feed: &Arc<Feed>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = places.database(engine, kind, folder.path())?;
        let platform = Platform::start().await?;
        let process = match kind {
            Kind::Tradewind => host::start(folder.path(), &database, platform.address)?,
            Kind::Express => node::start("express", &database, platform.address)?,
            Kind::Raw => node::start("raw", &database, platform.address)?,
        };
        let feed = Arc::clone(feed);
        Ok(Self { kind, database, feed, platform, process, sent: 0, _folder: folder })
    }

    /// Sends the next webhooks and waits until all are completed.
    pub(crate) async fn take(&mut self, count: u32, pace: Pace) -> anyhow::Result<Sent> {
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let (started, worked) = (Instant::now(), self.worked());
        let work = async {
            let waited = load::send(&self.feed, self.process.address, numbers.clone(), pace).await?;
            let acknowledged = started.elapsed();
            self.until_done(&numbers).await?;
            anyhow::Ok((waited, acknowledged, started.elapsed()))
        };
        let mut resident = None;
        let watched = async {
            loop {
                resident = resident.max(self.resident());
                tokio::time::sleep(SAMPLED_EVERY).await;
            }
        };
        let done = tokio::select! { done = work => done, () = watched => unreachable!("it never ends") };
        let (waited, acknowledged, completed) = done.with_context(|| format!("`{}`", self.kind.name()))?;
        let busy = self.worked().zip(worked).map(|(after, before)| after.saturating_sub(before));
        Ok(Sent { count, acknowledged, completed, waited, resident, busy })
    }

    async fn until_done(&self, numbers: &Range<u32>) -> anyhow::Result<()> {
        let mut calls = self.platform.calls();
        while calls < u64::from(numbers.end) {
            let more = tokio::time::timeout(PATIENCE, self.platform.until(calls + 1)).await;
            let what = || format!("{calls} calls of the platform after {} webhooks, and no more", numbers.end);
            more.with_context(what)??;
            calls = self.platform.calls();
        }
        match self.process.admin {
            Some(admin) => host::until_done(admin, numbers.end).await,
            None => Ok(()),
        }
    }

    /// The processor's time that all its processes took so far.
    fn worked(&self) -> Option<Duration> {
        self.process.pids.iter().map(|pid| worked(*pid)).sum()
    }

    /// What is resident of all its processes, in bytes.
    pub(crate) fn resident(&self) -> Option<u64> {
        self.process.pids.iter().map(|pid| resident(*pid)).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended by itself when it cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn worked(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    // Behind the program's name, which may hold spaces; its own time and the system's are the 14th and 15th value.
    let (_, behind) = stat.rsplit_once(')')?;
    let ticks: Option<Vec<u64>> = behind.split_whitespace().skip(11).take(2).map(|value| value.parse().ok()).collect();
    Some(Duration::from_millis(ticks?.iter().sum::<u64>() * 1_000 / TICKS_PER_SECOND))
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status"))).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
