//! Everything that goes wrong in a sandbox at once.
//!
//! Several shops call good plugins in one sandbox while hostile ones, cancelled ones and damaged components go through it.
//! Every end is compared with what is expected. The same seed makes the same choices; how they interleave is the machine's
//! business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tradewind_runtime::session::{ClientShop, Platform};
use tradewind_runtime::{ArtifactCache, Failure, Grants, Limits, Plugin, Runtime, RuntimeConfig};

use super::Report;
use super::memory::resident_bytes;
use crate::{Fixture, artifacts_folder, install, plugin};

const GOOD_WORKERS: u64 = 4;
const HOSTILE_WORKERS: u64 = 4;
/// One: each compiles, which takes a core.
const MUTATING_WORKERS: u64 = 1;
const WORKERS: u64 = GOOD_WORKERS + HOSTILE_WORKERS + MUTATING_WORKERS;

/// How much the process may grow between the end of the warm-up and the end. 256 MiB: a pool's warm slots and the
/// allocator's arenas fill up once; a leak of a kilobyte a call passes this within minutes.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

/// How often the counts are printed.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// How long the last calls may take. A minute: compiling a damaged component takes seconds on a slow machine.
const ENDED_WITHIN: Duration = Duration::from_mins(1);

/// Hostile actions and the words that their end contains. The limits are low, so that many fit into a second.
const HOSTILE: [(&str, &str); 14] = [
    ("endless-loop", "cpu_ms_max"),
    ("endless-recursion", "stack_bytes_max"),
    ("large-frames", "out of bounds"),
    ("memory-bomb", "memory_bytes_max"),
    ("log-flood", "log_bytes_max"),
    ("stderr-flood", "log_bytes_max"),
    ("host-call-flood", "host_calls_max"),
    ("resource-flood", "resources_max"),
    ("huge-result", "result_bytes_max"),
    ("huge-answer", "call_bytes_max"),
    ("hoard", "kept_bytes_max"),
    ("panic", "the kettle is empty"),
    ("trap", "unreachable"),
    ("use-after-drop", "unknown handle index"),
];

#[derive(Default)]
struct Counts {
    good: AtomicU64,
    hostile: AtomicU64,
    cancelled: AtomicU64,
    mutated: AtomicU64,
    installed: AtomicU64,
    failures: AtomicU64,
}

/// What all workers share.
struct Run {
    runtime: Runtime,
    tagger: Plugin,
    hostile: Plugin,
    component: Vec<u8>,
    until: Instant,
    counts: Counts,
}

/// Goes on for so long.
#[expect(clippy::print_stdout, reason = "a program for people")]
pub async fn run(length: Duration, seed: u64) -> anyhow::Result<Report> {
    let run = Arc::new(prepare(length).await?);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let run = Arc::clone(&run);
        // Each worker has choices of its own, so that the same seed means the same choices whoever is faster.
        let rng = StdRng::seed_from_u64(seed ^ (worker << 32));
        match worker {
            worker if worker < GOOD_WORKERS => workers.spawn(async move { run.good(rng, worker).await }),
            worker if worker < GOOD_WORKERS + HOSTILE_WORKERS => workers.spawn(async move { run.hostile(rng).await }),
            _ => workers.spawn(async move { run.mutate(rng).await }),
        };
    }
    let mut first = None;
    while tokio::time::timeout(REPORT_EVERY, ended(&mut workers, &run)).await.is_err() {
        first = first.or_else(resident_bytes);
        println!("  {}", run.counts.line());
        // Whoever has not ended by then never will.
        if Instant::now() > run.until + ENDED_WITHIN {
            run.unexpected("a worker did not come to its end");
            break;
        }
    }
    if let (Some(first), Some(last)) = (first, resident_bytes()) {
        println!("  resident memory: {} MiB after the warm-up, {} MiB at the end", first >> 20, last >> 20);
        if last.saturating_sub(first) > GROWTH_BYTES_MAX {
            run.unexpected(&format!("memory grew by {} MiB", (last - first) >> 20));
        }
    }
    let Counts { good, hostile, mutated, failures, .. } = &run.counts;
    let [good, hostile, mutated, failures] = [good, hostile, mutated, failures].map(|n| n.load(Ordering::Relaxed));
    let did = format!("{good} good calls, {hostile} hostile calls, {mutated} mutated components");
    Ok(Report { did, failures })
}

async fn ended(workers: &mut JoinSet<anyhow::Result<()>>, run: &Run) {
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => run.unexpected(&format!("a worker ended early: {error:#}")),
            Err(error) => run.unexpected(&format!("a worker panicked: {error}")),
        }
    }
}

async fn prepare(length: Duration) -> anyhow::Result<Run> {
    let config = RuntimeConfig { slots: 64, sandbox_bytes_max: 1 << 30, ..RuntimeConfig::default() };
    let runtime = Runtime::new(config, ArtifactCache::in_folder(&artifacts_folder()?)?)?;
    let tagger = install(&runtime, "product-tagger").await?;
    // A loop ends soon, and everything else well before a loop would.
    let limits = Limits {
        cpu_ms_max: 200,
        host_calls_max: 10_000,
        memory_bytes_max: 32 << 20,
        kept_bytes_max: 8 << 20,
        ..Limits::default()
    };
    let hostile = install(&runtime, "hostile").await?.with_limits(limits)?;
    let component = plugin("product-tagger")?;
    Ok(Run { runtime, tagger, hostile, component, until: Instant::now() + length, counts: Counts::default() })
}

impl Run {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    #[expect(clippy::print_stdout, reason = "a program for people")]
    fn unexpected(&self, what: &str) {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        println!("  NOT AS EXPECTED: {what}");
    }

    /// A shop whose products change, one after the other: each call has to succeed.
    async fn good(&self, mut rng: StdRng, shop: u64) -> anyhow::Result<()> {
        while self.goes_on() {
            let number: u16 = rng.random();
            let incoming = format!(r#"{{"body":"word{number}"}}"#);
            let call = Fixture::new("tag-product").product("null", &incoming).shop(Some(ClientShop {
                platform: Platform::Shopify,
                id: shop.to_string(),
                name: format!("shop-{shop}"),
            }));
            let expected = format!(r#"{{"keywords":["word{number}"]}}"#);
            match call.call_in(&self.runtime, &self.tagger).await.result {
                Ok(result) if result.as_str() == expected => {}
                Ok(result) => self.unexpected(&format!("a good call answered {result} and not {expected}")),
                Err(failure) => self.unexpected(&format!("a good call failed: {failure}")),
            }
            self.counts.good.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Hostile calls, every fourth of which is dropped before it ends.
    async fn hostile(&self, mut rng: StdRng) -> anyhow::Result<()> {
        while self.goes_on() {
            let (action, says) = HOSTILE.choose(&mut rng).context("a table that is not empty")?;
            let incoming = format!(r#"{{"body":"{}"}}"#, "x".repeat(10_000));
            let call = Fixture::new(action).product("null", &incoming).call_in(&self.runtime, &self.hostile);
            let patience = Duration::from_millis(rng.random_range(0..30));
            if rng.random_ratio(1, 4) {
                if tokio::time::timeout(patience, call).await.is_err() {
                    self.counts.cancelled.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            match call.await.result {
                Err(Failure::Host(reason)) => self.unexpected(&format!("`{action}` broke the host: {reason}")),
                Err(failure) if failure.to_string().contains(says) => {}
                Err(failure) => self.unexpected(&format!("`{action}` ended as: {failure}")),
                Ok(result) => self.unexpected(&format!("`{action}` ended well: {result}")),
            }
            self.counts.hostile.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Damaged components: refused with reasons, or installed and then called; both are fine, a crash or silence is not.
    async fn mutate(&self, mut rng: StdRng) -> anyhow::Result<()> {
        // A sandbox that keeps no artifacts and has short limits: what is left of a component may do anything.
        let limits = Limits { cpu_ms_max: 50, wall_ms_max: 500, ..Limits::default() };
        let config = RuntimeConfig { limits, slots: 2, ..RuntimeConfig::default() };
        let runtime = Runtime::new(config, ArtifactCache::none())?;
        while self.goes_on() {
            let bytes = damaged(&self.component, &mut rng);
            match runtime.install(bytes, Grants::usual()).await {
                Ok(plugin) => {
                    self.counts.installed.fetch_add(1, Ordering::Relaxed);
                    let call = Fixture::new("tag-product").product("null", r#"{"body":"Straw hats"}"#);
                    if let Err(Failure::Host(reason)) = call.call_in(&runtime, &plugin).await.result
                        && plugin.action("tag-product").is_some()
                    {
                        self.unexpected(&format!("a damaged component broke the host: {reason}"));
                    }
                }
                Err(error) if error.problems.is_empty() => self.unexpected("a component was refused without a reason"),
                Err(_) => {}
            }
            self.counts.mutated.fetch_add(1, Ordering::Relaxed);
        }
        ensure!(!self.component.is_empty(), "there was nothing to damage");
        Ok(())
    }
}

/// The component with some bits flipped, cut off, or with a piece of itself in another place.
fn damaged(component: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = component.to_vec();
    match rng.random_range(0..4) {
        0 => bytes.truncate(rng.random_range(0..bytes.len())),
        1 => {
            let length = rng.random_range(1..256);
            let [from, to] = [(); 2].map(|()| rng.random_range(0..bytes.len() - length));
            bytes.copy_within(from..from + length, to);
        }
        // Most bits are data or code that only this call reaches: such components are often installed.
        _ => {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
        }
    }
    bytes
}

impl Counts {
    fn line(&self) -> String {
        let Self { good, hostile, cancelled, mutated, installed, failures } = self;
        let [good, hostile, cancelled, mutated, installed, failures] =
            [good, hostile, cancelled, mutated, installed, failures].map(|count| count.load(Ordering::Relaxed));
        format!(
            "{good} good, {hostile} hostile, {cancelled} cancelled, {mutated} mutated of which {installed} installed, \
             {failures} failures"
        )
    }
}
