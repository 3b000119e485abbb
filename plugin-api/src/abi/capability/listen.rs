//! TCP listeners on granted ports.

use crate::abi::{bytes::Bytes, interface::interface};

interface! {
    /// Binds ports that the manifest asks for.
    pub interface Listen: ListenProvider / ListenTable = "nself.listen/1" {
        /// Binds the port; 0 asks for the manifest's only one, wherever the operator has put it.
        async fn bind(port: u32) -> Listener;
    }
}

interface! {
    /// A bound port.
    pub interface Listener: ListenerProvider / ListenerTable = "nself.listener/1" {
        /// The port that was bound.
        sync fn port() -> u32;
        /// The next connection.
        async fn accept() -> Connection;
    }
}

interface! {
    /// A byte stream with a peer.
    pub interface Connection: ConnectionProvider / ConnectionTable = "nself.connection/1" {
        /// Address of the peer.
        sync fn peer() -> Bytes;
        /// The next bytes, at most `max`; empty at the end.
        async fn read(max: u32) -> Bytes;
        /// Writes all of it.
        async fn write(bytes: Bytes);
        /// Ends the sending side.
        async fn shutdown();
    }
}
