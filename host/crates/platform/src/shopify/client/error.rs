//! What can go wrong with a call, whether it may be tried again, and what to do.
//!
//! Messages hold no token, no argument and no address with a query. To add a case, decide first whether the platform may
//! have done what it was asked: if so, and the call is not one that may be repeated, it is not retryable.

use std::time::Duration;

use tradewind_model::{ActionError, Json, code};

use super::limits::RESPONSE_BYTES_MAX;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The call cannot be made so. Nothing was sent.
    #[error("{problem}")]
    Invalid {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The budget has no room within the call's deadline, or the platform said so until then. What was asked for was not
    /// done.
    #[error(
        "the shop's {api} budget has room in {} ms, after the call's deadline; hint: try again then, or raise `timeoutMs`",
        wait.as_millis()
    )]
    RateLimited {
        /// `graphql` or `rest`.
        api: &'static str,
        /// How long to wait before there is room, as far as is known now.
        wait: Duration,
        /// 429 or 200 when the platform said so, none when it was not asked.
        status: Option<u16>,
    },
    /// The shop could not be reached. Nothing was sent.
    #[error("cannot connect to `{host}`; hint: see whether its name resolves and this host may connect to it")]
    Unreachable {
        /// The host and port.
        host: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// There was no whole answer, and asking again does no harm.
    #[error("no whole answer from `{host}` ({what}); hint: try again, or raise `timeoutMs`")]
    NoAnswer {
        /// The host and port.
        host: String,
        /// What came instead.
        what: &'static str,
    },
    /// The platform failed, or something on the way to it, and asking again does no harm.
    #[error("the platform answered with status {status}; hint: try again later")]
    Unavailable {
        /// The answer's status.
        status: u16,
        /// What it said.
        errors: Json,
        /// When it asked to be called again.
        retry_after: Option<Duration>,
    },
    /// A write was sent and there is no answer that says what became of it.
    #[error(
        "it is not known whether the platform did what it was asked ({what}); hint: look whether it did before asking \
         again, or make the call safe to repeat: `@idempotent(key: $idempotencyKey)` for mutations that take it"
    )]
    InDoubt {
        /// What came instead of an answer.
        what: String,
        /// The answer's status, if there was one.
        status: Option<u16>,
        /// What it said.
        errors: Json,
    },
    /// The platform refused the call by its status.
    #[error("the platform answered with status {status}: {}", refusal(*status))]
    Refused {
        /// The answer's status.
        status: u16,
        /// What it said.
        errors: Json,
    },
    /// The answer to a GraphQL operation has errors.
    #[error("{}", graphql_message(errors))]
    Graphql {
        /// The answer's status.
        status: u16,
        /// `errors` of the answer.
        errors: Json,
        /// `data` of the answer: what some fields did although others failed.
        data: Json,
    },
    /// A mutation answered with `userErrors`.
    #[error("{}", user_message(user_errors))]
    UserErrors {
        /// The answer's status.
        status: u16,
        /// All `userErrors` of the mutation's fields.
        user_errors: Json,
        /// `data` of the answer: what some fields did although others failed.
        data: Json,
    },
    /// The answer cannot be used. What was asked for may have been done.
    #[error("cannot use the platform's answer with status {status}: {problem}")]
    Unreadable {
        /// The answer's status.
        status: u16,
        /// Why not.
        problem: String,
    },
}

impl PlatformError {
    pub(super) fn invalid(problem: impl Into<String>) -> Self {
        Self::Invalid { problem: problem.into() }
    }

    pub(super) fn too_large(status: u16) -> Self {
        let problem =
            format!("it has more than {} MiB; hint: ask for fewer items or fields at once", RESPONSE_BYTES_MAX >> 20);
        Self::Unreadable { status, problem }
    }

    /// The code of the contract.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => code::INVALID_ARGUMENT,
            Self::RateLimited { .. } => code::RATE_LIMITED,
            Self::NoAnswer { .. } => code::TIMED_OUT,
            _ => code::PLATFORM_ERROR,
        }
    }

    /// Whether the same call may succeed later, and does no harm when it is made again.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. } | Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Unavailable { .. }
        )
    }

    /// How long to wait before trying again, when that is known: a job may sleep so long.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => Some(*wait),
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The last answer's status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Invalid { .. } | Self::Unreachable { .. } | Self::NoAnswer { .. } => None,
            Self::RateLimited { status, .. } | Self::InDoubt { status, .. } => *status,
            Self::Unavailable { status, .. }
            | Self::Refused { status, .. }
            | Self::Graphql { status, .. }
            | Self::UserErrors { status, .. }
            | Self::Unreadable { status, .. } => Some(*status),
        }
    }

    /// `{"status", "errors", "userErrors", "data"}`, each `null` when there is none. A rate limit has `retryAfterMs` besides.
    pub fn details(&self) -> Json {
        let null = Json::null();
        let status = self.status().and_then(|status| Json::of(&status).ok()).unwrap_or_else(Json::null);
        let (errors, user_errors, data) = match self {
            Self::Unavailable { errors, .. } | Self::Refused { errors, .. } | Self::InDoubt { errors, .. } => {
                (errors, &null, &null)
            }
            Self::Graphql { errors, data, .. } => (errors, &null, data),
            Self::UserErrors { user_errors, data, .. } => (&null, user_errors, data),
            _ => (&null, &null, &null),
        };
        let mut members = vec![("status", &status), ("errors", errors), ("userErrors", user_errors), ("data", data)];
        let after = self.retry_after().and_then(|wait| Json::of(&u64::try_from(wait.as_millis()).ok()?).ok());
        if let Some(after) = &after {
            members.push(("retryAfterMs", after));
        }
        Json::object(members)
    }
}

/// The error of the contract.
impl From<&PlatformError> for ActionError {
    fn from(error: &PlatformError) -> Self {
        let message = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {}", innermost(source)),
            None => error.to_string(),
        };
        let action_error = Self { retryable: error.retryable(), ..Self::permanent(error.code(), message) };
        match error {
            PlatformError::Invalid { .. } => action_error,
            _ => action_error.with_details(error.details()),
        }
    }
}

/// The last of a chain of errors: what the operating system or TLS said. Those between only repeat what was attempted.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// What to do about a status that will not change by itself.
fn refusal(status: u16) -> &'static str {
    match status {
        401 => "the access token is not valid, or the app was uninstalled; hint: connect the shop again",
        402 => "the shop is frozen; hint: its owner has to settle the shop's bill with Shopify",
        403 => "the app may not do this; hint: add the access scope that it needs and connect the shop again",
        404 => "there is no such record or path; hint: look at the id, the path and the API version",
        406 => "the path does not take this; hint: look at its ending, which is `.json`, and at the method",
        409 => "somebody else changed the record; hint: read it again and decide anew",
        413 => "the request is too large; hint: send less at once",
        422 => "the values are not valid; hint: `errors` says which",
        423 => "the shop is locked; hint: its owner has to ask Shopify to unlock it",
        430 => "Shopify takes the request for an attack; hint: ask less often and look at what is sent",
        300..=399 => "the path is elsewhere; hint: use the shop's `myshopify.com` domain and a path of the API",
        _ => "it refused the call; hint: `errors` says why",
    }
}

fn graphql_message(errors: &Json) -> String {
    let first = first_message(errors);
    let hint = match first_code(errors).as_deref() {
        Some("ACCESS_DENIED") => "; hint: add the access scope that it needs and connect the shop again",
        Some("SHOP_INACTIVE") => "; hint: its owner has to open the shop again",
        Some("MAX_COST_EXCEEDED") => "; hint: ask for fewer items or fields at once",
        _ => "",
    };
    format!("the platform refused the operation: {first}{hint}")
}

fn user_message(user_errors: &Json) -> String {
    format!("the platform refused the values: {}", first_message(user_errors))
}

/// The first message, bounded, and how many more there are. The list may be a list of errors, or anything.
fn first_message(errors: &Json) -> String {
    const MESSAGE_CHARS_MAX: usize = 300;
    let list: Vec<Json> = errors.to().unwrap_or_else(|_| vec![errors.clone()]);
    let Some(first) = list.first() else { return "no reason given".to_owned() };
    let message = first.member("message").unwrap_or_else(|| first.clone());
    let message = message.to::<String>().unwrap_or_else(|_| message.as_str().to_owned());
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    match list.len() {
        1 => message,
        more => format!("{message} (and {} more)", more - 1),
    }
}

fn first_code(errors: &Json) -> Option<String> {
    let list: Vec<Json> = errors.to().ok()?;
    list.first()?.member("extensions")?.member("code")?.to().ok()
}
