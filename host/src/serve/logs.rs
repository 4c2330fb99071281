//! Where log entries go: the host's own and those of plugins, to one place, as text or as JSON.

use std::io;

use anyhow::Result;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};
use tradewind_runtime::session::{Level as PluginLevel, LogEntry};

use crate::config::{Log, LogFormat};
use crate::pipeline::{LogSink, Source};

/// Plugins' entries, each with whose it is.
#[derive(Debug)]
pub struct PluginLog;

impl LogSink for PluginLog {
    fn log(&self, from: &Source<'_>, entry: LogEntry) {
        macro_rules! tell {
            ($level:expr) => {
                tracing::event!(
                    target: "plugin",
                    $level,
                    app = &*from.shop.app,
                    shop.id = &*from.shop.id,
                    plugin = from.plugin,
                    action = from.action,
                    delivery.seq = from.delivery_seq,
                    job.seq = from.job_seq,
                    fields = entry.fields.as_str(),
                    "{}",
                    entry.message
                )
            };
        }
        match entry.level {
            PluginLevel::Trace => tell!(Level::TRACE),
            PluginLevel::Debug => tell!(Level::DEBUG),
            PluginLevel::Info => tell!(Level::INFO),
            PluginLevel::Warn => tell!(Level::WARN),
            PluginLevel::Error => tell!(Level::ERROR),
        }
    }
}

/// Writes what the process logs to its standard error, from now on. Once for a process.
///
/// `filter` is what `TRADEWIND_LOG` holds, for more of one part than of others: `info,tradewind_host::scheduler=debug`.
pub fn listen(log: Log, filter: Option<&str>) -> Result<()> {
    let filter = match filter {
        Some(filter) => EnvFilter::try_new(filter)?,
        None => EnvFilter::default().add_directive(log.level.into()),
    };
    let layer = fmt::layer().with_writer(io::stderr);
    let layer = match log.format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(())
}
