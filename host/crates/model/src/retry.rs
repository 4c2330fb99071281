//! When a job that failed is tried again, and when it is given up.
//!
//! The policy travels with the job, in the form in which a plugin writes it. To add a member, give it a default that
//! keeps the policies that are stored already as they are.

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::object;

/// How many retries a policy may ask for. With the longest interval between them that is more than a year.
pub const RETRY_COUNT_MAX: u32 = 100;

/// The longest interval, in milliseconds: seven days. Who waits longer wants a schedule.
pub const INTERVAL_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;

/// The steepest growth from one interval to the next.
pub const BACKOFF_FACTOR_MAX: f64 = 100.0;

const NAMES: [&str; 5] = ["retryCount", "initialIntervalMs", "maxIntervalMs", "backoffFactor", "randomizeInterval"];

/// The names of the members, as a person is told them.
const MEMBERS: &str = "`retryCount`, `initialIntervalMs`, `maxIntervalMs`, `backoffFactor`, `randomizeInterval`";

/// How often, and how long after a failure, a job is tried again.
///
/// As JSON `{"retryCount", "initialIntervalMs", "maxIntervalMs", "backoffFactor", "randomizeInterval"}`, each optional,
/// or a bare number of retries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Json")]
pub struct RetryPolicy {
    /// Retries after the first attempt. Zero: park at the first failure.
    pub retry_count: u32,
    /// The interval after the first failure.
    pub initial_interval_ms: u64,
    /// No interval is longer.
    pub max_interval_ms: u64,
    /// What each interval is multiplied by to get the next.
    pub backoff_factor: f64,
    /// Whether intervals are shortened by chance, so that jobs that failed together do not come back together.
    pub randomize_interval: bool,
}

impl RetryPolicy {
    /// For a plugin's own jobs: ten retries after 1 s, 3 s, 9 s and so on to an hour at most. Just under three hours in
    /// all: the first come while somebody still looks, the last outlive the usual outage of a platform.
    pub const JOB: Self = Self {
        retry_count: 10,
        initial_interval_ms: 1_000,
        max_interval_ms: 60 * 60 * 1_000,
        backoff_factor: 3.0,
        randomize_interval: true,
    };

    /// For deliveries: sixteen retries, up to six hours apart, nearly two days in all. A platform does not send again what
    /// was answered with 200, so this lasts as long as the platforms themselves would try.
    pub const DELIVERY: Self = Self { retry_count: 16, max_interval_ms: 6 * 60 * 60 * 1_000, ..Self::JOB };

    /// How long to wait after the failed attempt number `attempts` (one is the first); none when the job is to be parked.
    ///
    /// `jitter` is any random number. It shortens the interval to between half and all of it. Not lengthens: an
    /// interval stays within what was asked for, also the longest, and half an interval is spread enough for any herd.
    pub fn after(&self, attempts: u32, jitter: u64) -> Option<u64> {
        if attempts > self.retry_count {
            return None;
        }
        let interval = self.interval_ms(attempts);
        if !self.randomize_interval {
            return Some(interval);
        }
        let half = interval / 2;
        // The product of two 64-bit numbers fits, and its upper half is below `half`.
        let shortened = (u128::from(half) * u128::from(jitter)) >> 64;
        Some(interval - u64::try_from(shortened).unwrap_or(half))
    }

    /// The whole interval after the attempt number `attempts`.
    fn interval_ms(&self, attempts: u32) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ms, and no policy says more than 2^30")]
        let (mut interval, max) = (self.initial_interval_ms as f64, self.max_interval_ms as f64);
        for _ in 1..attempts.min(RETRY_COUNT_MAX) {
            interval *= self.backoff_factor;
            if interval >= max {
                break;
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as it should")]
        let interval = interval as u64;
        interval.min(self.max_interval_ms)
    }

    /// Reads a policy as a plugin writes it; what it leaves out is as in `defaults`. The error holds all problems.
    pub fn parse(policy: &Json, defaults: &Self) -> Result<Self, Vec<String>> {
        let mut parsed = defaults.clone();
        if !policy.as_str().starts_with('{') {
            parsed.retry_count = policy.to().map_err(|_| vec![not_a_policy(policy)])?;
            return parsed.checked(Vec::new());
        }
        let mut problems = Vec::new();
        let mut max_given = false;
        for (name, value) in &object::optional(policy, "`retries`", &NAMES, &mut problems) {
            match name.as_str() {
                "retryCount" => read(name, value, "a whole number", &mut parsed.retry_count, &mut problems),
                "initialIntervalMs" => {
                    read(name, value, "a whole number", &mut parsed.initial_interval_ms, &mut problems);
                }
                "maxIntervalMs" => {
                    max_given = true;
                    read(name, value, "a whole number", &mut parsed.max_interval_ms, &mut problems);
                }
                "backoffFactor" => read(name, value, "a number", &mut parsed.backoff_factor, &mut problems),
                _ => read(name, value, "`true` or `false`", &mut parsed.randomize_interval, &mut problems),
            }
        }
        if !max_given {
            // Who asks for a long first interval alone means it.
            parsed.max_interval_ms = parsed.max_interval_ms.max(parsed.initial_interval_ms.min(INTERVAL_MS_MAX));
        }
        parsed.checked(problems)
    }

    /// The policy when neither reading it nor its values gave a problem.
    fn checked(self, mut problems: Vec<String>) -> Result<Self, Vec<String>> {
        if self.retry_count > RETRY_COUNT_MAX {
            problems.push(format!("`retryCount` is {}; hint: at most {RETRY_COUNT_MAX}", self.retry_count));
        }
        for (name, interval) in
            [("initialIntervalMs", self.initial_interval_ms), ("maxIntervalMs", self.max_interval_ms)]
        {
            if interval > INTERVAL_MS_MAX {
                problems.push(format!("`{name}` is {interval}; hint: at most {INTERVAL_MS_MAX}, seven days"));
            }
        }
        if self.initial_interval_ms > self.max_interval_ms {
            problems.push(format!(
                "`maxIntervalMs` is {}, less than `initialIntervalMs`, {}; hint: raise it or leave it out",
                self.max_interval_ms, self.initial_interval_ms
            ));
        }
        if !(1.0..=BACKOFF_FACTOR_MAX).contains(&self.backoff_factor) {
            problems.push(format!("`backoffFactor` is {}; hint: from 1 to {BACKOFF_FACTOR_MAX}", self.backoff_factor));
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

/// The policy of a plugin's own job.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self::JOB
    }
}

/// The stored form, which is whole; a member that is missing is as in [`RetryPolicy::JOB`].
impl TryFrom<Json> for RetryPolicy {
    type Error = String;

    fn try_from(policy: Json) -> Result<Self, String> {
        Self::parse(&policy, &Self::JOB).map_err(|problems| problems.join("; "))
    }
}

fn not_a_policy(policy: &Json) -> String {
    format!("`retries` is {policy}; hint: a number of retries, or an object with {MEMBERS}")
}

/// Reads one member into its place, or says what it should be.
fn read<T: for<'de> Deserialize<'de>>(name: &str, value: &Json, what: &str, to: &mut T, problems: &mut Vec<String>) {
    match value.to() {
        Ok(value) => *to = value,
        Err(_) => problems.push(format!("`{name}` is {value}; hint: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RetryPolicy, Vec<String>> {
        RetryPolicy::parse(&Json::parse(text).unwrap(), &RetryPolicy::JOB)
    }

    fn intervals(policy: &RetryPolicy, jitter: u64) -> Vec<u64> {
        (1..).map_while(|attempts| policy.after(attempts, jitter)).collect()
    }

    #[test]
    fn intervals_grow_to_the_longest_and_then_end() {
        let check = |text: &str, expected: &[u64]| assert_eq!(intervals(&parse(text).unwrap(), 0), expected, "{text}");
        check("0", &[]);
        check("2", &[1_000, 3_000]);
        check(r#"{"retryCount":4,"initialIntervalMs":100,"backoffFactor":1.5}"#, &[100, 150, 225, 337]);
        check(r#"{"retryCount":3,"backoffFactor":1}"#, &[1_000; 3]);
        check(r#"{"retryCount":3,"initialIntervalMs":0}"#, &[0; 3]);
        check(r#"{"retryCount":3,"maxIntervalMs":2500}"#, &[1_000, 2_500, 2_500]);
        check(r#"{"retryCount":1,"initialIntervalMs":604800000,"maxIntervalMs":null}"#, &[INTERVAL_MS_MAX]);
        let hours = |policy| intervals(policy, 0).iter().sum::<u64>() / 3_600_000;
        assert_eq!((hours(&RetryPolicy::JOB), hours(&RetryPolicy::DELIVERY)), (2, 44));
    }

    #[test]
    fn jitter_shortens_by_up_to_half() {
        let policy = parse(r#"{"retryCount":1,"initialIntervalMs":1001}"#).unwrap();
        let check = |jitter, expected| assert_eq!(policy.after(1, jitter), Some(expected));
        check(0, 1_001);
        check(u64::MAX / 2, 752);
        check(u64::MAX, 502);
        let steady = RetryPolicy { randomize_interval: false, ..policy };
        assert_eq!(steady.after(1, u64::MAX), Some(1_001));
    }

    #[test]
    fn nothing_overflows() {
        let odd = |backoff_factor| RetryPolicy {
            retry_count: u32::MAX,
            initial_interval_ms: u64::MAX,
            max_interval_ms: u64::MAX,
            backoff_factor,
            randomize_interval: true,
        };
        for factor in [0.0, 1.0, f64::MAX, f64::INFINITY, f64::NAN, -1.0] {
            assert!(odd(factor).after(u32::MAX, u64::MAX).is_some(), "{factor}");
        }
    }

    #[test]
    fn all_problems_are_told_with_what_to_do() {
        let check = |text: &str, expected: &[&str]| assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        check("101", &["`retryCount` is 101; hint: at most 100"]);
        check("-1", &[&not_a_policy(&Json::parse("-1").unwrap())]);
        check(r#""5""#, &[&not_a_policy(&Json::parse(r#""5""#).unwrap())]);
        check(
            r#"{"retries":1,"retryCount":"1","initialIntervalMs":604800001,"maxIntervalMs":1,"backoffFactor":0.5,"randomizeInterval":1}"#,
            &[
                "`retries` has no `retries`; hint: there are `retryCount`, `maxIntervalMs`, `backoffFactor`, `initialIntervalMs`, \
                 `randomizeInterval`",
                "`retryCount` is \"1\"; hint: a whole number",
                "`randomizeInterval` is 1; hint: `true` or `false`",
                "`initialIntervalMs` is 604800001; hint: at most 604800000, seven days",
                "`maxIntervalMs` is 1, less than `initialIntervalMs`, 604800001; hint: raise it or leave it out",
                "`backoffFactor` is 0.5; hint: from 1 to 100",
            ],
        );
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for policy in [RetryPolicy::JOB, RetryPolicy::DELIVERY] {
            let stored = Json::of(&policy).unwrap();
            assert_eq!(stored.to::<RetryPolicy>().unwrap(), policy, "{stored}");
        }
        assert_eq!(serde_json::from_str::<RetryPolicy>("3").unwrap().retry_count, 3);
        assert!(serde_json::from_str::<RetryPolicy>("{\"retryCount\":1000}").is_err());
        assert_eq!(
            Json::of(&RetryPolicy::JOB).unwrap().as_str(),
            r#"{"retryCount":10,"initialIntervalMs":1000,"maxIntervalMs":3600000,"backoffFactor":3.0,"randomizeInterval":true}"#
        );
    }
}
