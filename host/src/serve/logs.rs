//! Where log entries go: the host's own and those of plugins, to one place, as text or as JSON.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};
use tradewind_platform::shopify::install_tls;
use tradewind_runtime::session::{Level as PluginLevel, LogEntry};

use crate::config::{Log, LogFormat, Traces};
use crate::pipeline::{LogSink, Source};
use crate::printable::one_line;
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
    let written = match log.format {
        LogFormat::Text => text(io::stderr, is_coloured()).boxed(),
        LogFormat::Json => fmt::layer().with_writer(io::stderr).json().flatten_event(true).boxed(),
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

/// The log for people: an entry is a line, whatever strangers' texts are in it.
fn text<S, W>(writer: W, coloured: bool) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    let field = format::debug_fn(|out: &mut format::Writer<'_>, field: &tracing::field::Field, value| {
        let value = one_line(&format!("{value:?}"));
        if field.name() == "message" { out.write_str(&value) } else { write!(out, "{field}={value}") }
    });
    fmt::layer().with_writer(writer).with_ansi(coloured).with_target(false).fmt_fields(field.delimited(" "))
}

/// Colours are for terminals, and for people who have not asked for none.
#[expect(clippy::disallowed_methods, reason = "the convention of terminals, not configuration")]
fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_entry_is_a_line_without_anything_that_a_terminal_obeys() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry().with(text(move || writer.clone(), false));
        let odd = "a\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\r";
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("job", topic = %odd, shop = odd).entered();
            tracing::warn!(app = odd, reason = %odd, "{odd}");
            tracing::info!(count = 5, "fine");
            drop(span);
        });
        let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = written.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 2, "{written}");
        assert_eq!(written.chars().filter(|c| c.is_control()).count(), 2, "{written:?}");
        assert!(lines[0].contains(" a\\n2026-01-01T00:00:00Z ERROR forged\\u{1b}[31m\\r app="), "{written}");
        assert!(lines[1].ends_with("fine count=5\n"), "{written}");
    }
}
