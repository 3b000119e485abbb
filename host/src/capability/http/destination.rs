//! Servers that a plugin's configuration names.
//!
//! Which mail server a family has is known to its operator and not to the plugin's author. So a manifest asks for
//! `{smtp_host}:{smtp_port}`: the server that stands under these keys of the plugin's configuration. Who writes the
//! configuration says with it that the plugin may go there, wherever that is: also into the house, and there to that port only.

use std::net::IpAddr;

use serde_json::Value;

use crate::plugin::manifest::Manifest;

/// A host, in one spelling for all that mean the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// In lower case and punycode, without the dot of the root.
    Name(String),
    /// IPv4 in IPv6 is IPv4.
    Address(IpAddr),
}

impl Host {
    /// Reads a name or an address, IPv6 without brackets; nothing when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        match url::Host::parse(text).ok()? {
            url::Host::Domain(name) if is_name(&name) => Some(Self::Name(name)),
            url::Host::Domain(_) => None,
            url::Host::Ipv4(address) => Some(Self::Address(address.into())),
            url::Host::Ipv6(address) => Some(Self::Address(IpAddr::V6(address).to_canonical())),
        }
    }
}

/// The parser lets characters pass that are in no name, braces among them.
fn is_name(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A server that the operator has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

/// `{smtp_host}:{smtp_port}` or `{smtp_host}:587`, as a manifest has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configured<'a> {
    /// The key whose value is the host.
    pub host: &'a str,
    /// The key whose value is the port, or the port.
    pub port: ConfiguredPort<'a>,
}

/// Where the port of a server that the configuration names is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfiguredPort<'a> {
    /// From this key of the configuration.
    Key(&'a str),
    /// The manifest.
    Fixed(u16),
}

impl<'a> Configured<'a> {
    /// Whether an entry of an egress list names keys of the configuration.
    pub fn is_meant(entry: &str) -> bool {
        entry.contains(['{', '}'])
    }

    /// Reads an entry; nothing when it has another form.
    pub fn parse(entry: &'a str) -> Option<Self> {
        let (host, port) = entry.strip_prefix('{')?.split_once("}:")?;
        let port = match port.strip_prefix('{') {
            Some(key) => ConfiguredPort::Key(key.strip_suffix('}')?),
            None => ConfiguredPort::Fixed(port.parse().ok().filter(|port| *port != 0)?),
        };
        let this = Self { host, port };
        this.keys()
            .all(|key| !key.is_empty() && !Self::is_meant(key))
            .then_some(this)
    }

    /// The keys that it names.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        let port = match self.port {
            ConfiguredPort::Key(key) => Some(key),
            ConfiguredPort::Fixed(_) => None,
        };
        [self.host].into_iter().chain(port)
    }

    /// The server that the configuration names, if it names one.
    fn destination(&self, config: &Value, schema: &Value) -> Option<Destination> {
        let value = |key: &str| match &config[key] {
            Value::Null => &schema["properties"][key]["default"],
            value => value,
        };
        let port = match self.port {
            ConfiguredPort::Key(key) => u16::try_from(value(key).as_u64()?).ok()?,
            ConfiguredPort::Fixed(port) => port,
        };
        Some(Destination {
            host: Host::parse(value(self.host).as_str()?)?,
            port,
        })
    }
}

impl Destination {
    /// The servers that `config` names for a plugin whose manifest asks for them.
    pub fn configured(manifest: &Manifest, config: &Value) -> Vec<Self> {
        let entries = manifest.requires.egress.iter();
        entries
            .filter_map(|entry| Configured::parse(entry)?.destination(config, &manifest.config))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_entry(entry: &str, expected: Option<(&str, ConfiguredPort<'_>)>) {
        let expected = expected.map(|(host, port)| Configured { host, port });
        assert_eq!(Configured::parse(entry), expected, "{entry}");
    }

    #[test]
    fn an_entry_names_keys_or_a_port() {
        let key = ConfiguredPort::Key("smtp_port");
        check_entry("{smtp_host}:{smtp_port}", Some(("smtp_host", key)));
        let fixed = ConfiguredPort::Fixed(587);
        check_entry("{smtp_host}:587", Some(("smtp_host", fixed)));
        for other in [
            "{smtp_host}",
            "smtp_host:587",
            "{}:587",
            "{a}:{}",
            "{a}:{b",
            "{a}:{b}c",
            "{a}:0",
            "{a}:65536",
            "{{a}}:1",
            "x{a}:1",
        ] {
            check_entry(other, None);
        }
    }

    #[track_caller]
    fn check_destination(config: &Value, expected: Option<(&str, u16)>) {
        let schema = json!({"properties": {"host": {}, "port": {"default": 587}}});
        let entry = Configured::parse("{host}:{port}").expect("an entry");
        let expected = expected.map(|(host, port)| Destination {
            host: Host::parse(host).expect("a host"),
            port,
        });
        assert_eq!(entry.destination(config, &schema), expected, "{config}");
    }

    #[test]
    fn the_configuration_says_which_server_it_is_and_the_schema_what_it_leaves_out() {
        check_destination(
            &json!({"host": "mail.lan", "port": 25}),
            Some(("mail.lan", 25)),
        );
        check_destination(&json!({"host": "10.0.0.5"}), Some(("10.0.0.5", 587)));
        check_destination(&json!({"host": null, "port": 25}), None);
        check_destination(&json!({"port": 25}), None);
        check_destination(&json!({"host": "mail.lan", "port": 70_000}), None);
        check_destination(&json!({"host": "not a host", "port": 25}), None);
    }

    #[track_caller]
    fn check_host(text: &str, expected: &str) {
        let got = match Host::parse(text) {
            Some(Host::Name(name)) => format!("name {name}"),
            Some(Host::Address(address)) => format!("address {address}"),
            None => "none".to_owned(),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn a_host_has_one_spelling() {
        check_host("Mail.Example.ORG.", "name mail.example.org");
        check_host("bücher.example", "name xn--bcher-kva.example");
        check_host("mail_1", "name mail_1");
        check_host("127.1", "address 127.0.0.1");
        check_host("0x7f000001", "address 127.0.0.1");
        check_host("::ffff:127.0.0.1", "address 127.0.0.1");
        check_host("[::1]", "address ::1");
        for none in ["", ".", "a b", "a\r\nb", "{host}", "a/b", "a:25", "a%b"] {
            check_host(none, "none");
        }
    }
}
