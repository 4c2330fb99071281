//! The options with which a plugin puts a job into the queue, parsed once, where they come in.
//!
//! To add an option, add it to `wit`'s newest contract, to [`JobOptions`] and to the `match` that reads it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{ActionError, code};
use crate::json::Json;
use crate::object;
use crate::retry::RetryPolicy;

/// The longest name of a queue: it is a key of an index, and a person reads it.
pub const QUEUE_NAME_BYTES_MAX: usize = 128;

/// The longest id of a job: it is a key of an index.
pub const JOB_ID_BYTES_MAX: usize = 255;

/// How many jobs of one queue may run at once. More than any host has slots; a queue that wants more wants no bound.
pub const QUEUE_CONCURRENCY_MAX: u32 = 1_000;

/// The names of the options.
const MEMBERS: [&str; 6] = ["queue", "priority", "startAt", "id", "onDuplicateId", "retries"];

/// How a job waits and runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobOptions {
    /// The named queue that it runs in.
    pub queue: Option<QueueName>,
    /// How many jobs of that queue may run at once; none without a queue.
    pub max_concurrency: Option<u32>,
    /// Which of a shop's jobs come first.
    pub priority: Priority,
    /// Not before this time, in milliseconds since 1970.
    pub start_at_ms: Option<u64>,
    /// The plugin's own id of the job.
    pub id: Option<String>,
    /// What happens when a waiting job has that id.
    pub on_duplicate: OnDuplicate,
    /// What happens when it fails.
    pub retries: RetryPolicy,
}

/// The name of a queue: not empty, without control characters, at most [`QUEUE_NAME_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(Arc<str>);

/// Which of a shop's jobs come first. The names are persisted and part of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Before the others: somebody waits for it.
    High,
    /// What most jobs have, and all jobs of a record's lane.
    #[default]
    Default,
    /// After the others.
    Low,
}

/// What happens when a waiting job has the same id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The new job is dropped and the id of the waiting one answered.
    Ignore,
    /// The call fails with `not-unique`: a plugin that does not say otherwise learns that its job was not taken.
    #[default]
    Error,
}

impl QueueName {
    /// Checks the name; the error says what is wrong.
    pub fn parse(name: impl Into<Arc<str>>) -> Result<Self, String> {
        let name = name.into();
        check_key("the queue's name", &name, QUEUE_NAME_BYTES_MAX)?;
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Priority {
    /// The ranks in their order.
    pub const ALL: [Self; 3] = [Self::High, Self::Default, Self::Low];

    /// The number that is stored: zero comes first. Persisted: never change it.
    pub fn rank(self) -> u8 {
        match self {
            Self::High => 0,
            Self::Default => 1,
            Self::Low => 2,
        }
    }

    /// The priority that is stored as `rank`; an unknown number is the last.
    pub fn of_rank(rank: u8) -> Self {
        match rank {
            0 => Self::High,
            1 => Self::Default,
            _ => Self::Low,
        }
    }

    /// The priority that a job is stored with. Jobs of a lane run in their order whatever anybody wishes, and a reader
    /// that goes through one rank at a time keeps that order only when a lane is within one rank.
    #[must_use]
    pub fn within_lane(self, has_lane: bool) -> Self {
        if has_lane { Self::Default } else { self }
    }
}

impl JobOptions {
    /// Reads the `options` of the contract's `queue`. `null` and an empty object are the defaults, as is every member
    /// that is left out or `null`. The error is `invalid-argument` and names all problems.
    pub fn parse(options: &Json) -> Result<Self, ActionError> {
        let mut parsed = Self::default();
        let mut problems = Vec::new();
        for (name, value) in object::optional(options, "`options`", &MEMBERS, &mut problems) {
            parsed.read(&name, &value, &mut problems);
        }
        if problems.is_empty() {
            return Ok(parsed);
        }
        Err(ActionError::permanent(code::INVALID_ARGUMENT, problems.join("; ")))
    }

    fn read(&mut self, name: &str, value: &Json, problems: &mut Vec<String>) {
        let problem = match name {
            "queue" => self.read_queue(value),
            "priority" => word(name, value, &["low", "default", "high"]).map(|word| {
                self.priority = [Priority::Low, Priority::Default, Priority::High][word];
            }),
            "onDuplicateId" => word(name, value, &["ignore", "error"]).map(|word| {
                self.on_duplicate = [OnDuplicate::Ignore, OnDuplicate::Error][word];
            }),
            "startAt" => start_at_ms(value).map(|at| self.start_at_ms = Some(at)),
            "id" => text(name, value).and_then(|id| {
                check_key("`id`", &id, JOB_ID_BYTES_MAX)?;
                self.id = Some(id);
                Ok(())
            }),
            _ => match RetryPolicy::parse(value, &RetryPolicy::JOB) {
                Ok(policy) => {
                    self.retries = policy;
                    Ok(())
                }
                Err(several) => Err(several.join("; ")),
            },
        };
        problems.extend(problem.err());
    }

    /// A name, or an object with a name and a bound. One job at a time is the bound that is safe to assume.
    fn read_queue(&mut self, value: &Json) -> Result<(), String> {
        let (mut queue, mut bound) = (None, 1);
        if let Ok(name) = value.to::<String>() {
            queue = Some(QueueName::parse(name)?);
        } else {
            if !value.as_str().starts_with('{') {
                return Err(format!("`queue` is {value}; hint: {QUEUE_HINT}"));
            }
            let mut problems = Vec::new();
            let members = object::optional(value, "`queue`", &["name", "maxConcurrency"], &mut problems);
            if !problems.is_empty() {
                return Err(problems.join("; "));
            }
            for (name, value) in members {
                if name == "name" {
                    queue = Some(QueueName::parse(text("queue.name", &value)?)?);
                    continue;
                }
                let number = value.to().ok().filter(|bound| (1..=QUEUE_CONCURRENCY_MAX).contains(bound));
                bound = number.ok_or_else(|| {
                    format!("`maxConcurrency` is {value}; hint: a whole number from 1 to {QUEUE_CONCURRENCY_MAX}")
                })?;
            }
        }
        let queue = queue.ok_or_else(|| format!("`queue` has no `name`; hint: {QUEUE_HINT}"))?;
        (self.queue, self.max_concurrency) = (Some(queue), Some(bound));
        Ok(())
    }
}

const QUEUE_HINT: &str = "a name, or `{\"name\": \"sync\", \"maxConcurrency\": 4}`";

fn text(name: &str, value: &Json) -> Result<String, String> {
    value.to().map_err(|_| format!("`{name}` is {value}; hint: a string"))
}

/// Which of the words it is, in any case.
fn word(name: &str, value: &Json, words: &[&str]) -> Result<usize, String> {
    let given = value.to::<String>().ok();
    let found = given.and_then(|given| words.iter().position(|word| given.eq_ignore_ascii_case(word)));
    found.ok_or_else(|| format!("`{name}` is {value}; hint: one of `{}`", words.join("`, `")))
}

/// A time in the past is as good as none: the job starts at once.
fn start_at_ms(value: &Json) -> Result<u64, String> {
    let time = value.to::<String>().ok().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let time =
        time.ok_or_else(|| format!("`startAt` is {value}; hint: RFC 3339 with an offset, `2026-01-31T08:00:00Z`"))?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// What is wrong with a text that is stored as a key. PostgreSQL keeps no zero byte, and nobody reads control characters.
fn check_key(what: &str, key: &str, bytes_max: usize) -> Result<(), String> {
    if key.is_empty() || key.len() > bytes_max {
        return Err(format!("{what} has {} bytes; hint: from 1 to {bytes_max}", key.len()));
    }
    if key.chars().any(char::is_control) {
        return Err(format!("{what} has control characters; hint: letters, digits and punctuation"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JobOptions, ActionError> {
        JobOptions::parse(&Json::parse(text).unwrap())
    }

    #[test]
    fn options_are_read() {
        let check = |text: &str, expected: JobOptions| assert_eq!(parse(text).unwrap(), expected, "{text}");
        let queue = |name: &str, bound| JobOptions {
            queue: Some(QueueName::parse(name).unwrap()),
            max_concurrency: Some(bound),
            ..JobOptions::default()
        };
        check("null", JobOptions::default());
        check("{}", JobOptions::default());
        check(r#"{"queue":null,"priority":null,"startAt":null,"id":null,"retries":null}"#, JobOptions::default());
        check(r#"{"queue":"sync"}"#, queue("sync", 1));
        check(r#"{"queue":{"name":"sync"}}"#, queue("sync", 1));
        check(r#"{"queue":{"name":"sync","maxConcurrency":4}}"#, queue("sync", 4));
        for (text, priority) in
            [("LOW", Priority::Low), ("Default", Priority::Default), ("high", Priority::High), ("HIGH", Priority::High)]
        {
            check(&format!(r#"{{"priority":"{text}"}}"#), JobOptions { priority, ..JobOptions::default() });
        }
        check(
            r#"{"startAt":"2026-01-31T09:00:00.5+01:00","id":"é","onDuplicateId":"ignore","retries":0}"#,
            JobOptions {
                start_at_ms: Some(1_769_846_400_500),
                id: Some("é".to_owned()),
                on_duplicate: OnDuplicate::Ignore,
                retries: RetryPolicy { retry_count: 0, ..RetryPolicy::JOB },
                ..JobOptions::default()
            },
        );
        check(r#"{"startAt":"1950-01-01T00:00:00Z"}"#, JobOptions { start_at_ms: Some(0), ..JobOptions::default() });
        check(r#"{"retries":{"backoffFactor":3}}"#, JobOptions::default());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err();
            assert_eq!((error.code.as_str(), error.retryable), (code::INVALID_ARGUMENT, false));
            assert_eq!(error.message, expected);
        };
        let takes = "hint: it takes `queue`, `priority`, `startAt`, `id`, `onDuplicateId`, `retries`";
        check("[]", &format!("`options` is not a JSON object; {takes}"));
        check(r#"{"id":"a","\u0069d":null}"#, "`id` appears twice in `options`; hint: keep one");
        check(r#"{"queue":{"name":"a","name":"b"}}"#, "`name` appears twice in `queue`; hint: keep one");
        check(
            r#"{"retries":{"retryCount":1,"retryCount":2}}"#,
            "`retryCount` appears twice in `retries`; hint: keep one",
        );
        check(
            r#"{"prio":1,"priority":"urgent","startAt":"2026-01-31","id":"","retries":101,"onDuplicateId":1}"#,
            &[
                "`options` has no `prio`; hint: there are `id`, `priority`, `queue`, `retries`, `startAt`, `onDuplicateId`",
                "`priority` is \"urgent\"; hint: one of `low`, `default`, `high`",
                "`startAt` is \"2026-01-31\"; hint: RFC 3339 with an offset, `2026-01-31T08:00:00Z`",
                "`id` has 0 bytes; hint: from 1 to 255",
                "`retryCount` is 101; hint: at most 100",
                "`onDuplicateId` is 1; hint: one of `ignore`, `error`",
            ]
            .join("; "),
        );
        check(
            r#"{"startAt":"2026-01-31T08:00:00"}"#,
            "`startAt` is \"2026-01-31T08:00:00\"; hint: RFC 3339 with an offset, `2026-01-31T08:00:00Z`",
        );
        check(r#"{"id":7}"#, "`id` is 7; hint: a string");
        check(&format!(r#"{{"id":"{}"}}"#, "x".repeat(256)), "`id` has 256 bytes; hint: from 1 to 255");
        check(r#"{"id":"a\u0000"}"#, "`id` has control characters; hint: letters, digits and punctuation");
        check(r#"{"queue":5}"#, &format!("`queue` is 5; hint: {QUEUE_HINT}"));
        check(r#"{"queue":{}}"#, &format!("`queue` has no `name`; hint: {QUEUE_HINT}"));
        check(r#"{"queue":{"name":"a","max":1}}"#, "`queue` has no `max`; hint: there are `name`, `maxConcurrency`");
        check(r#"{"queue":""}"#, "the queue's name has 0 bytes; hint: from 1 to 128");
        for bound in ["0", "1001", "1.5", "\"2\""] {
            check(
                &format!(r#"{{"queue":{{"name":"a","maxConcurrency":{bound}}}}}"#),
                &format!("`maxConcurrency` is {bound}; hint: a whole number from 1 to 1000"),
            );
        }
    }

    #[test]
    fn ranks_are_for_ever() {
        assert_eq!(Priority::ALL.map(Priority::rank), [0, 1, 2]);
        assert_eq!(Priority::ALL.map(|priority| Priority::of_rank(priority.rank())), Priority::ALL);
        assert_eq!(Priority::Low.within_lane(true), Priority::Default);
        assert_eq!(Priority::Low.within_lane(false), Priority::Low);
    }
}
