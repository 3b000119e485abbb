//! What shows to a place that we are its client: a text that was agreed on, or, at Apple, a token that is made for each call.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{
    capability::crypto::Algorithm,
    jiff::{SignedDuration, Timestamp},
    prelude::*,
    serde_json::{self, Value, json},
};

use super::{Protocol, Provider, SECRET};

/// The host's secret that is the private key of Apple's: this plugin signs with it and cannot read it.
pub(crate) const APPLE_KEY: &str = "auth-apple";

/// How long a token is good. Apple allows six months; it is shown at once, so a stolen one is soon worth nothing.
const LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// How a client shows who it is.
#[derive(Debug)]
pub(crate) enum ClientSecret {
    /// It does not.
    None,
    /// By a text in the host's secret.
    Stored,
    /// By a token that is signed with Apple's key.
    Signed { team_id: String, key_id: String },
}

/// The client's secret at a place. Made or read at each use, so that a changed one counts at once.
///
/// # Errors
///
/// `CONFIG_INVALID` with where to write it.
pub(super) fn of(context: &Context, provider: &Provider) -> Result<Option<String>> {
    match &provider.secret {
        ClientSecret::None => Ok(None),
        ClientSecret::Stored => stored(context, &provider.slug).map(Some),
        ClientSecret::Signed { team_id, key_id } => {
            signed(context, provider, team_id, key_id).map(Some)
        }
    }
}

fn stored(context: &Context, slug: &str) -> Result<String> {
    let missing = |reason: &str| {
        Error::new(
            500,
            "CONFIG_INVALID",
            format!(
                "providers.{slug}: {reason}; write the client's secret into .nself/secrets/{SECRET} as \
                 {{\"{slug}\": \"…\"}}, or set is_public_client"
            ),
        )
    };
    let text = context
        .secrets()
        .get(SECRET)
        .map_err(|error| match error.code() {
            "SECRET_MISSING" => missing("the secret has no value"),
            _ => error,
        })?;
    let mut secrets: BTreeMap<String, String> = serde_json::from_slice(&text)
        .map_err(|_| missing("the secret is no JSON object of texts"))?;
    secrets
        .remove(slug)
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| missing("the secret does not name it"))
}

fn signed(context: &Context, provider: &Provider, team_id: &str, key_id: &str) -> Result<String> {
    let now = context.clock().now()?;
    let head = json!({"alg": "ES256", "kid": key_id, "typ": "JWT"});
    let token = [head, claims(provider, team_id, now)]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
        .join(".");
    let signature = context
        .crypto()
        .sign_with_secret(APPLE_KEY, Algorithm::Es256, token.as_bytes())
        .map_err(|error| {
            let slug = &provider.slug;
            Error::new(
                500,
                "CONFIG_INVALID",
                format!(
                    "providers.{slug}: no client secret can be signed ({code}); write the key that Apple gave, a file \
                     AuthKey_….p8, into .nself/secrets/{APPLE_KEY}",
                    code = error.code()
                ),
            )
            .with_cause(error.cause().unwrap_or_default().to_owned())
        })?;
    Ok(format!("{token}.{}", URL_SAFE_NO_PAD.encode(&signature)))
}

/// As Apple wants it: from the team, about the client, for Apple.
fn claims(provider: &Provider, team_id: &str, now: Timestamp) -> Value {
    let audience = match &provider.protocol {
        Protocol::OpenId { issuer, .. } => issuer,
        Protocol::OAuth(oauth) => &oauth.issuer,
    };
    json!({
        "iss": team_id,
        "sub": provider.client_id,
        "aud": audience,
        "iat": now.as_second(),
        "exp": (now + LIFETIME).as_second(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Preset, Provider as Configured},
        provider::presets,
    };

    #[test]
    fn the_token_is_from_the_team_about_the_client_for_apple() {
        let configured = Configured {
            preset: Some(Preset::Apple),
            client_id: "org.example.web".into(),
            team_id: Some("TEAM".into()),
            key_id: Some("KEY".into()),
            ..Configured::default()
        };
        let provider = presets::resolve("apple", &configured).expect("a preset");
        let claims = claims(&provider, "TEAM", Timestamp::UNIX_EPOCH);
        assert_eq!(
            claims,
            json!({
                "iss": "TEAM", "sub": "org.example.web", "aud": "https://appleid.apple.com", "iat": 0, "exp": 300,
            })
        );
    }
}
