//! What an answer means: a result, a failure, or another try after a pause. Decisions only; nothing is sent here.
//!
//! What may be tried again: what was refused before it was done (no connection, 429, `THROTTLED`, 521, and 413 with a time to
//! come back), always. What may have been done (a broken connection, 408, 500, 502, 503, 504, 522, 524), only when doing it
//! twice is doing it once.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, LOCATION};
use tradewind_model::Json;

use super::error::PlatformError;
use super::limits::{ERRORS_BYTES_MAX, EXCERPT_BYTES_MAX, PAUSE, PAUSE_UNREACHABLE};
use super::report::Api;
use super::request::Request;
use super::told::{Cost, retry_after};
use super::transport::{Failure, Response};

/// What becomes of a call after one attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is done.
    Done(Answer),
    /// It is tried again after a pause; when there is no time or no try left, this is the error.
    Again { after: Duration, error: PlatformError },
    /// The result will be elsewhere after a pause.
    Poll { url: Box<Url>, after: Duration, error: PlatformError },
    /// It failed.
    Failed(PlatformError),
}

/// A good answer. For GraphQL `body` is its `data`.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Json,
    pub(super) headers: HeaderMap,
}

/// What follows from a failure to get an answer.
pub(super) fn of_failure(request: &Request, failure: Failure) -> Verdict {
    match failure {
        Failure::Unsent(source) => {
            let error = PlatformError::Unreachable { host: request.host(), source };
            Verdict::Again { after: PAUSE_UNREACHABLE, error }
        }
        Failure::Lost(what) if request.repeatable => {
            let error = PlatformError::NoAnswer { host: request.host(), what };
            Verdict::Again { after: PAUSE_UNREACHABLE, error }
        }
        Failure::Lost(what) => {
            Verdict::Failed(PlatformError::InDoubt { what: what.to_owned(), status: None, errors: Json::null() })
        }
        Failure::TooLarge(status) => Verdict::Failed(PlatformError::too_large(status)),
    }
}

/// What follows from an answer. `cost` is what a GraphQL answer said of its cost.
pub(super) fn of_response(request: &Request, response: Response, body: Option<&Json>, cost: &Cost) -> Verdict {
    let Response { status, headers, body: bytes } = response;
    match status {
        202 if headers.contains_key(LOCATION) => poll(request, &headers),
        200..=299 => match (request.api, body) {
            (Api::Graphql, Some(body)) => graphql(request, status, &headers, body, cost),
            (Api::Rest, Some(body)) => Verdict::Done(Answer { body: body.clone(), headers }),
            (Api::Rest, None) if bytes.trim_ascii().is_empty() => Verdict::Done(Answer { body: Json::null(), headers }),
            (_, None) => Verdict::Failed(PlatformError::Unreadable {
                status,
                problem: format!("it is not JSON: {}", excerpt(&bytes)),
            }),
        },
        429 => {
            let after = retry_after(&headers).or_else(|| cost.wait()).unwrap_or(PAUSE);
            let error = PlatformError::RateLimited { api: request.api.as_str(), wait: after, status: Some(status) };
            Verdict::Again { after, error }
        }
        408 | 500 | 502 | 503 | 504 | 522 | 524 if !request.repeatable => {
            let what = format!("status {status}");
            Verdict::Failed(PlatformError::InDoubt { what, status: Some(status), errors: errors(body, &bytes) })
        }
        408 | 500 | 502 | 503 | 504 | 521 | 522 | 524 => unavailable(status, &headers, errors(body, &bytes)),
        413 if retry_after(&headers).is_some() => unavailable(status, &headers, errors(body, &bytes)),
        _ => Verdict::Failed(PlatformError::Refused { status, errors: errors(body, &bytes) }),
    }
}

fn unavailable(status: u16, headers: &HeaderMap, errors: Json) -> Verdict {
    let retry_after = retry_after(headers);
    let error = PlatformError::Unavailable { status, errors, retry_after };
    Verdict::Again { after: retry_after.unwrap_or(PAUSE), error }
}

/// 202 with `Location`: the platform works on it, and says where to ask. The place must be on the same shop's API.
fn poll(request: &Request, headers: &HeaderMap) -> Verdict {
    let status = 202;
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let url = location.and_then(|location| request.url.join(location).ok()).filter(|url| request.is_beside(url));
    let Some(url) = url else {
        let problem = "it says to look elsewhere, and not at the shop's API".to_owned();
        return Verdict::Failed(PlatformError::Unreadable { status, problem });
    };
    let after = retry_after(headers).unwrap_or(PAUSE);
    // What was accepted will be done: asking for it again would do it twice.
    let error = PlatformError::InDoubt {
        what: "it is still working on it".to_owned(),
        status: Some(status),
        errors: Json::null(),
    };
    Verdict::Poll { url: Box::new(url), after, error }
}

fn graphql(request: &Request, status: u16, headers: &HeaderMap, body: &Json, cost: &Cost) -> Verdict {
    let data = body.member("data").unwrap_or_else(Json::null);
    let errors = body.member("errors").filter(|errors| !matches!(errors.as_str(), "null" | "[]"));
    let Some(errors) = errors else {
        if body.member("data").is_none() {
            let problem = "it has neither `data` nor `errors`".to_owned();
            return Verdict::Failed(PlatformError::Unreadable { status, problem });
        }
        return match user_errors(request, &data) {
            Some(user_errors) => Verdict::Failed(PlatformError::UserErrors { status, user_errors, data }),
            None => Verdict::Done(Answer { body: data, headers: headers.clone() }),
        };
    };
    // Where there is data, something was done.
    let nothing_done = data.is_null() || request.repeatable;
    if nothing_done && has_code(&errors, "THROTTLED") {
        let after = retry_after(headers).or_else(|| cost.wait()).unwrap_or(PAUSE);
        let error = PlatformError::RateLimited { api: request.api.as_str(), wait: after, status: Some(status) };
        return Verdict::Again { after, error };
    }
    if request.repeatable && has_code(&errors, "INTERNAL_SERVER_ERROR") {
        return unavailable(status, headers, errors);
    }
    Verdict::Failed(PlatformError::Graphql { status, errors, data })
}

/// Whether one of the errors has the code. Messages are for people and change.
fn has_code(errors: &Json, code: &str) -> bool {
    let errors: Vec<Json> = errors.to().unwrap_or_default();
    errors.iter().any(|error| {
        let found = error.member("extensions").and_then(|extensions| extensions.member("code"));
        found.and_then(|found| found.to::<String>().ok()).as_deref() == Some(code)
    })
}

/// All `userErrors` of a mutation's fields, and what some call `mediaUserErrors` and the like; none when there are none.
fn user_errors(request: &Request, data: &Json) -> Option<Json> {
    if !request.writes {
        return None;
    }
    let mut found: Vec<Json> = Vec::new();
    for (_, payload) in data.members().unwrap_or_default() {
        for (name, errors) in payload.members().unwrap_or_default() {
            if name == "userErrors" || name.ends_with("UserErrors") {
                found.extend(errors.to::<Vec<Json>>().unwrap_or_default());
            }
        }
    }
    if found.is_empty() { None } else { Json::of(&found).ok() }
}

/// What an answer says of why: `errors` or `error` of its body, the body, or the beginning of a text.
fn errors(body: Option<&Json>, bytes: &[u8]) -> Json {
    let Some(body) = body.filter(|body| body.as_str().len() <= ERRORS_BYTES_MAX) else {
        return if bytes.is_empty() {
            Json::null()
        } else {
            Json::of(&excerpt(bytes)).unwrap_or_else(|_| Json::null())
        };
    };
    body.member("errors").or_else(|| body.member("error")).unwrap_or_else(|| body.clone())
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT_BYTES_MAX)]).into_owned()
}
