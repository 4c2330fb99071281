//! Deletes what is older than it is kept: deliveries, the log of invocations, the host's own notes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tradewind_store::Store;

use crate::config::Limits;
use crate::pipeline::Clock;

/// How often what is old is looked for. 10 minutes: what a day holds goes in a hundred small parts.
const PRUNE_EVERY: Duration = Duration::from_mins(10);

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A task that deletes what is old.
pub(super) struct Retention {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Retention {
    pub(super) fn start(store: Arc<Store>, clock: Arc<dyn Clock>, limits: &Limits) -> Self {
        let days = |days: u64| i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY_MS);
        let kept = (days(limits.deliveries_days), days(limits.invocations_days), days(limits.tombstones_days));
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut turns = interval(PRUNE_EVERY);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    _ = turns.tick() => {}
                }
                let now_ms = i64::try_from(clock.now().as_millis()).unwrap_or(i64::MAX);
                // What is not deleted when the host stops is deleted next time.
                let pruned = tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    pruned = store.prune(now_ms - kept.0, now_ms - kept.1, now_ms - kept.2) => pruned,
                };
                match pruned {
                    Ok(0) => {}
                    Ok(pruned) => tracing::info!(pruned, "what is old was deleted"),
                    // The next turn tries again.
                    Err(error) => tracing::warn!(%error, "what is old could not be deleted"),
                }
            }
        });
        Self { stop, task }
    }

    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // An error is a panic of the task, and it has ended all the same.
        let _ = self.task.await;
    }
}
