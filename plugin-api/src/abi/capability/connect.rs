//! Byte streams to servers that were granted.

use crate::abi::{
    bytes::{Bytes, Str},
    interface::interface,
};

/// `tls` of [`Connect::open`].
pub mod tls {
    /// Plain, until [`Outgoing::start_tls`](super::Outgoing::start_tls).
    pub const NONE: u32 = 0;
    /// From the first byte.
    pub const FIRST: u32 = 1;
}

interface! {
    /// Connects to servers that the manifest asks for, and to the one that the plugin's configuration names. The host
    /// resolves, checks the address, and does TLS.
    pub interface Connect: ConnectProvider / ConnectTable = "nself.connect/1" {
        /// The same, which trusts these certificates (PEM) beside the system's.
        async fn trusting(certificates: Bytes) -> Connect;
        /// Connects. `host` is a name or an address, `tls` one of [`tls`]. `timeout_ms` bounds this, and then each use of the
        /// stream together, until [`Outgoing::set_deadline`] says otherwise.
        async fn open(host: Str<'_>, port: u32, tls: u32, timeout_ms: u64) -> Outgoing;
    }
}

interface! {
    /// A byte stream to a server; dropped, it closes.
    pub interface Outgoing: OutgoingProvider / OutgoingTable = "nself.outgoing/1" {
        /// Address of the server.
        sync fn peer() -> Bytes;
        /// All reads, writes and handshakes from now on must be done within this time.
        sync fn set_deadline(timeout_ms: u64);
        /// The next bytes, at most `max`; empty at the end.
        async fn read(max: u32) -> Bytes;
        /// Writes all of it.
        async fn write(bytes: Bytes);
        /// Ends the sending side.
        async fn shutdown();
        /// Turns the stream into TLS. The server's certificate must be good for the host that was opened.
        async fn start_tls();
    }
}
