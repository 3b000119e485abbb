//! Structured logging into the host's log and the request's trace.

use crate::abi::{bytes::Str, interface::interface};

interface! {
    /// Levels: 1 error, 2 warn, 3 info, 4 debug, 5 trace. Fields are a JSON object.
    pub interface Log: LogProvider / LogTable = "nself.log/1" {
        /// The most verbose level that is read.
        sync fn level() -> u32;
        /// An event.
        sync fn event(level: u32, target: Str<'_>, message: Str<'_>, fields: Str<'_>);
        /// Opens a span below the current one; 0 when it is not recorded.
        sync fn open_span(level: u32, target: Str<'_>, name: Str<'_>, fields: Str<'_>) -> u64;
        /// The calling thread works in the span from here.
        sync fn enter_span(span: u64);
        /// The calling thread leaves the span.
        sync fn exit_span(span: u64);
        /// The span is over.
        sync fn close_span(span: u64);
        /// A panic, from the plugin's panic hook.
        sync fn panicked(message: Str<'_>, location: Str<'_>);
    }
}
