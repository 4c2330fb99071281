//! The Admin APIs of a shop: who asks, in which version, and how much of the REST budget is left.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;

use super::{JSON, Refusal, ShopDomain, read, rest};
use crate::event::Event;
use crate::graphql::{Api, Call, Posted};
use crate::version;
use crate::world::Hub;

/// What all of a shop's requests need.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) hub: Arc<Hub>,
    graphql: Arc<Api>,
}

/// The paths of a shop.
pub(super) fn router(hub: &Arc<Hub>) -> Router {
    let admin = Admin { hub: Arc::clone(hub), graphql: Arc::new(Api::new()) };
    let versioned = rest::router().route("/graphql.json", post(graphql));
    Router::new().nest("/admin/api/{version}", versioned).fallback(|| async { Refusal::not_found() }).with_state(admin)
}

/// An app that showed its token, in a shop.
pub(super) struct Caller {
    pub(super) call: Call,
    /// Method and path, for the live feed.
    pub(super) what: String,
}

impl FromRequestParts<Admin> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Refusal> {
        let Some(ShopDomain(shop)) = parts.extensions.get::<ShopDomain>().cloned() else {
            return Err(Refusal::not_found());
        };
        let params = RawPathParams::from_request_parts(parts, admin).await.map_err(|_| Refusal::not_found())?;
        let requested = params.iter().find(|(name, _)| *name == "version").map(|(_, value)| value);
        let version = requested.and_then(version::answering).ok_or_else(Refusal::not_found)?;
        let token = parts.headers.get("X-Shopify-Access-Token").and_then(|token| token.to_str().ok());
        let app = {
            let mut world = admin.hub.world();
            let installations = &world.shop(&shop).map_err(|_| Refusal::not_found())?.installations;
            let known = installations.iter().find(|(_, known)| token == Some(known.token.as_str()));
            known.map(|(app, _)| app.clone())
        };
        let message = "[API] Invalid API key or access token (unrecognized login or wrong password)";
        let app = app.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, json!(message)))?;
        let what = format!("{} {}", parts.method, parts.uri.path());
        Ok(Self { call: Call { hub: Arc::clone(&admin.hub), shop, app, version }, what })
    }
}

async fn graphql(State(admin): State<Admin>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let posted: Posted = read(body).await?;
    let version = caller.call.version;
    let answer = admin.graphql.answer(caller.call, posted).await;
    Ok(([("content-type", JSON), ("x-shopify-api-version", version)], answer).into_response())
}

/// What a REST request is answered with: a status, JSON text, and where the pages beside it are.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
    pub(super) link: Option<String>,
}

impl Answer {
    pub(super) fn ok(body: String) -> Self {
        Self { status: StatusCode::OK, body, link: None }
    }

    pub(super) fn created(body: String) -> Self {
        Self { status: StatusCode::CREATED, ..Self::ok(body) }
    }
}

impl Caller {
    /// Takes one request of the budget and answers; without one, `429`.
    pub(super) fn answer(&self, work: impl FnOnce(&Call) -> Result<Answer, Refusal>) -> Response {
        let call = &self.call;
        let Some((paid, used, size, per_second)) = self.pay() else { return Refusal::not_found().into_response() };
        let mut response = if paid {
            match work(call) {
                Ok(answer) => {
                    let mut response = (answer.status, [(CONTENT_TYPE, JSON)], answer.body).into_response();
                    if let Some(link) = answer.link.and_then(|link| HeaderValue::from_str(&link).ok()) {
                        response.headers_mut().insert("link", link);
                    }
                    response
                }
                Err(refusal) => refusal.into_response(),
            }
        } else {
            let message = format!(
                "Exceeded {per_second} calls per second for api client. Reduce request rates to resume uninterrupted service."
            );
            let mut response = Refusal::new(StatusCode::TOO_MANY_REQUESTS, json!(message)).into_response();
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2.0"));
            response
        };
        if let Ok(value) = HeaderValue::from_str(&format!("{used}/{size}")) {
            response.headers_mut().insert("x-shopify-shop-api-call-limit", value);
        }
        response.headers_mut().insert("x-shopify-api-version", HeaderValue::from_static(call.version));
        call.hub.tell(Event::Called {
            shop: call.shop.clone(),
            app: call.app.clone(),
            call: self.what.clone(),
            status: response.status().as_u16(),
            cost: u32::from(paid),
            left: size - used,
            throttled: !paid,
        });
        response
    }

    /// Whether there was a request left, how many of how many are used now, and how many come back in a second.
    fn pay(&self) -> Option<(bool, u32, u32, f64)> {
        let now = self.call.hub.clock.elapsed();
        let mut world = self.call.hub.world();
        let bucket = &mut world.installation(&self.call.shop, &self.call.app).ok()?.rest;
        let paid = bucket.take(1, now);
        let size = bucket.whole_size();
        Some((paid, size - bucket.whole(now), size, bucket.per_second()))
    }
}
