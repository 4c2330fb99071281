//! Deletes what is older than it is kept: deliveries, the log of invocations, the host's own notes. Counts what shops keep
//! again, a few shops at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tradewind_model::Shop;
use tradewind_store::{Store, StoreError, Usage};

use crate::config::Limits;
use crate::pipeline::Clock;

/// How often what is old is looked for. 10 minutes: what a day holds goes in a hundred small parts.
const PRUNE_EVERY: Duration = Duration::from_mins(10);

/// Shops whose usage is counted again after each look. 20: some 3,000 a day. Only changes by hand make counters wrong, so
/// that is soon enough.
const RECOUNTED_SHOPS: u32 = 20;

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
            let mut recounted = None;
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
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    counted = recount(&store, &mut recounted) => if let Err(error) = counted {
                        tracing::warn!(%error, "what shops keep could not be counted");
                    }
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

/// Counts what the next shops behind `after` keep, and puts their counters right. Begins anew behind the last one.
async fn recount(store: &Store, after: &mut Option<Shop>) -> Result<(), StoreError> {
    let shops = store.shops_with_usage(after.as_ref(), RECOUNTED_SHOPS).await?;
    for shop in &shops {
        let counted = store.recount(shop).await?;
        if counted.drift != Usage::default() {
            tracing::warn!(%shop, drift = ?counted.drift, "the counters of a shop's usage were put right");
        }
    }
    *after = shops.into_iter().nth(RECOUNTED_SHOPS as usize - 1);
    Ok(())
}
