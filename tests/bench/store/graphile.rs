//! The same work by graphile-worker, the job queue for Node.js and PostgreSQL: a process for each measurement. Its
//! packages and its program are in `bench/node`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

/// How graphile-worker is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As its documentation sets it for the figures that it publishes: jobs are fetched and completed in batches.
    Tuned,
    /// As it comes, but for 24 jobs at a time.
    Untuned,
}

/// Jobs that do nothing and were all there before.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Throughput {
    /// From the start of a runner until the last job was gone.
    #[serde(rename = "seconds", deserialize_with = "seconds")]
    pub(crate) took: Duration,
    #[serde(rename = "jobsPerSecond")]
    pub(crate) jobs_per_second: f64,
}

/// Jobs added one at a time for an idle runner: from before a job is added until it runs.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Latency {
    #[serde(rename = "p50Ms", deserialize_with = "millis")]
    pub(crate) p50: Duration,
    #[serde(rename = "p99Ms", deserialize_with = "millis")]
    pub(crate) p99: Duration,
    #[serde(rename = "maxMs", deserialize_with = "millis")]
    pub(crate) max: Duration,
}

/// Runs so many jobs in an empty database. Fails with the reason when Node.js or its packages are missing.
pub(crate) fn throughput(form: Form, database_url: &str, jobs: u32) -> anyhow::Result<Throughput> {
    measure("throughput", form, database_url, jobs)
}

/// Runs so many jobs, one after the other, in an empty database. Fails with the reason when Node.js or its packages are
/// missing.
pub(crate) fn latency(form: Form, database_url: &str, samples: u32) -> anyhow::Result<Latency> {
    measure("latency", form, database_url, samples)
}

fn measure<T: DeserializeOwned>(mode: &str, form: Form, database_url: &str, count: u32) -> anyhow::Result<T> {
    let folder = tradewind_tests::repository().join("tests/bench/node");
    ensure!(
        folder.join("node_modules/graphile-worker").is_dir(),
        "its packages are missing; hint: `cargo xtask bench store` installs them"
    );
    let form = match form {
        Form::Tuned => "tuned",
        Form::Untuned => "untuned",
    };
    let mut node = Command::new("node");
    node.arg(folder.join("graphile.mjs")).args([mode, form, database_url, &count.to_string()]);
    let output = node.output().context("`node` does not start")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`graphile.mjs` failed: {}", errors.trim());
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`graphile.mjs` printed `{}`", String::from_utf8_lossy(&output.stdout).trim()))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)? / 1e3).map_err(D::Error::custom)
}
