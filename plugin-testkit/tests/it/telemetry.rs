//! Traces and metrics for a collector: what they say, what they never say, and what a collector can do to a host.

mod delivery;
mod metrics;
mod traces;

use nself_plugin_testkit::{
    Collector, TestHost, TestHostBuilder, attribute, otlp::trace::v1::Span,
};

use crate::fixture;

/// A caller's trace, which is recorded.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn exporting(collector: &Collector) -> TestHostBuilder {
    fixture().config(&collector.config_of_traces())
}

async fn exporting_host(collector: &Collector) -> TestHost {
    exporting(collector).start().await
}

fn hex(id: &[u8]) -> String {
    let append = |number: u128, byte: &u8| (number << 8) | u128::from(*byte);
    let number = id.iter().fold(0, append);
    format!("{number:0digits$x}", digits = 2 * id.len())
}

/// An attribute of a span, empty when it has none of that name.
fn said(span: &Span, key: &str) -> String {
    attribute(&span.attributes, key).unwrap_or_default()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

/// Waits for a span of that name in the caller's trace.
async fn span_of(collector: &Collector, name: &str) -> Span {
    let is_it = |span: &Span| span.name == name && hex(&span.trace_id) == TRACE;
    collector.span(name, is_it).await
}

/// The span below which this one is.
async fn parent_of(collector: &Collector, span: &Span) -> Span {
    let id = span.parent_span_id.clone();
    let what = format!("the parent of {}", span.name);
    collector.span(&what, |one| one.span_id == id).await
}
