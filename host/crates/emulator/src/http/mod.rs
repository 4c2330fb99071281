//! The doors: which request is for which shop, and who asks.
//!
//! A shop is found by the `Host` header, as on the platform, or by the first part of the path for clients that cannot set
//! it. Everything else is for the emulator's own page, which answers nobody but this machine.

mod admin;
mod json_api;
mod page;
mod rest;
mod rest_input;
mod rest_list;
mod template;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::limits::REQUEST_BYTES_MAX;
use crate::world::Hub;

/// A shop's domain, found in the request.
#[derive(Clone, Debug)]
struct ShopDomain(String);

#[derive(Clone)]
struct Doors {
    admin: Router,
    own: Router,
}

/// Everything that the emulator answers.
pub(crate) fn router(hub: &Arc<Hub>) -> Router {
    let own = page::router(hub).merge(json_api::router(hub));
    let doors = Doors { admin: admin::router(hub), own };
    Router::new().fallback(enter).with_state(doors)
}

async fn enter(State(doors): State<Doors>, mut request: Request) -> Response {
    if let Some((domain, path)) = shop_of(&request) {
        *request.uri_mut() = path;
        request.extensions_mut().insert(ShopDomain(domain));
        return into_response(doors.admin.oneshot(request).await);
    }
    if !is_from_here(request.headers()) {
        let message = "the emulator's page answers this machine alone; hint: open it as `http://127.0.0.1`, or name a shop \
                       of it in `Host`";
        return Refusal::new(StatusCode::FORBIDDEN, json!(message)).into_response();
    }
    into_response(doors.own.oneshot(request).await)
}

/// A router never fails.
fn into_response(result: Result<Response, std::convert::Infallible>) -> Response {
    match result {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The shop that a request is for, and the rest of its path.
fn shop_of(request: &Request) -> Option<(String, Uri)> {
    let is_shop = |name: &str| name.ends_with(".myshopify.com");
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if is_shop(&host) {
        return Some((host, request.uri().clone()));
    }
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let (domain, rest) = path.strip_prefix('/')?.split_once('/')?;
    let rest = format!("/{rest}").parse().ok()?;
    is_shop(domain).then(|| (domain.to_ascii_lowercase(), rest))
}

/// A page of another site can make a browser ask this machine: by a name of its own, or with a form. Neither is answered.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let is_here = |address: &str| {
        let name = address.rsplit_once(':').map_or(address, |(name, _)| name);
        matches!(name, "127.0.0.1" | "localhost" | "[::1]")
    };
    text(HOST).is_some_and(is_here)
        && text(ORIGIN).is_none_or(|origin| origin.strip_prefix("http://").is_some_and(is_here))
}

/// An answer that is an error, in the platform's shape.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    errors: Value,
}

impl Refusal {
    fn new(status: StatusCode, errors: Value) -> Self {
        Self { status, errors }
    }

    fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, json!("Not Found"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errors": self.errors }).to_string();
        (self.status, [(CONTENT_TYPE, JSON)], body).into_response()
    }
}

/// What a JSON answer says that it is.
const JSON: &str = "application/json; charset=utf-8";

/// A request's body as a JSON value, or what is wrong with it.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = bytes(body).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, json!(format!("the body does not fit: {error}"))))
}

/// A request's body, if it is not too long.
async fn bytes(body: Body) -> Result<axum::body::Bytes, Refusal> {
    let too_long = |_| {
        let message = format!("the body is longer than {REQUEST_BYTES_MAX} bytes, or broke off");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, json!(message))
    };
    to_bytes(body, REQUEST_BYTES_MAX).await.map_err(too_long)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::HeaderMap;

    use super::{is_from_here, shop_of};

    #[test]
    fn a_shop_is_found_in_the_host_or_in_the_path() {
        let cases = [
            ("hats.myshopify.com:80", "/admin/x?a=1", Some(("hats.myshopify.com", "/admin/x?a=1"))),
            ("127.0.0.1:9", "/Hats.myshopify.com/admin/x?a=1", Some(("hats.myshopify.com", "/admin/x?a=1"))),
            ("127.0.0.1:9", "/shops/hats.myshopify.com", None),
            ("127.0.0.1:9", "/", None),
        ];
        for (host, path, expected) in cases {
            let request = Request::builder().uri(path).header("host", host).body(Body::empty()).unwrap();
            let found = shop_of(&request).map(|(domain, path)| (domain, path.to_string()));
            assert_eq!(found, expected.map(|(domain, path)| (domain.to_owned(), path.to_owned())), "{host} {path}");
        }
    }

    #[test]
    fn the_page_is_for_this_machine() {
        let cases = [
            ("127.0.0.1:4000", None, true),
            ("localhost", Some("http://localhost:4000"), true),
            ("evil.example", None, false),
            ("127.0.0.1:4000", Some("http://evil.example"), false),
            ("127.0.0.1:4000", Some("null"), false),
        ];
        for (host, origin, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("host", host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert("origin", origin.parse().unwrap());
            }
            assert_eq!(is_from_here(&headers), expected, "{host} {origin:?}");
        }
    }
}
