//! The doors: which request is for which shop.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;

use crate::world::Hub;

/// Everything that the emulator answers.
pub(crate) fn router(hub: Arc<Hub>) -> Router {
    Router::new().fallback(|| async { StatusCode::NOT_FOUND }).with_state(hub)
}
