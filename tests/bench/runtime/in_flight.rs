//! How much memory the process holds while many invocations are in flight: each waits in a call to the platform until
//! all have arrived. Measured in a process of its own, in which nothing happened before.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tradewind_model::Json;
use tradewind_runtime::session::{Answer, ClientShop, LogEntry, Platform, PlatformCall, WhichShop};
use tradewind_runtime::{RuntimeConfig, Session};

use crate::subject::{About, Subject, check, shop};

/// What a process of its own found, in bytes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Held {
    /// Resident before the first invocation, the plugin loaded.
    pub(crate) at_rest: u64,
    /// Resident with all invocations in flight.
    pub(crate) in_flight: u64,
    /// Resident after all ended.
    pub(crate) afterwards: u64,
    /// The linear memories of one invocation, as the runtime counted them.
    pub(crate) linear_memory: u64,
}

/// Measures in a process of its own: this program with other arguments.
pub(crate) fn measure(plugin: &str, count: u32) -> anyhow::Result<Held> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--hold", &count.to_string(), "--plugin", plugin])
        .output()
        .context("cannot start the measuring process")?;
    if !output.status.success() {
        // Without the backtrace that may follow.
        bail!("{}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What that process does.
pub(crate) async fn hold(plugin: &str, count: u32) -> anyhow::Result<Held> {
    let subject = Arc::new(Subject::install(plugin, RuntimeConfig::default()).await?);
    let at_rest = resident_bytes()?;
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let mut calls = Vec::new();
    for _ in 0..count {
        let (subject, release, arrived) = (Arc::clone(&subject), Arc::clone(&release), arrived.clone());
        calls.push(tokio::spawn(async move {
            let invocation = subject.invocation(About::Success)?;
            let session = Box::new(Waiting { arrived, release });
            let outcome = subject.runtime.invoke(&subject.plugin, "shop", invocation, session).await;
            check(About::Success, &outcome)?;
            anyhow::Ok(outcome.usage.memory_peak_bytes)
        }));
    }
    for at in 0..count {
        let all = tokio::time::timeout(Duration::from_mins(1), arrivals.recv()).await;
        ensure!(matches!(all, Ok(Some(()))), "only {at} of {count} invocations are in flight");
    }
    let in_flight = resident_bytes()?;
    release.add_permits(count as usize);
    let mut linear_memory = 0;
    for call in calls {
        linear_memory = linear_memory.max(call.await??);
    }
    Ok(Held { at_rest, in_flight, afterwards: resident_bytes()?, linear_memory })
}

/// The process's resident memory.
fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("resident memory is read from `/proc`")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no `VmRSS`")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// Says that its call has arrived, and waits to be released.
struct Waiting {
    arrived: mpsc::UnboundedSender<()>,
    release: Arc<Semaphore>,
}

#[async_trait]
impl Session for Waiting {
    fn log(&mut self, _: LogEntry) {}

    async fn shop(&mut self, platform: Platform, _: WhichShop) -> Answer<Option<ClientShop>> {
        Ok(Some(shop(platform)))
    }

    async fn call(&mut self, _: &ClientShop, _: PlatformCall) -> Answer<Json> {
        // Nobody listens after a failure.
        let _ = self.arrived.send(());
        if let Ok(permit) = self.release.acquire().await {
            permit.forget();
        }
        Ok(Json::object([]))
    }
}
