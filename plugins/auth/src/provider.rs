//! Other places that people sign in with: OpenID providers, and a few that are none.
//!
//! What a place says is taken apart here into a [`Profile`]; what becomes of it is decided in [`crate::linking`]. Every
//! address that is called stands in the configuration or in the discovery document of a configured issuer, and the host's
//! client guards each call against private networks.

pub(crate) mod authorization;
mod client_secret;
mod directory;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod id_token;
mod presets;
pub(crate) mod user_field;
mod userinfo;

use std::collections::BTreeMap;

use nself_plugin_api::prelude::*;

pub(crate) use self::{client_secret::APPLE_KEY, fetch::urlencoded};
use self::{client_secret::ClientSecret, directory::Directory};
use crate::config::Config;

/// The host's secret that holds the clients' secrets.
pub(crate) const SECRET: &str = "auth-providers";

/// A place as it is used: preset and configuration together.
#[derive(Debug)]
pub(crate) struct Provider {
    /// Its name in addresses.
    pub(crate) slug: String,
    /// Its name for people.
    pub(crate) label: String,
    pub(crate) protocol: Protocol,
    pub(crate) client_id: String,
    pub(crate) app_client_ids: Vec<String>,
    pub(crate) secret: ClientSecret,
    pub(crate) scopes: String,
    pub(crate) trusts_email: bool,
    pub(crate) uses_form_post: bool,
}

impl Provider {
    /// Whether it says somebody's name beside the code, once, and in no token.
    pub(crate) const fn names_beside_the_code(&self) -> bool {
        matches!(self.secret, ClientSecret::Signed { .. })
    }
}

/// How a place is spoken with.
#[derive(Debug)]
pub(crate) enum Protocol {
    /// OpenID Connect; its addresses are discovered.
    OpenId {
        issuer: String,
        directory: Directory,
    },
    /// OAuth 2.0 with a way of its own to say who somebody is.
    OAuth(OAuth),
}

/// An OAuth 2.0 server.
#[derive(Debug)]
pub(crate) struct OAuth {
    /// What stands for the issuer of identities: scheme and host of the page that people are sent to.
    pub(crate) issuer: String,
    pub(crate) authorization: String,
    pub(crate) token: String,
    pub(crate) userinfo: String,
    pub(crate) emails: Option<String>,
    pub(crate) dialect: Dialect,
}

/// How an OAuth server says who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Github,
    Discord,
    Facebook,
}

/// Who somebody is, as a place says.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Profile {
    /// With the subject, the person: neither an address nor a name is one.
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// In the form that is stored and compared here; nothing when it is not an address.
    pub(crate) email: Option<String>,
    pub(crate) is_email_verified: bool,
    pub(crate) name: String,
}

/// All places of the configuration.
#[derive(Default)]
pub(crate) struct Providers(BTreeMap<String, Provider>);

impl Providers {
    /// From the configuration, with the clients' secrets looked for: a place without one would fail at the first sign-in.
    ///
    /// # Errors
    ///
    /// `CONFIG_INVALID` with the key and what to write instead.
    pub(crate) fn open(context: &Context, config: &Config) -> Result<Self> {
        let mut providers = BTreeMap::new();
        for (slug, configured) in &config.providers {
            let provider = presets::resolve(slug, configured).map_err(|reason| {
                Error::invalid("CONFIG_INVALID", format!("providers.{slug}: {reason}"))
            })?;
            client_secret::of(context, &provider)?;
            providers.insert(slug.clone(), provider);
        }
        Ok(Self(providers))
    }

    /// All of them, in the order of their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Provider> {
        self.0.values()
    }

    /// The one of that name.
    ///
    /// # Errors
    ///
    /// `PROVIDER_NOT_FOUND`.
    pub(crate) fn find(&self, slug: &str) -> Result<&Provider> {
        self.0.get(slug).ok_or_else(crate::problem::no_provider)
    }
}

/// Why a place could not be used to sign in. The reason is for the log; who signs in learns the kind alone.
pub(crate) fn failed(provider: &Provider, reason: impl std::fmt::Display) -> Error {
    Error::new(
        502,
        "PROVIDER_FAILED",
        "the other place did not say who you are: try again",
    )
    .with_cause(format!("provider {}: {reason}", provider.slug))
}
