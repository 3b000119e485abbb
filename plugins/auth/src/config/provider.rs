//! The keys of `[plugins.auth.config.providers.<name>]`.

use nself_plugin_api::Schema;
use serde::Deserialize;

/// A place that people may sign in with. What the client is called there stands here; its secret stands in the host's
/// secret `auth-providers`, a JSON object of names and secrets: `{"google": "GOCSPX-…"}`.
#[derive(Debug, Clone, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// A known place. Without it `issuer` is needed.
    pub preset: Option<Preset>,
    /// Issuer of an OpenID provider, exactly as its tokens name it; everything else is read from its discovery document. With
    /// the preset `apple`: one that stands in for Apple.
    #[schema(max_length = 500)]
    pub issuer: Option<String>,
    /// Tenant of the preset `microsoft`: a directory's id; personal accounts without it.
    #[schema(max_length = 36)]
    pub tenant: Option<String>,
    /// Apple: the team's id. The private key that Apple gave for it stands in the host's secret `auth-apple`, as PEM.
    #[schema(max_length = 100)]
    pub team_id: Option<String>,
    /// Apple: the id of that key.
    #[schema(max_length = 100)]
    pub key_id: Option<String>,
    /// What people read on the button; the place's own name without it.
    #[schema(max_length = 50)]
    pub label: Option<String>,
    /// The client's id there.
    #[schema(max_length = 500)]
    pub client_id: String,
    /// Ids of the same product's native apps, whose ID tokens are taken as well.
    pub app_client_ids: Vec<String>,
    /// Whether the client has no secret there.
    pub is_public_client: bool,
    /// What is asked for; what signing in needs without it.
    pub scopes: Vec<String>,
    /// Whether an address that the place calls verified counts as proved here: then it links to the account that has the
    /// address. Only for places that never call an address verified which is not its owner's.
    pub trusts_email: bool,
    /// Whether the place answers by a posted form instead of by an address.
    pub uses_form_post: bool,
    /// Addresses of a place that is no OpenID provider but works like the preset, such as a GitHub server of one's own.
    pub endpoints: Option<Endpoints>,
}

/// A known place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Google.
    Google,
    /// Apple: its client secret is a token that the host signs with Apple's key.
    Apple,
    /// GitHub.
    Github,
    /// Microsoft.
    Microsoft,
    /// Discord.
    Discord,
    /// Facebook.
    Facebook,
}

/// Addresses of an OAuth 2.0 server that is no OpenID provider.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// Where people are sent.
    #[schema(max_length = 500)]
    pub authorization: String,
    /// Where a code is exchanged.
    #[schema(max_length = 500)]
    pub token: String,
    /// Who somebody is.
    #[schema(max_length = 500)]
    pub userinfo: String,
    /// Addresses of somebody; GitHub only.
    #[schema(max_length = 500)]
    pub emails: Option<String>,
}
