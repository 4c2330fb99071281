//! Where log entries go: the host's own and those of plugins, to one place, as text or as JSON.

use std::io;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};
use tradewind_platform::shopify::install_tls;
use tradewind_runtime::session::{Level as PluginLevel, LogEntry};

use crate::config::{Log, LogFormat, Traces};
use crate::pipeline::{LogSink, Source};
use crate::watch::Watch;

/// Plugins' entries, each with whose it is; whoever watches is told too.
pub(super) struct PluginLog(pub(super) Arc<dyn Watch>);

impl LogSink for PluginLog {
    fn log(&self, from: &Source<'_>, entry: LogEntry) {
        self.0.logged(from, &entry);
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

/// Keeps the traces going until it is told to end.
#[derive(Debug, Default)]
#[must_use = "what is not sent yet is lost when it is dropped"]
pub struct Listening(Option<SdkTracerProvider>);

impl Listening {
    /// Sends what is not sent yet.
    pub fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Writes what the process logs to its standard error, and sends traces where they are wanted, from now on. Once for a
/// process.
///
/// `filter` is what `TRADEWIND_LOG` holds, for more of one part than of others: `info,tradewind_host::scheduler=debug`.
pub fn listen(log: Log, traces: Option<&Traces>, filter: Option<&str>) -> Result<Listening> {
    let filter = match filter {
        Some(filter) => EnvFilter::try_new(filter).context("TRADEWIND_LOG; hint: `info,tradewind_host=debug`")?,
        None => EnvFilter::default().add_directive(log.level.into()),
    };
    let written = fmt::layer().with_writer(io::stderr);
    let written = match log.format {
        LogFormat::Text => written.with_target(false).boxed(),
        LogFormat::Json => written.json().flatten_event(true).boxed(),
    };
    let provider = traces.map(provider).transpose().context("traces")?;
    let sent = provider.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("tradewind"));
        // What the sender itself does would make new traces without end.
        let ours = |metadata: &tracing::Metadata<'_>| {
            *metadata.level() <= Level::INFO && metadata.target().starts_with("tradewind")
        };
        layer.with_filter(filter_fn(ours))
    });
    tracing_subscriber::registry().with(written.with_filter(filter)).with(sent).try_init()?;
    Ok(Listening(provider))
}

fn provider(traces: &Traces) -> Result<SdkTracerProvider> {
    // The sender's HTTP client is made here, before any other.
    install_tls();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", traces.endpoint.trim_end_matches('/')))
        .build()?;
    let resource = Resource::builder().with_service_name("tradewind").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
