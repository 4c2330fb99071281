//! How an attempt at a job ends: done, again later, or parked for a person. A decision of values; the pipeline commits it.

use serde_json::json;
use tradewind_model::retry::RetryPolicy;
use tradewind_model::{ActionError, Json, code};
use tradewind_runtime::Failure;
use tradewind_store::How;

use super::CAUSAL_DEPTH_MAX;
use super::context::Stopped;

/// Why a job is parked. Persisted, and what operators filter by: never rename one.
pub mod reason {
    /// The retries are used up.
    pub const RETRIES_EXHAUSTED: &str = "retries-exhausted";
    /// The retries are used up, and the shop has no room left by one of its quotas.
    pub const QUOTA_EXCEEDED: &str = "quota-exceeded";
    /// The plugin returned an error that it calls permanent.
    pub const PERMANENT_ERROR: &str = "permanent-error";
    /// The delivery cannot be read.
    pub const UNREADABLE: &str = "unreadable";
    /// A chain of our own making is too long.
    pub const CAUSAL_DEPTH: &str = "causal-depth";
    /// What the job needs is not installed, and was not for as long as a job waits: the app, the plugin, the platform.
    pub const NOT_INSTALLED: &str = "not-installed";
    /// The job's data is damaged.
    pub const DAMAGED: &str = "damaged";

    /// The body of the delivery came first for another shop of the app.
    pub const REPLAYED_BODY: &str = "replayed-body";
    /// The body of the delivery names another shop than its headers.
    pub const OTHER_SHOP: &str = "other-shop";
    /// The body of the delivery is not one of its topic.
    pub const WRONG_SHAPE: &str = "wrong-shape";

    /// All of them, for documentation and its test.
    pub const ALL: [&str; 10] = [
        RETRIES_EXHAUSTED,
        QUOTA_EXCEEDED,
        PERMANENT_ERROR,
        UNREADABLE,
        CAUSAL_DEPTH,
        NOT_INSTALLED,
        DAMAGED,
        REPLAYED_BODY,
        OTHER_SHOP,
        WRONG_SHAPE,
    ];
}

/// Why an attempt did not end well.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Work stopped.
    Stopped(Stopped),
    /// It can never end well.
    Hopeless { reason: &'static str, message: String },
    /// This host has not got the app, the plugin or the platform; another one, or this one soon, may.
    NotInstalled(String),
    /// It was overtaken each time: it runs again later, which is no attempt.
    Contended(String),
    /// The store failed: nothing is known, nothing is to be written.
    Lost(String),
}

impl Trouble {
    pub(crate) fn hopeless(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Hopeless { reason, message: message.into() }
    }

    /// Whether the work may have failed because of what it read: a plugin or the host says so. A trap, a limit or what is
    /// missing has other causes.
    pub(crate) fn may_come_from_reads(&self) -> bool {
        match self {
            Self::Stopped(Stopped::Plugin { failure, .. }) => matches!(**failure, Failure::Returned(_)),
            Self::Stopped(Stopped::Error(_)) => true,
            Self::Hopeless { .. } | Self::NotInstalled(_) | Self::Contended(_) | Self::Lost(_) => false,
        }
    }

    /// Too many of our own writes led to the work.
    pub(crate) fn too_deep(depth: u32) -> Self {
        let message = format!(
            "{depth} of our own writes led here, at most {CAUSAL_DEPTH_MAX} may (`causal_depth_max`); hint: do plugins \
             answer each other's writes?"
        );
        Self::hopeless(reason::CAUSAL_DEPTH, message)
    }
}

/// What becomes of a job whose attempt number `attempt` failed, and one word for the log.
pub(crate) fn ending(
    stopped: &Stopped,
    policy: &RetryPolicy,
    attempt: u32,
    jitter: u64,
    now_ms: i64,
) -> (How, &'static str) {
    let (error, permanent) = match stopped {
        Stopped::Error(error) => (error_json(error), !error.retryable),
        Stopped::Plugin { failure, .. } => {
            (failure_json(failure), matches!(&**failure, Failure::Returned(error) if !error.retryable))
        }
    };
    if permanent {
        let reason = reason::PERMANENT_ERROR.to_owned();
        return (How::Park { attempts: attempt, reason, error: Some(error) }, "parked");
    }
    let Some(delay_ms) = policy.after(attempt, jitter) else {
        let is_quota = matches!(stopped, Stopped::Error(error) if error.code == code::QUOTA_EXCEEDED);
        let reason = if is_quota { reason::QUOTA_EXCEEDED } else { reason::RETRIES_EXHAUSTED }.to_owned();
        return (How::Park { attempts: attempt, reason, error: Some(error) }, "parked");
    };
    let run_at_ms = now_ms.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX));
    (How::Again { attempts: attempt, run_at_ms, error: Some(error) }, "retried")
}

/// An error as the job keeps it.
pub(crate) fn error_json(error: &ActionError) -> Json {
    Json::of(error).unwrap_or_else(|_| Json::null())
}

/// An error without what a plugin may have put into it at any depth.
pub(crate) fn undetailed(error: &Json) -> Json {
    let members = error.members().unwrap_or_default();
    let kept = members.iter().filter(|(name, _)| matches!(name.as_str(), "code" | "message" | "retryable"));
    Json::object(kept.map(|(name, value)| (name.as_str(), value)))
}

/// A failure as the job and the log keep it.
pub(crate) fn failure_json(failure: &Failure) -> Json {
    match failure {
        Failure::Returned(error) => error_json(error),
        failure => {
            let frames: Vec<String> = failure.backtrace().map(|frames| frames.0.clone()).unwrap_or_default();
            Json::of(&json!({ "code": failure.kind(), "message": failure.to_string(), "backtrace": frames }))
                .unwrap_or_else(|_| Json::null())
        }
    }
}

/// Bytes of an error in the log of what ran. 1 KiB: a sentence or two. The whole error stands in the job, once, however often
/// the job fails.
const LOGGED_BYTES_MAX: usize = 1 << 10;

/// An error as the log keeps it for each attempt.
pub(crate) fn logged(error: &Json) -> Json {
    let code = error.member("code").unwrap_or_else(Json::null);
    let message = error.member("message").and_then(|message| message.to::<String>().ok()).unwrap_or_default();
    let message = &message[..message.floor_char_boundary(LOGGED_BYTES_MAX)];
    Json::of(message).map_or_else(|_| Json::null(), |message| Json::object([("code", &code), ("message", &message)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_ends_by_the_error_and_the_policy() {
        let policy = RetryPolicy { retry_count: 1, randomize_interval: false, ..RetryPolicy::JOB };
        let check = |stopped: Stopped, attempt, expected: &str| {
            let shown = match ending(&stopped, &policy, attempt, 0, 5).0 {
                How::Again { attempts, run_at_ms, error } => {
                    format!("again {attempts} {run_at_ms} {}", error.is_some())
                }
                How::Park { attempts, reason, error } => format!("park {attempts} {reason} {}", error.is_some()),
                how => format!("{how:?}"),
            };
            assert_eq!(shown, expected, "{stopped:?}");
        };
        let plugin = |failure| Stopped::Plugin { plugin: "a".into(), action: "b".into(), failure: Box::new(failure) };
        let permanent = ActionError::permanent("mine", "no");
        let retryable = ActionError::retryable("mine", "not yet");
        check(Stopped::Error(retryable.clone()), 1, "again 1 1005 true");
        check(Stopped::Error(retryable.clone()), 2, "park 2 retries-exhausted true");
        let over_quota = ActionError::retryable(code::QUOTA_EXCEEDED, "full");
        check(Stopped::Error(over_quota.clone()), 1, "again 1 1005 true");
        check(Stopped::Error(over_quota), 2, "park 2 quota-exceeded true");
        check(Stopped::Error(permanent.clone()), 1, "park 1 permanent-error true");
        check(plugin(Failure::Returned(retryable)), 1, "again 1 1005 true");
        check(plugin(Failure::Returned(permanent)), 1, "park 1 permanent-error true");
        // A trap may come from what the plugin was given this time: only the policy ends it.
        check(plugin(Failure::NoAction("b".into())), 1, "again 1 1005 true");
        check(plugin(Failure::NoAction("b".into())), 2, "park 2 retries-exhausted true");
    }
}
