//! One request over HTTP and its whole answer, or how it failed: above all, whether the platform may have seen it.

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout_at};

use super::error::PlatformError;
use super::limits::{ATTEMPT_MAX, CONNECT_MAX, CONNECTION_IDLE_MAX, RESPONSE_BYTES_MAX};

const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-shopify-access-token");

/// The connections of the process.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no connection: the platform saw nothing.
    Unsent(reqwest::Error),
    /// It was sent, or a part of it, and what came back is not a whole answer.
    Lost(&'static str),
    /// The answer is larger than [`RESPONSE_BYTES_MAX`].
    TooLarge(u16),
}

impl Failure {
    /// Whether the platform saw nothing of it.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Unsent(_))
    }
}

/// The HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS; hint: install the system's certificates (the package `ca-certificates`)")]
pub struct SetupError(#[source] reqwest::Error);

impl Transport {
    pub(super) fn new(user_agent: &str) -> Result<Self, SetupError> {
        install_tls();
        let client = reqwest::Client::builder()
            .user_agent(user_agent)
            // A redirect would take the token to wherever it says.
            .redirect(redirect::Policy::none())
            // The environment is not ours to read: a proxy would be a setting.
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(CONNECTION_IDLE_MAX)
            .build();
        Ok(Self { client: client.map_err(SetupError)? })
    }

    /// Sends a request and reads its answer, until the deadline and no longer than one attempt may take.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        token: &HeaderValue,
        body: Option<&Bytes>,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let deadline = deadline.min(Instant::now() + ATTEMPT_MAX);
        let mut request = self.client.request(method.clone(), url.clone()).header(ACCESS_TOKEN, token);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let whole = async {
            let response = request.send().await.map_err(|error| {
                // The address is the caller's to name, and may have a query.
                if error.is_connect() { Failure::Unsent(error.without_url()) } else { Failure::Lost(LOST) }
            })?;
            read(response).await
        };
        timeout_at(deadline, whole).await.unwrap_or(Err(Failure::Lost("no answer in time")))
    }
}

const LOST: &str = "the connection broke";

async fn read(mut response: reqwest::Response) -> Result<Response, Failure> {
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Lost(LOST))? {
        if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return Err(Failure::TooLarge(status));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, headers, body: body.freeze() })
}

/// Makes the TLS that the process has already the one that new HTTP clients take. Does nothing the second time, or when the
/// program chose another.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The token as a header that no debug output shows.
pub(super) fn token_header(token: &SecretString) -> Result<HeaderValue, PlatformError> {
    let mut header = HeaderValue::from_str(token.expose_secret())
        .map_err(|_| PlatformError::invalid("the access token is not one; hint: connect the shop again"))?;
    header.set_sensitive(true);
    Ok(header)
}
