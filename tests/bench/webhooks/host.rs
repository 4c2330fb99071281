//! `tradewind serve` as an operator runs it: the program, its files, what it tells.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tradewind_tests::{artifacts_folder, plugins_folder};

use super::feed::{Feed, SHOPS};
use super::side::{Process, SECRET};
use super::wire;

/// How often the host is asked whether everything is done, after the last call of the platform.
const ASKED_EVERY: Duration = Duration::from_millis(2);

/// How often it may be asked: for half a minute.
const ASKED_MAX: u32 = 15_000;

/// Writes the files, makes the tables, starts the program.
pub(crate) fn start(folder: &Path, store: &str, platform: SocketAddr) -> anyhow::Result<Process> {
    let config = write(folder, store, platform)?;
    let mut migrate = program()?;
    let migrated = migrate.arg("migrate").arg("--store").arg(store).output()?;
    ensure!(migrated.status.success(), "`tradewind migrate`: {}", String::from_utf8_lossy(&migrated.stderr));
    let mut serve = program()?;
    let mut child = serve.arg("serve").arg("--config").arg(config).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    let pids = vec![child.id()];
    let mut told = String::new();
    BufReader::new(stdout).read_line(&mut told)?;
    let addresses: Vec<SocketAddr> = told
        .split("http://")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| c == ',' || c.is_whitespace()).next()?.parse().ok())
        .collect();
    let [address, admin] = addresses[..] else { bail!("`tradewind serve` said `{}`", told.trim()) };
    Ok(Process { child, address, admin: Some(admin), pids })
}

/// Waits until every delivery so far and its `success` are done.
pub(crate) async fn until_done(admin: SocketAddr, webhooks: u32) -> anyhow::Result<()> {
    let mut metrics = String::new();
    for _ in 0..ASKED_MAX {
        metrics = wire::get(admin, "/metrics").await?;
        let jobs = |outcome: &str| count(&metrics, "tradewind_jobs_total", outcome);
        let all = count(&metrics, "tradewind_jobs_total", "");
        let fine = (jobs("outcome=\"ran\""), jobs("outcome=\"done\""));
        if fine == (u64::from(webhooks), u64::from(webhooks)) && all == fine.0 + fine.1 {
            return Ok(());
        }
        ensure!(fine.0 + fine.1 == all, "jobs ended in other ways:\n{}", lines(&metrics, "tradewind_jobs_total"));
        tokio::time::sleep(ASKED_EVERY).await;
    }
    bail!("{webhooks} webhooks are not done:\n{}", lines(&metrics, "tradewind_jobs"))
}

/// The sum of a counter over all labels that contain a text.
fn count(metrics: &str, name: &str, label: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn lines(metrics: &str, name: &str) -> String {
    metrics.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("\n")
}

/// The program, optimized.
fn program() -> anyhow::Result<Command> {
    let program = plugins_folder()?.with_file_name("release").join("tradewind");
    let hint = "hint: `cargo xtask bench webhooks` builds it";
    ensure!(program.exists(), "there is no `{}`; {hint}", program.display());
    Ok(Command::new(program))
}

fn write(folder: &Path, store: &str, platform: SocketAddr) -> anyhow::Result<PathBuf> {
    let app = folder.join("app");
    fs::create_dir(&app)?;
    let server = format!(
        "store = {store:?}\napps = [\"app\"]\n[listen]\npublic = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [log]\nlevel = \"warn\"\n[cache]\nartifacts = {:?}\n",
        artifacts_folder()?.display().to_string()
    );
    let mut text = format!(
        "name = \"bench\"\ndevelopment = true\n\
         [[plugins]]\nname = \"product-tagger\"\nfile = {:?}\ngrants = [\"shopify\"]\n\
         [connections.shopify]\nplatform = \"shopify\"\nclient_id = \"bench\"\nclient_secret = {SECRET:?}\n\
         scopes = [\"write_products\"]\n",
        plugins_folder()?.join("product-tagger.wasm").display().to_string()
    );
    for shop in 0..SHOPS {
        write!(
            text,
            "[[connections.shopify.shops]]\ndomain = {:?}\naccess_token = \"shpat_bench\"\n\
             api_url = \"http://{platform}/{shop}\"\n",
            Feed::shop(shop)
        )?;
    }
    fs::write(app.join("app.toml"), text)?;
    let config = folder.join("tradewind.toml");
    fs::write(&config, server)?;
    Ok(config)
}
