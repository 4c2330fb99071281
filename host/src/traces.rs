//! Traces that follow a delivery over all that it leads to: its jobs, their calls, and the webhooks that report those calls.
//!
//! A trace's place is kept as text (W3C Trace Context, `traceparent`) in the jobs that a piece of work makes and in the notes
//! of the calls that it makes. Without a collector there are no places, and nothing is kept.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Where the present work is in its trace; none when it is not traced.
pub(crate) fn place() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let place = span.span_context();
    place.is_valid().then(|| format!("00-{}-{}-{:02x}", place.trace_id(), place.span_id(), place.trace_flags().to_u8()))
}

/// Makes a span that has not begun yet the continuation of a place. A place that cannot be read begins a new trace.
pub(crate) fn follow(span: &Span, place: Option<&str>) {
    if let Some(place) = place.and_then(parsed) {
        // An error says that the span is not traced.
        let _ = span.set_parent(Context::new().with_remote_span_context(place));
    }
}

fn parsed(place: &str) -> Option<SpanContext> {
    let mut parts = place.split('-');
    let (Some("00"), Some(trace), Some(span), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let place = SpanContext::new(trace, span, flags, true, TraceState::default());
    place.is_valid().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let place = parsed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(place.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(place.is_sampled() && place.is_remote());
        for wrong in ["", "00", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-x-y-01", "00-0-0-01"] {
            assert!(parsed(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn nobody_who_listens_means_no_place() {
        assert_eq!(place(), None);
        follow(&Span::none(), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    }
}
