//! What is wrong with a command's arguments, all of it at once.

use std::fmt;
use std::str::FromStr;

use super::Fail;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    /// One more.
    pub(super) fn add(&mut self, problem: impl fmt::Display) {
        self.0.push(problem.to_string());
    }

    /// The value, or its default when there was none to have and the problem is noted.
    pub(super) fn take<T: Default>(&mut self, value: Result<T, String>) -> T {
        value.unwrap_or_else(|problem| {
            self.add(problem);
            T::default()
        })
    }

    /// A number of an argument that is a text until all of them are looked at.
    pub(super) fn number<T: FromStr + Default>(&mut self, text: &str, what: &str, hint: &str) -> T {
        self.take(text.parse().map_err(|_| format!("`{text}` is no {what}; hint: {hint}")))
    }

    /// How many lines a page has, from 1 to [`LIMIT_MAX`].
    pub(super) fn limit(&mut self, text: &str) -> u32 {
        if let Ok(limit @ 1..=LIMIT_MAX) = text.parse() {
            return limit;
        }
        self.add(format_args!("`--limit` is `{text}`; hint: a number from 1 to {LIMIT_MAX}"));
        1
    }

    /// Goes on only when nothing is wrong.
    pub(super) fn none(self) -> Result<(), Fail> {
        if self.0.is_empty() { Ok(()) } else { Err(Fail::usage(self.0.join("\n       "))) }
    }
}

/// Lines of one page. 1,000: what fits into memory however large the rows are, and more than anybody reads.
pub(super) const LIMIT_MAX: u32 = 1_000;
