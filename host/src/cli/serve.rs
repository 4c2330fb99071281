//! `tradewind serve`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::clock::WallClock;
use super::text::{print, printable};
use super::{Exit, Fail, Surroundings};
use crate::config::{self, webhook_path};
use crate::serve::{Host, Start, listen};
use crate::watch::Unwatched;

pub(super) const HELP: &str = "\
Examples:
  tradewind serve
  tradewind serve --config /etc/tradewind/tradewind.toml

The configuration is checked before anything starts, and all mistakes are told at once (`tradewind check` does only that). An
app whose plugins cannot be installed stays closed, its webhooks are answered 503, and the others run. The store has to be
migrated (`tradewind migrate`). Logs go to standard error; TRADEWIND_LOG chooses what of them, for example
`info,tradewind_host::scheduler=debug`. SIGTERM and SIGINT stop it: requests and jobs under way end first, within
`limits.drain_seconds`.

Exit codes:
  0  it was stopped
  2  wrong usage, or a file or a store that is not what it should be
  6  the store failed, or an address cannot be listened on
  7  the host stood still for `limits.watchdog_seconds` and ended itself";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The server file.
    #[arg(long, value_name = "FILE", default_value = "tradewind.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let (server, warnings) = super::check::configured(&arguments.config, surroundings)?;
    let filter = (surroundings.environment)("TRADEWIND_LOG").map(|filter| filter.to_string_lossy().into_owned());
    let listening = listen(server.log, server.traces.as_ref(), filter.as_deref());
    let listening = listening.map_err(|error| Fail::usage(format_args!("{error:#}")))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let ended = executor()?.block_on(serve(server, surroundings));
    listening.end();
    ended
}

async fn serve(server: config::Server, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let refused = |error: std::io::Error| Fail::failed(format_args!("signals cannot be heard: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let apps: Vec<_> = server.apps.iter().map(|app| (app.name.clone(), app.connections.clone())).collect();
    let start = Start { on_standstill: Some(Box::new(stood_still)), ..start(surroundings) };
    let host = Host::start(server, start).await.map_err(Fail::from_start)?;
    let mut told = format!("webhooks come in at http://{}, operators look at http://{}\n", host.public(), host.admin());
    for (app, connections) in &apps {
        for connection in connections.keys() {
            // Writing into a `String` cannot fail.
            let _ = writeln!(told, "  POST {}", webhook_path(app, connection));
        }
    }
    print(printable_lines(&told))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    host.stop().await;
    Ok(Exit::Fine)
}

/// Ends the process: what stands still cannot be stopped in order.
fn stood_still(what: &str) {
    tracing::error!("{what}; hint: the last jobs that were started are named in the log, and are tried again");
    std::process::exit(Exit::Standstill as i32);
}

fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

/// What a start needs of the process.
pub(super) fn start(surroundings: &Surroundings) -> Start {
    let now = u64::try_from(surroundings.now.as_nanos() & u128::from(u64::MAX)).unwrap_or_default();
    let process = std::process::id();
    Start {
        clock: Arc::new(WallClock),
        seed: now ^ (u64::from(process) << 32),
        // The leases of an earlier start with the same process id are somebody else's.
        host: format!("{process}-{now:x}"),
        watch: Arc::new(Unwatched),
        on_standstill: None,
        compiler: surroundings.program.clone(),
    }
}

/// The executor of a host.
pub(super) fn executor() -> Result<tokio::runtime::Runtime, Fail> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Timers are looked at often enough that a deadline inside of a host call holds while guests keep all threads busy.
        .event_interval(8)
        .build()
        .map_err(|error| Fail::failed(format_args!("the executor cannot start: {error}")))
}
