//! Outgoing HTTP.

use crate::abi::{
    bytes::{Bytes, Str},
    interface::interface,
    response::Response,
    stream::Stream,
};

interface! {
    /// The host's client: pooled, TLS, SSRF guard, trace context added.
    pub interface Http: HttpProvider / HttpTable = "nself.http/1" {
        /// Sends a request; `headers` is a header block, the body is `bytes` or, when that is empty, `stream`.
        /// Resolves with the head; the body follows as a stream. `timeout_ms` bounds all of it.
        async fn send(method: Str<'_>, url: Str<'_>, headers: Bytes, bytes: Bytes, stream: Stream, timeout_ms: u64) -> Response;
    }
}
