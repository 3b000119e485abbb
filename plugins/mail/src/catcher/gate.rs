//! Who may look into the catcher.

use std::net::{IpAddr, SocketAddr};

use nself_plugin_api::{
    extract::{Extract, Request},
    prelude::*,
};

use crate::{Mail, catcher, config::OpenTo};

/// Headers of those that hand a request on.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

/// Who asks for a page of the catcher. Every handler of it begins with [`admit`](Self::admit).
#[derive(Debug)]
pub(crate) struct Visitor {
    peer: String,
    /// What the visitor calls this server.
    host: Option<String>,
    is_forwarded: bool,
}

impl Extract for Visitor {
    async fn extract(request: &mut Request) -> Result<Self> {
        let headers = request.headers();
        let host = headers.get("host");
        // What is not text is no name of this machine.
        let host = host.map(|host| host.to_str().unwrap_or_default().to_owned());
        Ok(Self {
            peer: request.peer().to_owned(),
            host,
            is_forwarded: PROXY_HEADERS.iter().any(|name| headers.contains_key(*name)),
        })
    }
}

impl Visitor {
    /// Lets the visitor in, or answers as if nothing were here.
    ///
    /// # Errors
    ///
    /// 404.
    pub(crate) fn admit(&self, cx: &Cx<Mail>) -> Result<()> {
        let open_to = cx.plugin().settings.config.catcher_open_to;
        if catcher::is_there(cx) && self.may_look(open_to) {
            return Ok(());
        }
        Err(Error::not_found("NOT_FOUND", "nothing is here"))
    }

    fn may_look(&self, open_to: OpenTo) -> bool {
        is_near(open_to, &self.peer) && (open_to != OpenTo::Loopback || self.is_direct())
    }

    /// Whether a request comes from here indeed: not handed on by a proxy of this machine, and not sent by the page of another
    /// site whose name was made to point to this machine. HTTP/2 has no such header; browsers speak that with TLS only.
    fn is_direct(&self) -> bool {
        !self.is_forwarded && self.host.as_deref().is_none_or(is_loopback_name)
    }
}

/// Whether the catcher answers a peer, given as `address` or `address:port`.
pub(crate) fn is_near(open_to: OpenTo, peer: &str) -> bool {
    let socket = peer.parse::<SocketAddr>().map(|socket| socket.ip());
    let Ok(address) = socket.or_else(|_| peer.parse::<IpAddr>()) else {
        return open_to == OpenTo::Everybody;
    };
    let address = address.to_canonical();
    match open_to {
        OpenTo::Everybody => true,
        OpenTo::Loopback => address.is_loopback(),
        OpenTo::Private => address.is_loopback() || is_private(address),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_peer(open_to: OpenTo, peer: &str, expected: bool) {
        assert_eq!(is_near(open_to, peer), expected, "{peer} for {open_to:?}");
    }

    #[test]
    fn only_this_machine_is_answered_unless_the_configuration_says_otherwise() {
        for here in [
            "127.0.0.1:5000",
            "127.8.8.8",
            "[::1]:5000",
            "::1",
            "[::ffff:127.0.0.1]:5000",
        ] {
            check_peer(OpenTo::Loopback, here, true);
        }
        for near in ["192.168.1.2:5000", "172.17.0.2:5000", "[fd00::1]:5000"] {
            check_peer(OpenTo::Loopback, near, false);
            check_peer(OpenTo::Private, near, true);
        }
        for far in ["203.0.113.7:5000", "[2001:db8::1]:5000", "", "unknown"] {
            check_peer(OpenTo::Loopback, far, false);
            check_peer(OpenTo::Private, far, false);
            check_peer(OpenTo::Everybody, far, true);
        }
    }

    #[track_caller]
    fn check_host(host: &str, is_forwarded: bool, expected: bool) {
        let visitor = Visitor {
            peer: "127.0.0.1:5000".to_owned(),
            host: Some(host.to_owned()),
            is_forwarded,
        };
        assert_eq!(visitor.may_look(OpenTo::Loopback), expected, "{host}");
        assert!(visitor.may_look(OpenTo::Private), "{host}");
    }

    #[test]
    fn a_page_of_another_site_and_a_proxy_are_not_this_machine() {
        check_host("localhost:8025", false, true);
        check_host("127.0.0.1:8025", false, true);
        check_host("[::1]:8025", false, true);
        check_host("mail.localhost", false, true);
        check_host("rebound.example.org:8025", false, false);
        check_host("localhost.example.org", false, false);
        check_host("localhost:8025", true, false);
    }
}
