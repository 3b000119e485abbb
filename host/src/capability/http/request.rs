//! From what crosses to a request that may go out.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};
use nself_plugin_api::abi::{self, bytes::Str, response::headers, stream::Stream};
use url::Url;

use super::{body::RequestBody, connect, error::EgressError, list::EgressList};
use crate::telemetry::trace;

/// Longest URL.
const URL_BYTES_MAX: usize = 8 * 1024;
/// All headers of a request together.
const HEADER_BYTES_MAX: usize = 64 * 1024;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("nself/", env!("CARGO_PKG_VERSION")));

/// Headers of one connection, not of the message (RFC 9110, section 7.6.1): the host makes them itself.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection", "http2-settings"].contains(&name.as_str())
}

/// A request that has passed the first gate.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) request: Request<RequestBody>,
    /// Method, scheme, host and port: all that errors may say of it.
    pub(super) origin: Arc<str>,
}

/// Checks all parts. Runs inside the caller's task, whose trace the request joins.
pub(super) fn prepare(
    list: &EgressList,
    method: Str<'_>,
    url: Str<'_>,
    block: &[u8],
    bytes: abi::bytes::Bytes,
    stream: Stream,
) -> Result<Prepared, EgressError> {
    let uri = parse_url(url.to_option().unwrap_or_default())?;
    connect::check(list, uri.host().unwrap_or_default(), connect::port(&uri))?;
    let method = match Method::from_bytes(method.bytes().unwrap_or_default()) {
        // It asks for a tunnel, which would pass the gates by.
        Ok(Method::CONNECT) | Err(_) => {
            return Err(EgressError::Request {
                reason: "has a method that is not allowed",
            });
        }
        Ok(method) => method,
    };
    let origin = format!(
        "{method} {}://{}",
        uri.scheme_str().unwrap_or_default(),
        authority(&uri)
    )
    .into();
    let body = RequestBody::new(bytes, stream);
    let mut request = Request::new(body);
    *request.headers_mut() = parse_headers(block, &uri, request.body())?;
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    Ok(Prepared { request, origin })
}

/// Normalises as browsers do, so that what is checked is what is connected to: `http://127.1` becomes `http://127.0.0.1`.
fn parse_url(text: &str) -> Result<Uri, EgressError> {
    let refuse = |reason| Err(EgressError::Url { reason });
    if text.len() > URL_BYTES_MAX {
        return refuse("is longer than 8 KiB");
    }
    if text.is_empty()
        || text
            .chars()
            .any(|char| char.is_ascii_control() || char == ' ')
    {
        // The parser would drop some of these without a word.
        return refuse("is empty, or has spaces or control characters: percent-encode them");
    }
    let Ok(mut url) = Url::parse(text) else {
        return refuse("cannot be read");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("carries credentials: send them in a header");
    }
    url.set_fragment(None);
    if let Some(name) = url
        .domain()
        .and_then(|name| name.strip_suffix('.'))
        .map(str::to_owned)
    {
        // The root's dot changes nothing for DNS, but would slip by comparisons of names and certificates.
        if url.set_host(Some(&name)).is_err() {
            return refuse("has no valid host");
        }
    }
    url.as_str().parse().or_else(|_| refuse("cannot be sent"))
}

/// Host and port as the `host` header has them.
fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", http::uri::Authority::as_str)
}

fn parse_headers(block: &[u8], uri: &Uri, body: &RequestBody) -> Result<HeaderMap, EgressError> {
    let refuse = |reason| EgressError::Request { reason };
    if block.len() > HEADER_BYTES_MAX {
        return Err(refuse("has more than 64 KiB of headers"));
    }
    let mut map = HeaderMap::new();
    for (name, value) in headers(block) {
        let name =
            HeaderName::from_bytes(name).map_err(|_| refuse("has an invalid header name"))?;
        let value =
            HeaderValue::from_bytes(value).map_err(|_| refuse("has an invalid header value"))?;
        if name == HOST {
            // Another name than the one that was checked would reach other sites of a shared server.
            if !value
                .as_bytes()
                .eq_ignore_ascii_case(authority(uri).as_bytes())
            {
                return Err(refuse("has a host header that differs from its url"));
            }
        } else if is_hop_by_hop(&name) || (name == CONTENT_LENGTH && body.is_sized()) {
            // The client writes these itself, from what it really sends.
        } else {
            map.try_append(name, value)
                .map_err(|_| refuse("has too many headers"))?;
        }
    }
    // A plugin that states its own follows somebody else's trace.
    if !map.contains_key(TRACEPARENT)
        && let Some(trace) = trace::current()
        && let Ok(parent) = HeaderValue::from_str(&trace.context().to_string())
    {
        map.insert(TRACEPARENT, parent);
        if let Some(state) = trace.state() {
            map.insert(TRACESTATE, state.clone());
        }
    }
    map.entry(USER_AGENT).or_insert(AGENT);
    Ok(map)
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::abi::response::push_header;

    use super::*;
    use crate::{http::TraceContext, telemetry::trace::Trace};

    #[track_caller]
    fn check_url(text: &str, expected: &str) {
        assert_eq!(
            parse_url(text).map_or_else(|error| error.to_string(), |uri| uri.to_string()),
            expected,
            "{text}"
        );
    }

    #[test]
    fn a_url_is_normalised_before_it_is_checked() {
        check_url("http://127.1", "http://127.0.0.1/");
        check_url("http://2130706433/", "http://127.0.0.1/");
        check_url("http://0x7f.0.0.1/", "http://127.0.0.1/");
        check_url("http://0177.0.0.1/", "http://127.0.0.1/");
        check_url(
            "http://[0:0:0:0:0:ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
        );
        check_url(
            "HTTPS://Bücher.Example.:443/a b"
                .replace(' ', "%20")
                .as_str(),
            "https://xn--bcher-kva.example/a%20b",
        );
        check_url("http://example.org/a?b#c", "http://example.org/a?b");
        check_url("http://127.0.0.1./", "http://127.0.0.1/");
        check_url("http://①②⑦.0.0.1/", "http://127.0.0.1/");
        check_url("http:\\\\example.org\\a", "http://example.org/a");
    }

    #[test]
    fn what_is_no_plain_http_url_is_refused_without_repeating_it() {
        check_url(
            "ftp://example.org/",
            "the url of an outgoing request is neither http nor https",
        );
        check_url(
            "file:///etc/passwd",
            "the url of an outgoing request is neither http nor https",
        );
        check_url(
            "http://user:secret@example.org/",
            "the url of an outgoing request carries credentials: send them in a header",
        );
        check_url(
            "http://user@example.org/",
            "the url of an outgoing request carries credentials: send them in a header",
        );
        check_url("/relative", "the url of an outgoing request cannot be read");
        check_url("http://", "the url of an outgoing request cannot be read");
        check_url(
            "http://example.org:99999/",
            "the url of an outgoing request cannot be read",
        );
        for text in [
            "",
            "http://example.org/\r\nx: y",
            "http://exa\tmple.org/",
            " http://example.org/",
        ] {
            assert!(
                matches!(parse_url(text), Err(EgressError::Url { .. })),
                "{text:?}"
            );
        }
        assert!(parse_url(&format!("http://example.org/{}", "a".repeat(URL_BYTES_MAX))).is_err());
    }

    fn prepared(
        method: &str,
        headers: &[(&str, &[u8])],
        stream: Stream,
    ) -> Result<Prepared, EgressError> {
        let list = EgressList::parse(&["example.org"]).expect("a list");
        let mut block = Vec::new();
        for (name, value) in headers {
            assert!(push_header(&mut block, name, value));
        }
        prepare(
            &list,
            method.into(),
            "http://example.org:81/secret?key=1".into(),
            &block,
            abi::bytes::Bytes::new(),
            stream,
        )
    }

    #[test]
    fn headers_of_the_connection_are_the_hosts_own() {
        let headers: &[(&str, &[u8])] = &[
            ("connection", b"close"),
            ("Transfer-Encoding", b"chunked"),
            ("keep-alive", b"1"),
            ("upgrade", b"h2c"),
            ("content-length", b"7"),
            ("host", b"EXAMPLE.org:81"),
            ("x-a", b"1"),
            ("x-a", b"2"),
        ];
        let prepared = prepared("GET", headers, Stream::empty()).expect("a request");
        let mut names: Vec<_> = prepared
            .request
            .headers()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["user-agent", "x-a", "x-a"]);
        assert_eq!(&*prepared.origin, "GET http://example.org:81");
    }

    #[test]
    fn a_stream_may_state_its_length() {
        let stream = Stream::new(futures_util::stream::empty());
        let prepared = prepared("PUT", &[("content-length", b"7")], stream).expect("a request");
        assert_eq!(prepared.request.headers()[CONTENT_LENGTH], "7");
    }

    #[test]
    fn a_request_that_could_be_two_is_refused() {
        let refused = |method, headers: &[(&str, &[u8])]| {
            assert!(
                matches!(
                    prepared(method, headers, Stream::empty()),
                    Err(EgressError::Request { .. })
                ),
                "{method} {headers:?}"
            );
        };
        refused("GET", &[("x", b"1\r\ny: 2")]);
        refused("GET", &[("x\r\ny", b"1")]);
        refused("GET", &[("x", b"1\n2")]);
        refused("GET", &[("host", b"other.example.org")]);
        refused("GET", &[("x", &vec![b'a'; HEADER_BYTES_MAX])]);
        refused("CONNECT", &[]);
        refused("GET /a HTTP/1.1\r\n", &[]);
        refused("", &[]);
    }

    #[tokio::test]
    async fn the_trace_of_the_served_request_goes_on() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::parse(parent).expect("a traceparent");
        let trace = Trace::from(trace);
        let sent = trace
            .clone()
            .scope(async { prepared("GET", &[], Stream::empty()) })
            .await;
        assert_eq!(
            sent.expect("a request").request.headers()["traceparent"],
            parent
        );
        let own = trace
            .scope(async { prepared("GET", &[("traceparent", b"mine")], Stream::empty()) })
            .await;
        assert_eq!(
            own.expect("a request").request.headers()["traceparent"],
            "mine"
        );
        assert!(
            !prepared("GET", &[], Stream::empty())
                .expect("a request")
                .request
                .headers()
                .contains_key("traceparent")
        );
    }
}
