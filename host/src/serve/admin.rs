//! The operators' door: is it alive, is it ready, what does it do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Mutex;
use tradewind_store::Store;

use super::apps::Failed;
use super::metrics::{Kept, Metrics};
use crate::scheduler::Scheduler;

struct Admin {
    store: Arc<Store>,
    scheduler: Arc<Scheduler>,
    metrics: Arc<Metrics>,
    failed: Arc<Failed>,
    /// Usage of all shops, and the time at which it was read.
    kept: Mutex<Option<(Instant, Kept)>>,
}

/// Age of shown usage at which it is read again. 15 seconds: the usual interval of a scrape; reading goes through a row of
/// each shop.
const KEPT_AGE_MAX: Duration = Duration::from_secs(15);

pub(super) fn router(
    store: Arc<Store>,
    scheduler: Arc<Scheduler>,
    metrics: Arc<Metrics>,
    failed: Arc<Failed>,
) -> Router {
    Router::new()
        .route("/health", get(async || "alive\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(Arc::new(Admin { store, scheduler, metrics, failed, kept: Mutex::default() }))
}

/// Ready: the store answers and the scheduler is at work. An app that cannot be installed is named; the others are served.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let stats = admin.scheduler.stats();
    if !stats.alive {
        return (StatusCode::SERVICE_UNAVAILABLE, "the scheduler has ended\n").into_response();
    }
    match admin.store.ping().await {
        Ok(()) => {
            let failed = admin.failed.names();
            let failed = if failed.is_empty() {
                String::new()
            } else {
                format!("; apps that cannot be installed: `{}`", failed.join("`, `"))
            };
            format!("ready: {} partitions{failed}\n", stats.partitions).into_response()
        }
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the store does not answer: {error}\n")).into_response()
        }
    }
}

async fn metrics_text(State(admin): State<Arc<Admin>>) -> Response {
    let (stats, commits_waiting, failed) =
        (admin.scheduler.stats(), admin.store.commits_waiting(), admin.failed.names());
    let kept = admin.kept().await;
    let text = admin.metrics.text(&stats, commits_waiting, failed.len(), &kept);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

impl Admin {
    /// Usage of all shops. When the store does not answer, its last answer.
    async fn kept(&self) -> Kept {
        let mut known = self.kept.lock().await;
        let is_fresh = known.as_ref().is_some_and(|(at, _)| at.elapsed() < KEPT_AGE_MAX);
        if !is_fresh && let Some(kept) = self.read_kept().await {
            *known = Some((Instant::now(), kept));
        }
        let kept = known.as_ref().map(|(_, kept)| kept.clone()).unwrap_or_default();
        Kept { refusals: self.store.quota_refusals(), ..kept }
    }

    async fn read_kept(&self) -> Option<Kept> {
        let quotas = self.store.quotas()?;
        let usage = self.store.total_usage().await.ok()?;
        let fullest = self.store.fullest_shops(&quotas, None, None, 1).await.ok()?;
        let fullest_permille = fullest.first().map_or(0, |shop| shop.share_permille);
        Some(Kept { usage, fullest_permille, refusals: Vec::new() })
    }
}
