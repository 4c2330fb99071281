//! Errors, as the contract has them.

use std::fmt;

use serde_json::Value;

/// A result with the contract's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: what the host answered, or what an action returns.
///
/// Any [`std::error::Error`] becomes one with `?`, with the code `plugin-error`.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// Lower-case words joined by `-`. The host's codes are listed in the contract's `types.wit`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// A value for a program.
    pub details: Option<Value>,
    /// Whether the delivery or job is worth another attempt.
    pub retryable: bool,
}

impl Error {
    /// An error that trying again does not change.
    pub fn new(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { code: code.into(), message: message.to_string(), details: None, retryable: false }
    }

    /// An error that may be gone the next time.
    pub fn retryable(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { retryable: true, ..Self::new(code, message) }
    }

    /// Adds a value for programs.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Whether it has this code.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

// `Error` is not a `std::error::Error` itself: that is what lets `?` turn every other error into one. What the host
// answered is one of them, and keeps its code.
impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        #[cfg(target_family = "wasm")]
        if let Some(answer) = (&error as &dyn std::any::Any).downcast_ref::<crate::host::Answer>() {
            return Self {
                code: answer.code.clone(),
                message: answer.message.clone(),
                details: answer.details.as_ref().and_then(|text| serde_json::from_str(text).ok()),
                retryable: answer.retryable,
            };
        }
        Self::new("plugin-error", error)
    }
}
