//! Who is at the other end, and whether the way there is encrypted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use super::{Door, Settings};

/// The caller's address and whether it speaks TLS, as far as the host can believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
}

impl Peer {
    /// The socket's peer; when that is a trusted proxy, the right-most address in `x-forwarded-for` that is not
    /// one. Left of it anybody may have written anything. What such a proxy says of its caller's connection goes before what its own is.
    pub(super) fn find(settings: &Settings, door: &Door, headers: &HeaderMap) -> Self {
        let socket = door.peer;
        if settings.trusted_proxies.is_empty() || !settings.trusts(socket.ip()) {
            return Self {
                address: socket,
                tls: door.is_tls,
            };
        }
        let tls = headers
            .get("x-forwarded-proto")
            .map_or(door.is_tls, |proto| {
                proto.as_bytes().eq_ignore_ascii_case(b"https")
            });
        let mut address = socket;
        // Several headers are one list; the last header is the right end.
        for value in headers
            .get_all("x-forwarded-for")
            .iter()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            for hop in value.to_str().unwrap_or_default().rsplit(',') {
                let Some(ip) = parse(hop.trim()) else {
                    return Self { address, tls };
                };
                address = SocketAddr::new(ip, 0);
                if !settings.trusts(ip) {
                    return Self { address, tls };
                }
            }
        }
        Self { address, tls }
    }
}

/// An address with or without port, as proxies write it.
fn parse(hop: &str) -> Option<IpAddr> {
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_peer(socket: &str, forwarded: &[&str], expected: &str) {
        let settings = Settings {
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            ..Settings::default()
        };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a header value"));
        }
        let peer = Peer::find(&settings, &door(socket, false), &headers);
        assert_eq!(peer.address.ip().to_string(), expected, "{forwarded:?}");
    }

    fn door(socket: &str, is_tls: bool) -> Door {
        Door {
            plugin: None,
            peer: SocketAddr::new(socket.parse().expect("an address"), 9),
            is_tls,
        }
    }

    #[track_caller]
    fn check_tls(socket: &str, is_tls: bool, proto: Option<&str>, expected: bool) {
        let settings = Settings {
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            ..Settings::default()
        };
        let mut headers = HeaderMap::new();
        if let Some(proto) = proto {
            headers.append("x-forwarded-proto", proto.parse().expect("a header value"));
        }
        let peer = Peer::find(&settings, &door(socket, is_tls), &headers);
        assert_eq!(peer.tls, expected, "{socket} {is_tls} {proto:?}");
    }

    #[test]
    fn a_connection_says_itself_whether_it_is_encrypted_and_a_trusted_proxy_speaks_for_its_caller()
    {
        for (is_tls, proto, of_stranger, of_proxy) in [
            (false, None, false, false),
            (true, None, true, true),
            (false, Some("https"), false, true),
            (true, Some("http"), true, false),
            (true, Some("HTTPS"), true, true),
        ] {
            check_tls("203.0.113.9", is_tls, proto, of_stranger);
            check_tls("10.0.0.1", is_tls, proto, of_proxy);
        }
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        check_peer("203.0.113.9", &["198.51.100.1"], "203.0.113.9");
    }

    #[test]
    fn behind_a_trusted_proxy_the_first_untrusted_address_from_the_right_counts() {
        check_peer("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check_peer(
            "10.0.0.1",
            &["6.6.6.6, 198.51.100.1:4711, 10.0.0.2"],
            "198.51.100.1",
        );
        check_peer("10.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1");
        check_peer("10.0.0.1", &["6.6.6.6, nonsense, 10.0.0.2"], "10.0.0.2");
        check_peer("10.0.0.1", &[], "10.0.0.1");
    }
}
