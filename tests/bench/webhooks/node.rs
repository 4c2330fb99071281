//! The same work in Node.js: the program `webhooks.mjs` of `bench/node`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::side::{Process, SECRET};

/// What the program says when it is ready.
#[derive(Deserialize)]
struct Ready {
    port: u16,
    pids: Vec<u32>,
}

/// Starts it. Fails with the reason when Node.js or the packages are missing.
pub(crate) fn start(door: &str, database: &str, platform: SocketAddr) -> anyhow::Result<Process> {
    let folder = tradewind_tests::repository().join("tests/bench/node");
    for package in ["better-sqlite3", "express", "pg"] {
        let hint = "hint: `cargo xtask bench webhooks` installs them";
        ensure!(folder.join("node_modules").join(package).is_dir(), "the package `{package}` is missing; {hint}");
    }
    let mut node = Command::new("node");
    node.arg(folder.join("webhooks.mjs")).args([door, database, &format!("http://{platform}"), SECRET]);
    let mut child =
        node.env("NODE_ENV", "production").stdout(Stdio::piped()).spawn().context("`node` does not start")?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut told = String::new();
    BufReader::new(stdout).read_line(&mut told)?;
    let ready: Result<Ready, _> = serde_json::from_str(&told);
    let Ready { port, pids } = ready.with_context(|| format!("`webhooks.mjs` said `{}`", told.trim()))?;
    Ok(Process { child, address: SocketAddr::from(([127, 0, 0, 1], port)), admin: None, pids })
}
