//! Headers that every answer carries, whatever made it.

use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, Entry, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::RequestId;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// For pages that state no policy: their own scripts and styles from here, nothing inline, no framing.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Puts the host's headers on an answer. A policy that the handler stated itself stays.
pub(super) fn secure(headers: &mut HeaderMap, request_id: &RequestId, hsts: Option<&HeaderValue>) {
    headers.insert(X_REQUEST_ID, request_id.to_header());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Entry::Vacant(vacant) = headers.entry(REFERRER_POLICY) {
        vacant.insert(HeaderValue::from_static("no-referrer"));
    }
    if is_page(headers) {
        if let Entry::Vacant(vacant) = headers.entry(CONTENT_SECURITY_POLICY) {
            vacant.insert(PAGE_POLICY);
        }
        if let Entry::Vacant(vacant) = headers.entry(X_FRAME_OPTIONS) {
            vacant.insert(HeaderValue::from_static("DENY"));
        }
    }
    if let Some(hsts) = hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

/// Documents that a browser runs: SVG carries scripts, too.
fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    ["text/html", "application/xhtml+xml", "image/svg+xml"]
        .iter()
        .any(|page| {
            kind.get(..page.len())
                .is_some_and(|kind| kind.eq_ignore_ascii_case(page.as_bytes()))
        })
}
