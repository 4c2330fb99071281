//! The operators' door: is it alive, is it ready, what does it do.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tradewind_store::Store;

use super::metrics::Metrics;
use crate::scheduler::Scheduler;

struct Admin {
    store: Arc<Store>,
    scheduler: Arc<Scheduler>,
    metrics: Arc<Metrics>,
}

pub(super) fn router(store: Arc<Store>, scheduler: Arc<Scheduler>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/health", get(async || "alive\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(Arc::new(Admin { store, scheduler, metrics }))
}

/// Ready: the store answers and the scheduler is at work.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let stats = admin.scheduler.stats();
    if !stats.alive {
        return (StatusCode::SERVICE_UNAVAILABLE, "the scheduler has ended\n").into_response();
    }
    match admin.store.ping().await {
        Ok(()) => format!("ready: {} partitions\n", stats.partitions).into_response(),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the store does not answer: {error}\n")).into_response()
        }
    }
}

async fn metrics_text(State(admin): State<Arc<Admin>>) -> Response {
    let text = admin.metrics.text(&admin.scheduler.stats(), admin.store.commits_waiting());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
