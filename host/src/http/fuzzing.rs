//! Fuzz targets: what stands before a request, and its address.

use http::{Request, Uri, header::HOST};
use percent_encoding::percent_decode_str;

use super::address;
pub(crate) use super::proxy_protocol::fuzzing::proxy_protocol;

/// What passes leads nowhere else, however it is decoded.
pub(crate) fn address(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else {
        return;
    };
    let request = Request::builder().uri(uri).header(HOST, "localhost");
    let Ok((parts, ())) = request.body(()).map(Request::into_parts) else {
        return;
    };
    if address::check(&parts).is_err() {
        return;
    }
    let path = parts.uri.path();
    let decoded = percent_decode_str(path).decode_utf8();
    let decoded = decoded.expect("a path that passed is UTF-8");
    assert!(!decoded.contains(['\0', '\u{1b}', '\u{7f}']));
    for segment in decoded.split(['/', '\\']) {
        assert!(segment != "." && segment != "..", "{path}");
    }
    assert_eq!(address::decode(path), decoded);
}
