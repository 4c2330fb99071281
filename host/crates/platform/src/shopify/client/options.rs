//! The options of a call, as a plugin writes them.

use std::time::Duration;

use serde::Deserialize;
use tradewind_model::{Json, object};

use super::error::PlatformError;
use super::limits::{CALL_MS_DEFAULT, CALL_MS_MAX, PLATFORM_RETRIES_MAX};

/// How a call is made. The default is what the connection says and the limits allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How long the call may take with all waiting, instead of [`CALL_MS_DEFAULT`].
    pub timeout_ms: Option<u64>,
    /// The version of the API, instead of the connection's.
    pub api_version: Option<String>,
    /// GraphQL only: the variable `$idempotencyKey` of a mutation that uses it in `@idempotent(key: $idempotencyKey)`.
    pub idempotency_key: Option<String>,
    /// How often at most it is tried again, instead of [`PLATFORM_RETRIES_MAX`].
    pub retries: Option<u32>,
}

const MEMBERS: [&str; 4] = ["timeoutMs", "apiVersion", "idempotencyKey", "retries"];

impl Options {
    /// Reads `{"timeoutMs", "apiVersion", "idempotencyKey", "retries"}`, each optional; `null` and `{}` mean none. The error
    /// holds all problems.
    pub fn parse(options: &Json) -> Result<Self, PlatformError> {
        let mut parsed = Self::default();
        let mut problems = Vec::new();
        for (name, value) in &object::optional(options, "`options`", &MEMBERS, &mut problems) {
            match name.as_str() {
                "timeoutMs" => parsed.timeout_ms = read(name, value, "a whole number", &mut problems),
                "apiVersion" => parsed.api_version = read(name, value, "a text such as `2026-07`", &mut problems),
                "idempotencyKey" => parsed.idempotency_key = read(name, value, "a text", &mut problems),
                _ => parsed.retries = read(name, value, "a whole number", &mut problems),
            }
        }
        problems.extend(parsed.problems());
        if problems.is_empty() { Ok(parsed) } else { Err(PlatformError::invalid(problems.join("; "))) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(timeout_ms) = self.timeout_ms.filter(|timeout_ms| !(1..=CALL_MS_MAX).contains(timeout_ms)) {
            problems.push(format!("`timeoutMs` is {timeout_ms}; hint: from 1 to {CALL_MS_MAX}, ten minutes"));
        }
        if let Some(version) = self.api_version.as_ref().filter(|version| !is_api_version(version)) {
            problems.push(format!("`apiVersion` is `{version}`; hint: {VERSION_HINT}"));
        }
        if let Some(key) = self.idempotency_key.as_ref().filter(|key| !(1..=KEY_BYTES_MAX).contains(&key.len())) {
            problems.push(format!("`idempotencyKey` has {} bytes; hint: from 1 to {KEY_BYTES_MAX}", key.len()));
        }
        if let Some(retries) = self.retries.filter(|retries| *retries > PLATFORM_RETRIES_MAX) {
            problems.push(format!("`retries` is {retries}; hint: at most {PLATFORM_RETRIES_MAX}"));
        }
        problems
    }

    /// Options that were not parsed are held to the same rules.
    pub(super) fn checked(&self) -> Result<(), PlatformError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(PlatformError::invalid(problems.join("; "))) }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.unwrap_or(CALL_MS_DEFAULT))
    }

    pub(super) fn retries_max(&self) -> u32 {
        self.retries.unwrap_or(PLATFORM_RETRIES_MAX)
    }
}

/// Bytes of an idempotency key. 255: what keys of other platforms may have; a UUID has 36.
const KEY_BYTES_MAX: usize = 255;

pub(super) const VERSION_HINT: &str = "a quarter such as `2026-07`, or `unstable`";

/// Versions come out each quarter and are named for its first month.
pub(super) fn is_api_version(version: &str) -> bool {
    version == "unstable"
        || version.split_once('-').is_some_and(|(year, month)| {
            year.len() == 4
                && year.bytes().all(|byte| byte.is_ascii_digit())
                && matches!(month, "01" | "04" | "07" | "10")
        })
}

fn read<T: for<'de> Deserialize<'de>>(name: &str, value: &Json, what: &str, problems: &mut Vec<String>) -> Option<T> {
    let read = value.to().ok();
    if read.is_none() {
        problems.push(format!("`{name}` is {value}; hint: {what}"));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(&Json::parse(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_optional() {
        for none in ["null", "{}", r#"{"retries":null}"#] {
            assert_eq!(parse(none), Ok(Options::default()), "{none}");
        }
        let all = r#"{"timeoutMs":5000,"apiVersion":"2026-10","idempotencyKey":"k","retries":0}"#;
        let expected = Options {
            timeout_ms: Some(5_000),
            api_version: Some("2026-10".to_owned()),
            idempotency_key: Some("k".to_owned()),
            retries: Some(0),
        };
        assert_eq!(parse(all), Ok(expected));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        assert_eq!(
            parse(r#"{"timeout":1,"timeoutMs":0,"apiVersion":"2026-02/../..","idempotencyKey":"","retries":13}"#),
            Err(
                "`options` has no `timeout`; hint: did you mean `timeoutMs`?; `timeoutMs` is 0; hint: from 1 to 600000, ten \
                 minutes; `apiVersion` is `2026-02/../..`; hint: a quarter such as `2026-07`, or `unstable`; \
                 `idempotencyKey` has 0 bytes; hint: from 1 to 255; `retries` is 13; hint: at most 12"
                .to_owned())
        );
        assert_eq!(
            parse(r#"{"retries":1,"retri\u0065s":2}"#),
            Err("`retries` appears twice in `options`; hint: keep one".to_owned())
        );
        assert_eq!(parse(r#"{"retries":"3"}"#), Err("`retries` is \"3\"; hint: a whole number".to_owned()));
        assert_eq!(
            parse("[]"),
            Err(
                "`options` is not a JSON object; hint: it takes `timeoutMs`, `apiVersion`, `idempotencyKey`, `retries`"
                    .to_owned()
            )
        );
    }

    #[test]
    fn versions_are_quarters() {
        for version in ["2024-10", "2026-01", "unstable"] {
            assert!(is_api_version(version), "{version}");
        }
        for version in ["", "2026", "2026-02", "26-01", "2026-01 ", "../2026-01", "2026-01/x"] {
            assert!(!is_api_version(version), "{version}");
        }
    }
}
