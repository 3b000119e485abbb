//! The keys of `[plugins.auth.config]`.

mod provider;

use std::collections::BTreeMap;

use nself_plugin_api::{Schema, capability::crypto};
use serde::Deserialize;

pub use self::provider::{Endpoints, Preset, Provider};

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where people reach this installation, such as `https://home.example`: tokens name it as their issuer, and links in
    /// mails begin with it. A request's own headers never do.
    #[schema(min_length = 8, max_length = 500)]
    pub public_url: String,
    /// Algorithm of new signing keys.
    pub algorithm: Algorithm,
    /// Days after which a new signing key takes over.
    #[schema(minimum = 1, maximum = 3650)]
    pub key_days: u32,
    /// Minutes that an access token lives.
    #[schema(minimum = 1, maximum = 60)]
    pub access_minutes: u32,
    /// Minutes that an access token of a family's OWNER or ADMIN lives.
    #[schema(minimum = 1, maximum = 60)]
    pub access_minutes_privileged: u32,
    /// Days without use after which a session ends.
    #[schema(minimum = 1, maximum = 3650)]
    pub session_idle_days: u32,
    /// Days after which a session ends in any case.
    #[schema(minimum = 1, maximum = 3650)]
    pub session_days: u32,
    /// Days without use after which a paired machine has to be paired again.
    #[schema(minimum = 1, maximum = 3650)]
    pub device_idle_days: u32,
    /// Days after which a paired machine has to be paired again in any case.
    #[schema(minimum = 1, maximum = 3650)]
    pub device_days: u32,
    /// Seconds in which a refresh token that was just used is answered with its successor once more.
    #[schema(minimum = 0, maximum = 300)]
    pub refresh_grace_seconds: u32,
    /// Minutes that a renewed proof of identity is good for sensitive changes.
    #[schema(minimum = 1, maximum = 60)]
    pub step_up_minutes: u32,
    /// Who may make an account.
    pub sign_up: SignUp,
    /// Whether somebody may begin without an address and give one later.
    pub anonymous_sign_in: bool,
    /// Days without use after which an account that nobody gave an address is deleted.
    #[schema(minimum = 1, maximum = 3650)]
    pub anonymous_days: u32,
    /// Fewest characters of a password.
    #[schema(minimum = 8, maximum = 64)]
    pub password_length_min: u32,
    /// Tries to sign in from one address (a /64 of IPv6) in five minutes, over all accounts.
    #[schema(minimum = 1)]
    pub tries_per_address: u32,
    /// Tries to sign in to one account in a quarter of an hour, from wherever it has not been used before; and from one
    /// address in five minutes.
    #[schema(minimum = 1)]
    pub tries_per_account: u32,
    /// Whether new passwords are looked up in a public collection of leaked ones. It gets five characters of a hash.
    pub breach_check: bool,
    /// Where that collection is.
    #[schema(min_length = 8, max_length = 500)]
    pub breach_url: String,
    /// Exact addresses that a sign-in may return to; the first one is where it returns to when it does not say.
    pub redirect_urls: Vec<String>,
    /// Other places that people may sign in with, by a name for the address: `[plugins.auth.config.providers.google]`.
    pub providers: BTreeMap<String, Provider>,
    /// What the product is called on the pages, in authenticator apps and beside passkeys.
    #[schema(min_length = 1, max_length = 100)]
    pub app_name: String,
    /// A picture above the title of the pages.
    #[schema(max_length = 2000)]
    pub logo_url: Option<String>,
    /// Directory with `theme.css` and `messages.<language>.json` that add to those of the pages; read when the plugin starts.
    pub pages_directory: Option<String>,
    /// The domain that passkeys are bound to, for good: whoever changes it makes all passkeys useless. Empty for the host of
    /// `public_url`.
    #[schema(max_length = 253)]
    pub passkey_rp_id: String,
    /// Exact origins of the pages that use passkeys, such as `https://app.home.example`. Empty for the one of `public_url`.
    pub passkey_origins: Vec<String>,
}

/// An algorithm that signs access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
pub enum Algorithm {
    /// ECDSA over P-256: every verifier has it.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA, 2048 bits: forty times the work to sign.
    #[serde(rename = "RS256")]
    Rs256,
}

impl From<Algorithm> for crypto::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::Es256,
            Algorithm::EdDsa => Self::EdDsa,
            Algorithm::Rs256 => Self::Rs256,
        }
    }
}

/// Who may make an account, and what the answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum SignUp {
    /// Anybody who can read mail at the address. No answer tells whether an address has an account.
    Private,
    /// Anybody; signed in at once. A taken address is told: for households where that is no secret.
    Open,
    /// Nobody without an invitation.
    Closed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            public_url: "http://localhost:3000".to_owned(),
            algorithm: Algorithm::Es256,
            key_days: 30,
            access_minutes: 15,
            access_minutes_privileged: 5,
            session_idle_days: 30,
            session_days: 90,
            device_idle_days: 90,
            device_days: 365,
            refresh_grace_seconds: 30,
            step_up_minutes: 10,
            sign_up: SignUp::Private,
            anonymous_sign_in: false,
            anonymous_days: 30,
            password_length_min: 8,
            tries_per_address: 60,
            tries_per_account: 10,
            breach_check: false,
            breach_url: "https://api.pwnedpasswords.com".to_owned(),
            redirect_urls: Vec::new(),
            providers: BTreeMap::new(),
            app_name: "Family".to_owned(),
            logo_url: None,
            pages_directory: None,
            passkey_rp_id: String::new(),
            passkey_origins: Vec::new(),
        }
    }
}
