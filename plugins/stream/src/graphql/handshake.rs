//! How a WebSocket to Hasura begins.

use std::fmt::Write as _;

use nself_plugin_api::http::{HeaderMap, header::SEC_WEBSOCKET_PROTOCOL};
use tungstenite::handshake::{client::Response, derive_accept_key, machine::TryParse};

/// Longest answer.
pub(super) const BYTES_MAX: usize = 16_384;

/// The protocols that a client offers.
pub(super) fn offered(headers: &HeaderMap) -> Vec<&str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let lists = lists.filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .collect()
}

/// The request. What stands in it is a header that was read, or configuration; neither has a line break.
pub(super) fn request(
    host: &str,
    path: &str,
    key: &str,
    protocol: &str,
    bearer: Option<&str>,
) -> String {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n"
    );
    if let Some(bearer) = bearer {
        let _ = write!(request, "Authorization: {bearer}\r\n");
    }
    request.push_str("\r\n");
    request
}

/// How many bytes of these the answer has, once all of it is there.
///
/// # Errors
///
/// When it is no consent to that key and protocol.
pub(super) fn consent(bytes: &[u8], key: &str, protocol: &str) -> Result<Option<usize>, String> {
    let parsed = Response::try_parse(bytes).map_err(|error| error.to_string())?;
    let Some((length, response)) = parsed else {
        return Ok(None);
    };
    let says = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok()
    };
    if response.status().as_u16() != 101 {
        return Err(format!("it answers with {}", response.status()));
    }
    if says("sec-websocket-accept") != Some(&*derive_accept_key(key.as_bytes())) {
        return Err("it has not read the key".to_owned());
    }
    if says("sec-websocket-protocol") != Some(protocol) {
        return Err(format!("it does not speak {protocol}"));
    }
    Ok(Some(length))
}
