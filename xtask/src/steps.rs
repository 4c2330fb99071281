//! Steps as a person sees them: what is done, what was there already, and how long it took.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How a step ended, when it did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing was to be done.
    AlreadyThere,
    /// The work was done.
    Done,
    /// The step does not apply here, or may be left out; the text says why and what to run.
    Skipped(String),
}

/// The place of a step's lines: `setup: wasm target … `.
pub(crate) struct Step<'a> {
    area: &'a str,
    name: &'a str,
}

impl Step<'_> {
    /// Says what the step does now; only work that takes a while needs it.
    pub(crate) fn says(&self, what: impl Display) {
        println!("{}: {} … {what}", self.area, self.name);
    }
}

/// Runs one step and prints how it ended.
pub(crate) fn step(area: &str, name: &str, work: impl FnOnce(&Step<'_>) -> Result<Outcome>) -> Result<Outcome> {
    let step = Step { area, name };
    let start = Instant::now();
    let result = work(&step);
    let took = elapsed(start.elapsed());
    match &result {
        Ok(Outcome::AlreadyThere) => step.says(format_args!("already there{took}")),
        Ok(Outcome::Done) => step.says(format_args!("done{took}")),
        Ok(Outcome::Skipped(reason)) => step.says(format_args!("skipped: {reason}")),
        Err(_) => step.says(format_args!("failed{took}")),
    }
    result
}

/// The time a step took, worth a word only when it was long.
fn elapsed(took: Duration) -> String {
    if took <= Duration::from_secs(1) { String::new() } else { format!(" ({:.1} s)", took.as_secs_f64()) }
}
