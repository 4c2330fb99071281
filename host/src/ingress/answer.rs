//! What a platform is answered. The statuses are the platform's contract: it sends again whatever is not a 2xx.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use tradewind_platform::shopify::Refusal;

/// How long a platform is asked to wait, in seconds. 5: a store that is only busy has caught up by then.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is on disk and will be processed.
    Accepted {
        /// The delivery's number.
        seq: i64,
    },
    /// It was here before.
    Duplicate,
    /// There is no such app, connection, shop or topic.
    Unknown(String),
    /// It is not a webhook that could be read.
    Malformed(String),
    /// Somebody else signed it.
    Unsigned(String),
    /// It is larger than it may be.
    TooLarge {
        /// Bytes at most.
        max: u64,
    },
    /// It did not arrive in time.
    TooSlow,
    /// The sender went away.
    Broken(String),
    /// The store takes nothing now.
    Unavailable(String),
}

impl Answer {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Accepted { .. } | Self::Duplicate => StatusCode::OK,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Malformed(_) | Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::Unsigned(_) => StatusCode::UNAUTHORIZED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One word for metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Duplicate => "duplicate",
            Self::Unknown(_) => "unknown",
            Self::Malformed(_) => "malformed",
            Self::Unsigned(_) => "unsigned",
            Self::TooLarge { .. } => "too-large",
            Self::TooSlow => "too-slow",
            Self::Broken(_) => "broken",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// What was wrong; nothing when nothing was.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Accepted { .. } | Self::Duplicate => None,
            Self::Unknown(reason)
            | Self::Malformed(reason)
            | Self::Unsigned(reason)
            | Self::Broken(reason)
            | Self::Unavailable(reason) => Some(reason.clone()),
            Self::TooLarge { max } => Some(format!("the body has more than {max} bytes (`body_bytes_max`)")),
            Self::TooSlow => Some("the body did not arrive in time".to_owned()),
        }
    }

    /// The response. Says what was wrong to whoever sent it, which may be anybody: never what is here.
    pub fn response(&self) -> Response<Body> {
        let text = match self {
            Self::Accepted { .. } | Self::Duplicate => Body::empty(),
            // Why the store fails is the operator's business.
            Self::Unavailable(_) => Body::from("try again later\n"),
            other => Body::from(other.reason().unwrap_or_default() + "\n"),
        };
        let mut response = Response::new(text);
        *response.status_mut() = self.status();
        if matches!(self, Self::Unavailable(_)) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if matches!(self, Self::TooLarge { .. } | Self::TooSlow | Self::Broken(_)) {
            // What is left of the body is not read.
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongSignature => Self::Unsigned(refusal.to_string()),
            Refusal::NoBody
            | Refusal::NoSignature(_)
            | Refusal::TwoKinds
            | Refusal::NoHeaders(_)
            | Refusal::BadHeader { .. } => Self::Malformed(refusal.to_string()),
        }
    }
}
