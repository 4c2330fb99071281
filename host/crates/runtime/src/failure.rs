//! How an invocation can end without a result.

use std::fmt;

use tradewind_model::ActionError;

use crate::limits::LimitExceeded;

/// Why an invocation has no result. Whatever it is, nothing that the invocation wrote is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The plugin returned an error of its own.
    #[error("the plugin returned an error: {0}")]
    Returned(ActionError),
    /// The plugin ran into one of its limits.
    #[error("{exceeded}")]
    Limit {
        /// Which limit, and its value.
        exceeded: LimitExceeded,
        /// Where the guest was, innermost frame first; empty when it was inside a host call that had to be given up.
        backtrace: Frames,
        /// What the guest had written to standard error.
        stderr: String,
    },
    /// The plugin panicked, threw, aborted or broke the contract's rules.
    #[error("{}", trapped(message, panic.as_deref()))]
    Trap {
        /// What the sandbox says of it.
        message: String,
        /// The panic's or exception's own words, when the guest wrote them to standard error.
        panic: Option<String>,
        /// Where the guest was, innermost frame first.
        backtrace: Frames,
        /// What the guest had written to standard error.
        stderr: String,
    },
    /// `run` returned text that is not JSON.
    #[error(
        "`run` returned text that is not JSON: {reason}; hint: return the text of one JSON value, for example `null`"
    )]
    InvalidResult {
        /// What the parser stumbled over.
        reason: String,
    },
    /// The plugin declares no such action, so it was not called.
    #[error("the plugin has no action `{0}`; hint: it offers what its `describe` declares")]
    NoAction(String),
    /// The host could not run it. Not the plugin's fault.
    #[error("the host could not run the plugin: {0}")]
    Host(String),
}

impl Failure {
    /// Whether another attempt may end differently.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Returned(error) => error.retryable,
            Self::Limit { exceeded, .. } => {
                matches!(exceeded.limit, crate::Limit::WallMs | crate::Limit::CpuMs | crate::Limit::SandboxBytes)
            }
            Self::Trap { .. } | Self::InvalidResult { .. } | Self::NoAction(_) => false,
            Self::Host(_) => true,
        }
    }

    /// One word for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Returned(_) => "returned",
            Self::Limit { .. } => "limit",
            Self::Trap { .. } => "trap",
            Self::InvalidResult { .. } => "invalid-result",
            Self::NoAction(_) => "no-action",
            Self::Host(_) => "host",
        }
    }

    /// The guest's frames, where there are any.
    pub fn backtrace(&self) -> Option<&Frames> {
        match self {
            Self::Limit { backtrace, .. } | Self::Trap { backtrace, .. } => Some(backtrace),
            _ => None,
        }
    }

    /// What the guest wrote to standard error, where that was kept.
    pub fn stderr(&self) -> Option<&str> {
        match self {
            Self::Limit { stderr, .. } | Self::Trap { stderr, .. } => Some(stderr),
            _ => None,
        }
    }
}

fn trapped(message: &str, panic: Option<&str>) -> String {
    match panic {
        Some(panic) => format!("the plugin panicked: {panic}"),
        None => format!("the plugin trapped: {message}"),
    }
}

/// The guest's frames, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames(pub Vec<String>);

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, frame) in self.0.iter().enumerate() {
            writeln!(f, "{index:>4}: {frame}")?;
        }
        Ok(())
    }
}

/// The words of a panic or an uncaught exception in what a guest wrote to standard error: the message of a Rust panic
/// with its place, the last line of a Python traceback, the `Error: …` line of a JavaScript exception.
pub(crate) fn panic_message(stderr: &str) -> Option<String> {
    // First the exception: the runtime of a scripting language may itself panic because of it.
    if let Some(at) = stderr.rfind("Traceback (most recent call last):") {
        return stderr[at..].lines().skip(1).find(|line| !line.starts_with(' ')).map(str::to_owned);
    }
    let exception = |line: &&str| line.split_once(": ").is_some_and(|(kind, _)| kind.ends_with("Error"));
    if let Some(line) = stderr.lines().find(exception) {
        return Some(line.to_owned());
    }
    if let Some(at) = stderr.find("panicked at ") {
        let (place, rest) = stderr[at + "panicked at ".len()..].split_once('\n')?;
        let message: Vec<_> = rest.lines().take_while(|line| !line.starts_with("note: ")).collect();
        return Some(format!("{} ({})", message.join("\n").trim(), place.trim_end_matches(':')));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::panic_message;

    #[test]
    fn a_panic_is_found_in_what_the_guest_wrote() {
        let rust = "x\n\nthread '<unnamed>' panicked at src/lib.rs:7:9:\nno such thing\nat all\nnote: run with …\n";
        assert_eq!(panic_message(rust).unwrap(), "no such thing\nat all (src/lib.rs:7:9)");
        let python =
            "Traceback (most recent call last):\n  File \"app.py\", line 3, in run\n    x()\nValueError: bad\n";
        assert_eq!(panic_message(python).unwrap(), "ValueError: bad");
        let javascript = "Uncaught exception while evaluating:\nTypeError: x is not a function\n  run@plugin.js:3\n";
        assert_eq!(panic_message(javascript).unwrap(), "TypeError: x is not a function");
        assert_eq!(panic_message("all is well: really\n"), None);
    }
}
