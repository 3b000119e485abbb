//! What the operator can set, with the defaults that a stranger's machine gets.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Cors;

/// Limits of the HTTP side. Everything has one.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections over all listeners; more wait in the kernel's queue. Default 10,000.
    pub connections_max: usize,
    /// Largest request head. Default 64 KiB.
    pub head_bytes_max: usize,
    /// Time for a request head to arrive, counted from its first byte (the first one: from the connection). Default 10 s.
    pub head_timeout: Duration,
    /// How long a connection may stay open between two requests. Default 60 s.
    pub idle_timeout: Duration,
    /// Silence of a WebSocket client before it is asked whether it is there, and again before it is dropped. Default 30 s.
    pub websocket_ping: Duration,
    /// Whether messages of WebSockets are compressed for clients that offer it (permessage-deflate). Default no.
    pub websocket_deflate: bool,
    /// How long a caller may leave its receive window closed. Default 30 s.
    pub write_timeout: Duration,
    /// How long a request body may pause. Default 10 s.
    pub body_timeout: Duration,
    /// Largest request body where the route states nothing. Default 1 MiB.
    pub body_bytes_max: u64,
    /// Time for a handler to answer where the route states nothing. Default 30 s.
    pub request_timeout: Duration,
    /// Requests per minute, caller and plugin, where the route states nothing; 0 is no limit. Default 6,000.
    pub rate_per_minute: u32,
    /// Callers whose rate is remembered. Default 65,536.
    pub rate_callers_max: usize,
    /// Streams at once on one HTTP/2 connection. Default 128.
    pub h2_streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_bytes_max: 64 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            websocket_ping: Duration::from_secs(30),
            websocket_deflate: false,
            write_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            body_bytes_max: 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            rate_per_minute: 6_000,
            rate_callers_max: 65_536,
            h2_streams_max: 128,
        }
    }
}

/// Settings of the HTTP side.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Limits.
    pub limits: Limits,
    /// Which web pages of other origins may call; none by default.
    pub cors: Cors,
    /// Proxies whose `x-forwarded-for` and `x-forwarded-proto` are believed; none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those proxies, and nobody else, say whom they speak for by the PROXY protocol, before everything else; by default not.
    pub proxy_protocol: bool,
    /// Seconds of `strict-transport-security` on answers that travel over TLS (the host's own, or a trusted proxy's). 0 sends
    /// none, which is the default: a wrong value locks people out of their own machine.
    pub hsts_seconds: u32,
}

impl Settings {
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        // A listener for both families writes the old one's addresses as the new one's.
        let address = address.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&address))
    }
}
