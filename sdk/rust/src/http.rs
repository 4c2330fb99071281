//! HTTP to third parties: only to hosts that the operator granted.
//!
//! `wrong-phase` in `run` for every method but GET, HEAD and OPTIONS: what was sent cannot be taken back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{http as host, text};
use crate::{Error, Result};

/// A request. `Request::get(url)` and `Request::post(url)` begin one.
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// A response, whatever its status.
pub struct Response(host::Response);

impl Request {
    /// A request with any method.
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_ascii_uppercase(), url: url.to_owned(), headers: Vec::new(), body: None }
    }

    /// A GET request.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body to a value as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        Ok(self.header("content-type", "application/json").body(text(value)?))
    }

    /// Sends it and waits for the whole response.
    pub fn send(self) -> Result<Response> {
        Ok(Response(host::send(&self.method, &self.url, &self.headers, self.body.as_deref(), "null")?))
    }
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        self.0.body()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        self.0.text()
    }

    /// The body as a Rust type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(&self.0.text())?)
    }

    /// The response itself when its status is 2xx, else the error `http-status`.
    pub fn ok(self) -> Result<Self> {
        match self.status() {
            200..=299 => Ok(self),
            status => Err(Error::new("http-status", format_args!("the server answered {status}"))),
        }
    }
}
