//! What a request says about where it comes from.

use std::net::{IpAddr, SocketAddr};

use nself_plugin_api::{
    extract::{Extract, Request},
    prelude::*,
};

/// Longest text of a header that is kept.
const TEXT_MAX: usize = 400;

/// Where a request comes from. The address is the host's finding: a forwarded header counts only behind a trusted proxy.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    /// The app's name for itself.
    pub(crate) client: Option<String>,
    /// What it would like to read.
    pub(crate) language: String,
}

impl Caller {
    /// What counts as one neighbourhood when tries are counted: a network of IPv6 (/64) belongs to one household, as one
    /// address of IPv4 does.
    pub(crate) fn network(&self) -> String {
        match self.ip {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(ip)) => ip.to_string(),
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.segments();
                let mapped = ip.to_ipv4_mapped().map(|ip| ip.to_string());
                mapped.unwrap_or_else(|| format!("{a:x}:{b:x}:{c:x}:{d:x}"))
            }
        }
    }
}

impl Extract for Caller {
    async fn extract(request: &mut Request) -> Result<Self> {
        let text = |name: &str| {
            let value = request.header(name)?;
            let short: String = value
                .chars()
                .filter(|c| !c.is_control())
                .take(TEXT_MAX)
                .collect();
            (!short.is_empty()).then_some(short)
        };
        let peer = request.peer();
        let ip = peer
            .parse::<SocketAddr>()
            .map(|address| address.ip())
            .or_else(|_| peer.parse());
        Ok(Self {
            ip: ip.ok(),
            user_agent: text("user-agent"),
            client: text("x-client-name"),
            language: language(request.header("accept-language").unwrap_or_default()),
        })
    }
}

/// The first language of an `Accept-Language` header, by its primary tag.
fn language(header: &str) -> String {
    let first = header
        .split([',', ';', '-'])
        .next()
        .unwrap_or_default()
        .trim();
    if (2..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        first.to_ascii_lowercase()
    } else {
        "en".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_is_taken() {
        assert_eq!(language("de-AT,de;q=0.9,en;q=0.8"), "de");
        assert_eq!(language("EN"), "en");
        for strange in ["", "*", "x", "../../etc", "english"] {
            assert_eq!(language(strange), "en", "{strange}");
        }
    }

    #[test]
    fn a_household_is_one_network() {
        let network = |ip: &str| {
            let caller = Caller {
                ip: ip.parse().ok(),
                user_agent: None,
                client: None,
                language: "en".into(),
            };
            caller.network()
        };
        assert_eq!(
            network("2001:db8:1:2:3::4"),
            network("2001:db8:1:2:ffff::1")
        );
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
