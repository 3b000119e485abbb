//! The span of a request, described as OpenTelemetry's conventions for HTTP have it.
//!
//! Addresses carry ids and codes, and queries anything: of the path only what the route says is shown.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts, uri::Authority};

use super::{RequestId, peer::Peer, table::Entry};
use crate::telemetry::trace::{Kind, Span, Trace};

/// What stands where something is not shown.
const REDACTED: &str = "REDACTED";

/// The methods that the conventions know; one that somebody has made up would be another row in every chart.
const KNOWN: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// Begins the span of a request, where its trace is recorded.
pub(super) fn begin(trace: &Trace, parts: &Parts, peer: &Peer) -> Option<Box<Span>> {
    let mut span = trace.span(Kind::Server, "HTTP")?;
    span.text("http.request.method", method(&parts.method))
        .text("url.scheme", if peer.tls { "https" } else { "http" })
        .text("client.address", &peer.address.ip().to_string());
    if let Some(authority) = authority(parts) {
        span.text("server.address", authority.host());
        if let Some(port) = authority.port_u16() {
            span.number("server.port", port.into());
        }
    }
    if let Some(agent) = text(&parts.headers, header::USER_AGENT) {
        span.text("user_agent.original", agent);
    }
    Some(span)
}

/// Ends it with what has become of the request.
pub(super) fn end(
    span: &mut Span,
    request_id: &RequestId,
    asked: &Method,
    entry: Option<&Entry>,
    status: StatusCode,
) {
    let asked = method(asked);
    span.text("nself.request_id", &request_id.to_string());
    if let Some(entry) = entry {
        let route = &*entry.route.path;
        span.rename(format!("{asked} {route}"));
        span.text("http.route", route)
            .text("url.path", &without_values(route))
            .text("nself.plugin", &entry.plugin);
    } else {
        span.rename(asked.to_owned());
        span.text("url.path", REDACTED);
    }
    span.number("http.response.status_code", status.as_u16().into());
    // What the caller did wrong is no error of who answers.
    if status.is_server_error() {
        span.fail(status.as_str());
    } else {
        span.succeed();
    }
}

fn method(method: &Method) -> &str {
    if KNOWN.contains(method) {
        method.as_str()
    } else {
        "_OTHER"
    }
}

fn authority(parts: &Parts) -> Option<Authority> {
    let of_uri = parts.uri.authority().cloned();
    of_uri.or_else(|| text(&parts.headers, header::HOST)?.parse().ok())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(HeaderValue::to_str)?.ok()
}

/// The route's path, its parameters hidden.
fn without_values(route: &str) -> String {
    let segments = route.split('/').map(|segment| {
        if segment.contains('{') {
            REDACTED
        } else {
            segment
        }
    });
    segments.collect::<Vec<_>>().join("/")
}
