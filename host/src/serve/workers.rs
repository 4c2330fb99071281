//! The threads on which attempts at jobs run: guests, and host calls that compute for them.
//!
//! They are an executor of their own, so that whatever a guest makes the host compute, everything else has its threads:
//! ingress, leases, the schedule, commits, health and shutdown.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for each processor. 2: as many as there are processors may compute for long, see the sandbox's turns of long calls,
/// and as many others are free for short calls, among which the system shares the processors.
const THREADS_PER_PROCESSOR: usize = 2;

/// Threads at least. 4: a machine with one processor is to answer one app while another one computes.
const THREADS_MIN: usize = 4;

/// How many polls pass before the executor looks at its timers. 8: deadlines hold while guests keep all threads busy.
const EVENT_INTERVAL: u32 = 8;

/// An executor for attempts. Dropping it abandons what runs.
pub(super) struct Workers(Option<Runtime>);

impl Workers {
    /// Starts the threads.
    pub(super) fn start() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors * THREADS_PER_PROCESSOR).max(THREADS_MIN);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("tradewind-work")
            .event_interval(EVENT_INTERVAL)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn attempts.
    pub(super) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A guest that computes is not waited for: its job runs again elsewhere.
            runtime.shutdown_background();
        }
    }
}

/// Shows that an executor makes progress: a number that its tasks raise.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Raises the number every `every`, on this executor, for as long as the executor runs.
    pub(super) fn beat_on(&self, executor: &Handle, every: Duration) {
        let pulse = self.clone();
        executor.spawn(async move {
            loop {
                pulse.0.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(every).await;
            }
        });
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
