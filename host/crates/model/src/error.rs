//! The one error that crosses the plugin contract, in either direction.

use serde::{Deserialize, Serialize};

use crate::json::Json;

/// What a host function answers a plugin with, and what a plugin answers the host with.
///
/// Mirrors `types.error` of the contract: closed, new meanings are new `code` strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ActionError {
    /// Lower-case words joined by `-`: one of [`code`], or a plugin's own.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// A JSON value for a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
    /// Whether the same call may succeed later.
    #[serde(default)]
    pub retryable: bool,
}

impl ActionError {
    /// An error that will not go away by trying again.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), details: None, retryable: false }
    }

    /// An error that may be gone on the next attempt.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::permanent(code, message) }
    }

    /// The answer of a function whose host side is not there, or not in this place.
    pub fn not_available(what: &str) -> Self {
        Self::permanent(code::NOT_AVAILABLE, format!("`{what}` is not available here"))
    }

    /// Adds a value for programs.
    #[must_use]
    pub fn with_details(mut self, details: Json) -> Self {
        self.details = Some(details);
        self
    }
}

/// The codes that the host answers with. They are persisted and matched on by plugins: never rename one.
pub mod code {
    /// A JSON argument is not JSON.
    pub const INVALID_JSON: &str = "invalid-json";
    /// An argument has the wrong shape.
    pub const INVALID_ARGUMENT: &str = "invalid-argument";
    /// A record breaks its model's rules.
    pub const VALIDATION_FAILED: &str = "validation-failed";
    /// No such record, model, action, shop or job.
    pub const NOT_FOUND: &str = "not-found";
    /// A unique key or a job id is taken.
    pub const NOT_UNIQUE: &str = "not-unique";
    /// Somebody else wrote the record meanwhile.
    pub const CONFLICT: &str = "conflict";
    /// The operator did not grant this to the plugin.
    pub const NOT_GRANTED: &str = "not-granted";
    /// This host cannot do it, or not in this place.
    pub const NOT_AVAILABLE: &str = "not-available";
    /// A write to a platform from `run`.
    pub const WRONG_PHASE: &str = "wrong-phase";
    /// The shop has no room left by one of its quotas, or a chain of jobs is too long.
    pub const QUOTA_EXCEEDED: &str = "quota-exceeded";
    /// The platform's budget stayed empty until the deadline.
    pub const RATE_LIMITED: &str = "rate-limited";
    /// The platform refused.
    pub const PLATFORM_ERROR: &str = "platform-error";
    /// No answer within the deadline.
    pub const TIMED_OUT: &str = "timed-out";
    /// The host failed.
    pub const INTERNAL: &str = "internal";

    /// All of them, for the documentation and its test.
    pub const ALL: [&str; 14] = [
        INVALID_JSON,
        INVALID_ARGUMENT,
        VALIDATION_FAILED,
        NOT_FOUND,
        NOT_UNIQUE,
        CONFLICT,
        NOT_GRANTED,
        NOT_AVAILABLE,
        WRONG_PHASE,
        QUOTA_EXCEEDED,
        RATE_LIMITED,
        PLATFORM_ERROR,
        TIMED_OUT,
        INTERNAL,
    ];
}
