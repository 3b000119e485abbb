//! Who asks for credentials, and from which pages.

use nself_plugin_api::{http::Uri, prelude::*};
use sha2::{Digest, Sha256};

use crate::Config;

/// The relying party: this installation, as authenticators know it.
#[derive(Debug, Clone)]
pub(crate) struct RelyingParty {
    /// A domain: credentials are bound to it for good.
    pub(crate) id: String,
    pub(super) id_hash: [u8; 32],
    /// Where its pages stand, exactly.
    pub(super) origins: Vec<String>,
}

impl RelyingParty {
    /// From the configuration: the host and the origin of `public_url`, where nothing else is said.
    ///
    /// # Errors
    ///
    /// `CONFIG_INVALID` when `public_url` has no host and is needed for one.
    pub(crate) fn of(config: &Config) -> Result<Self> {
        let id = match config.passkey_rp_id.as_str() {
            "" => host_and_origin(&config.public_url)?.0,
            id => id.to_ascii_lowercase(),
        };
        let origins = if config.passkey_origins.is_empty() {
            vec![host_and_origin(&config.public_url)?.1]
        } else {
            config.passkey_origins.clone()
        };
        let id_hash = Sha256::digest(id.as_bytes()).into();
        Ok(Self {
            id,
            id_hash,
            origins,
        })
    }
}

/// Host and origin of an address, as browsers write them: lower case, without the port that the scheme implies.
fn host_and_origin(url: &str) -> Result<(String, String)> {
    let read = || {
        let uri: Uri = url.parse().ok()?;
        let (scheme, host) = (uri.scheme_str()?, uri.host()?.to_ascii_lowercase());
        let implied = if scheme == "https" { 443 } else { 80 };
        let port = uri.port_u16().filter(|port| *port != implied);
        let origin = match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        Some((host, origin))
    };
    read().ok_or_else(|| {
        Error::invalid(
            "CONFIG_INVALID",
            format!("public_url: expected an address such as https://home.example, found {url:?}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        for (url, host, origin) in [
            (
                "https://home.example",
                "home.example",
                "https://home.example",
            ),
            (
                "https://Home.Example:443/",
                "home.example",
                "https://home.example",
            ),
            (
                "https://home.example:8443/auth",
                "home.example",
                "https://home.example:8443",
            ),
            (
                "http://localhost:3000",
                "localhost",
                "http://localhost:3000",
            ),
            ("http://localhost:80", "localhost", "http://localhost"),
        ] {
            let read = host_and_origin(url).expect("an address");
            assert_eq!(read, (host.to_owned(), origin.to_owned()), "{url}");
        }
        for url in ["", "home.example", "/path", "https://"] {
            assert!(host_and_origin(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_configured_takes_the_place_of_the_public_address() {
        let config = Config {
            passkey_rp_id: "Home.Example".into(),
            passkey_origins: vec!["https://tv.home.example".into()],
            ..Config::default()
        };
        let party = RelyingParty::of(&config).expect("a relying party");
        assert_eq!(party.id, "home.example");
        assert_eq!(party.origins, ["https://tv.home.example"]);
    }
}
