//! The egress list of a plugin: which hosts and ports it may reach.
//!
//! | entry | grants |
//! |---|---|
//! | `api.example.org` | that name |
//! | `*.example.org` | every name below it, not the name itself |
//! | `*` | every name, and every public address written as a number |
//! | `10.0.0.0/8`, `192.168.1.4`, `fd00::/8` | those addresses, written as a number or as what a granted name resolves to |
//! | `localhost` | that name, `127.0.0.1` and `::1` |
//!
//! | `{smtp_host}:{smtp_port}` | the server that these keys of the plugin's configuration name: see [`destination`] |
//!
//! Each may end in `:port` (`[fd00::/8]:443` for IPv6) and is then good for that port only. A name never grants a private
//! address: `db.internal` that resolves to 10.0.0.5 needs both `db.internal` and `10.0.0.5`. Only the configuration's own server is
//! granted with all that its name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::Host;

use super::{
    address::is_public,
    destination::{self, Configured, Destination},
};
use crate::capability::Grant;

/// An entry of an egress list that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("egress entry \"{entry}\" {reason}")]
pub struct RuleError {
    /// The entry as the manifest has it.
    pub entry: String,
    /// What is wrong and what to write instead.
    pub reason: &'static str,
}

/// What a plugin may reach.
#[derive(Debug, Default)]
pub struct EgressList {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    hosts: Hosts,
    /// `None` is every port.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    Public,
    Name(String),
    /// With its leading dot, so that `evilexample.org` does not end in it.
    Below(String),
    Net(IpNet),
    /// A name that is granted with all that it resolves to.
    Anywhere(String),
}

impl EgressList {
    /// Reads the manifest's entries.
    ///
    /// # Errors
    ///
    /// The first entry that is none of the forms above.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, RuleError> {
        let mut rules = Vec::with_capacity(entries.len());
        for entry in entries {
            let entry = entry.as_ref();
            let (hosts, port) = parse_entry(entry).map_err(|reason| RuleError {
                entry: entry.to_owned(),
                reason,
            })?;
            rules.extend(hosts.into_iter().map(|hosts| Rule { hosts, port }));
        }
        Ok(Self { rules })
    }

    /// What a plugin may reach: what its manifest and the operator list, and the servers that its configuration names.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn of(grant: &Grant) -> Result<Self, RuleError> {
        let entries = grant.requires.egress.iter();
        let listed: Vec<&String> = entries
            .filter(|entry| !Configured::is_meant(entry))
            .collect();
        let mut this = Self::parse(&listed)?;
        let configured = grant.destinations.iter().cloned();
        this.rules.extend(configured.map(Rule::from));
        Ok(this)
    }

    /// Every public server, and one more wherever it is.
    pub(super) fn public_and(destination: Destination) -> Self {
        let public = Rule {
            hosts: Hosts::Public,
            port: None,
        };
        let rules = vec![public, destination.into()];
        Self { rules }
    }

    /// Whether a URL may name this host. `name` is normalised: lower case, punycode, no trailing dot.
    pub fn grants_name(&self, name: &str, port: u16) -> bool {
        self.any(port, |hosts| match hosts {
            Hosts::Public => true,
            Hosts::Name(granted) | Hosts::Anywhere(granted) => granted == name,
            Hosts::Below(suffix) => name.ends_with(suffix.as_str()),
            Hosts::Net(_) => false,
        })
    }

    /// Whether a URL may name this address as a number.
    pub fn grants_literal(&self, address: IpAddr, port: u16) -> bool {
        self.grants_net(address, port)
            || (is_public(address) && self.any(port, |hosts| matches!(hosts, Hosts::Public)))
    }

    /// Whether a connection for a granted name may go to this address, which it resolves to.
    pub fn grants_resolved(&self, name: &str, address: IpAddr, port: u16) -> bool {
        let is_anywhere =
            |hosts: &Hosts| matches!(hosts, Hosts::Anywhere(granted) if granted == name);
        is_public(address) || self.grants_net(address, port) || self.any(port, is_anywhere)
    }

    fn grants_net(&self, address: IpAddr, port: u16) -> bool {
        // The kernel makes ::ffff:a.b.c.d the same connection as a.b.c.d, so a grant of one is a grant of the other.
        let address = address.to_canonical();
        self.any(
            port,
            |hosts| matches!(hosts, Hosts::Net(net) if net.contains(&address)),
        )
    }

    fn any(&self, port: u16, matches: impl Fn(&Hosts) -> bool) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.port.is_none_or(|granted| granted == port) && matches(&rule.hosts))
    }
}

impl From<Destination> for Rule {
    fn from(Destination { host, port }: Destination) -> Self {
        let hosts = match host {
            destination::Host::Name(name) => Hosts::Anywhere(name),
            destination::Host::Address(address) => Hosts::Net(address.into()),
        };
        let port = Some(port);
        Self { hosts, port }
    }
}

fn parse_entry(entry: &str) -> Result<(Vec<Hosts>, Option<u16>), &'static str> {
    let (host, port) = split_port(entry)?;
    let hosts = match host {
        "*" => vec![Hosts::Public],
        "localhost" => vec![
            Hosts::Name("localhost".to_owned()),
            Hosts::Net(IpAddr::V4(Ipv4Addr::LOCALHOST).into()),
            Hosts::Net(IpAddr::V6(Ipv6Addr::LOCALHOST).into()),
        ],
        _ => vec![parse_host(host)?],
    };
    Ok((hosts, port))
}

fn parse_host(host: &str) -> Result<Hosts, &'static str> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Hosts::Net(address.to_canonical().into()));
    }
    if let Ok(net) = host.parse::<IpNet>() {
        return Ok(Hosts::Net(net.trunc()));
    }
    if host.contains('/') {
        return Err(
            "is not a network: write the host without scheme and path, or a network such as 10.0.0.0/8",
        );
    }
    if Configured::is_meant(host) {
        return Err("names a key of a configuration: only a manifest does that");
    }
    match host.strip_prefix("*.") {
        Some(parent) => Ok(Hosts::Below(format!(".{}", parse_name(parent)?))),
        None => Ok(Hosts::Name(parse_name(host)?)),
    }
}

fn parse_name(name: &str) -> Result<String, &'static str> {
    if name.contains('*') {
        return Err(
            "has a * in the wrong place: it may only stand alone or for the first labels, as in *.example.org",
        );
    }
    match Host::parse(name.trim_end_matches('.')) {
        Ok(Host::Domain(name)) => Ok(name),
        Ok(_) => Err("is an address in an unusual spelling: write it with four decimal numbers"),
        Err(_) => Err("is not a host name"),
    }
}

fn split_port(entry: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = if let Some(rest) = entry.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("lacks the closing bracket")?;
        (
            host,
            rest.strip_prefix(':')
                .or(if rest.is_empty() { None } else { Some("") }),
        )
    } else {
        match entry.split_once(':') {
            // Two colons without brackets: an IPv6 address, not a port.
            Some((_, rest)) if rest.contains(':') => (entry, None),
            Some((host, port)) => (host, Some(port)),
            None => (entry, None),
        }
    };
    let parse = |port: &str| {
        port.parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("has a port that is not 1 to 65535")
    };
    Ok((host, port.map(parse).transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::manifest::Requires;

    fn list(entries: &[&str]) -> EgressList {
        EgressList::parse(entries).expect("a list")
    }

    #[track_caller]
    fn check_name(entry: &str, name: &str, port: u16, expected: bool) {
        assert_eq!(
            list(&[entry]).grants_name(name, port),
            expected,
            "{entry} {name}:{port}"
        );
    }

    #[track_caller]
    fn check_literal(entry: &str, address: &str, port: u16, expected: bool) {
        let address = address.parse().expect("an address");
        assert_eq!(
            list(&[entry]).grants_literal(address, port),
            expected,
            "{entry} {address}:{port}"
        );
    }

    #[test]
    fn an_empty_list_grants_nothing() {
        let none = list(&[]);
        assert!(!none.grants_name("example.org", 443));
        assert!(!none.grants_literal("1.1.1.1".parse().expect("an address"), 443));
    }

    #[test]
    fn a_name_grants_itself_on_every_port_unless_it_names_one() {
        check_name("api.example.org", "api.example.org", 443, true);
        check_name("API.Example.org.", "api.example.org", 8443, true);
        check_name("bücher.example", "xn--bcher-kva.example", 443, true);
        check_name("api.example.org", "example.org", 443, false);
        check_name("api.example.org", "x.api.example.org", 443, false);
        check_name("api.example.org:443", "api.example.org", 443, true);
        check_name("api.example.org:443", "api.example.org", 80, false);
    }

    #[test]
    fn a_wildcard_grants_what_is_below_and_nothing_else() {
        check_name("*.example.org", "a.example.org", 443, true);
        check_name("*.example.org", "a.b.example.org", 443, true);
        check_name("*.example.org", "example.org", 443, false);
        check_name("*.example.org", "evilexample.org", 443, false);
        check_name("*.example.org", "example.org.evil.test", 443, false);
        check_name("*.example.org:8443", "a.example.org", 443, false);
        check_name("*", "anything.test", 443, true);
    }

    #[test]
    fn a_star_does_not_grant_private_addresses() {
        check_literal("*", "1.1.1.1", 443, true);
        check_literal("*", "127.0.0.1", 80, false);
        check_literal("*", "::ffff:127.0.0.1", 80, false);
        let private = "10.0.0.1".parse().expect("an address");
        assert!(!list(&["*"]).grants_resolved("a.test", private, 80));
    }

    #[test]
    fn a_network_grants_its_addresses_in_either_spelling() {
        check_literal("10.0.0.0/8", "10.1.2.3", 80, true);
        check_literal("10.0.0.0/8", "::ffff:10.1.2.3", 80, true);
        check_literal("10.0.0.0/8", "11.0.0.1", 80, false);
        check_literal("10.0.0.0/8:5000", "10.1.2.3", 80, false);
        check_literal("fd00::/8", "fd12::1", 80, true);
        check_literal("[fd00::/8]:443", "fd12::1", 80, false);
        check_literal("::1", "::1", 80, true);
        check_literal("localhost", "127.0.0.1", 80, true);
        check_literal("localhost:3000", "127.0.0.1", 80, false);
    }

    #[test]
    fn the_configurations_server_is_granted_wherever_it_is_and_nothing_beside_it() {
        let grant = |host: &str| {
            let host = destination::Host::parse(host).expect("a host");
            let requires = Requires {
                egress: vec!["{smtp_host}:{smtp_port}".to_owned()],
                ..Requires::default()
            };
            EgressList::of(&Grant {
                plugin: "probe".into(),
                version: "1.0.0".into(),
                requires: requires.into(),
                destinations: [Destination { host, port: 587 }].into(),
            })
            .expect("a list")
        };
        let private = "10.0.0.5".parse().expect("an address");
        let named = grant("mail.lan");
        assert!(named.grants_name("mail.lan", 587));
        assert!(named.grants_resolved("mail.lan", private, 587));
        assert!(!named.grants_name("mail.lan", 25), "another port");
        assert!(!named.grants_name("other.lan", 587), "another name");
        assert!(!named.grants_resolved("other.lan", private, 587));
        assert!(!named.grants_literal(private, 587), "its address as such");
        let numbered = grant("10.0.0.5");
        assert!(numbered.grants_literal(private, 587));
        assert!(!numbered.grants_literal(private, 25), "another port");
        assert!(!numbered.grants_name("mail.lan", 587));
    }

    #[test]
    fn an_unreadable_entry_is_named_with_what_to_write() {
        for entry in [
            "https://example.org/",
            "a*.example.org",
            "*.",
            "",
            "example.org:0",
            "example.org:http",
            "[::1",
            "[::1]x",
            "0x7f.1",
            "10.0.0.0/33",
            "a b",
            "{smtp_host}",
            "{smtp_host}:587",
        ] {
            let error = EgressList::parse(&[entry]).expect_err(entry);
            assert_eq!(error.entry, entry);
        }
        let error = EgressList::parse(&["0x7f.1"]).expect_err("not decimal");
        assert_eq!(
            error.to_string(),
            "egress entry \"0x7f.1\" is an address in an unusual spelling: write it with four decimal numbers"
        );
    }
}
