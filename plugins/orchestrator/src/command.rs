//! A command for a machine: what may be asked for, and the signed text that the machine gets.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{
    Schema,
    capability::crypto::Algorithm,
    prelude::{Cx, Error, Result},
    serde_json::{Value, json},
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use crate::{Orchestrator, error::CommandError, store::keys};

/// The type in a command's JOSE header: a token of another kind under the same key is no command.
const TYPE: &str = "nself-command+jws";
/// How long a command holds when it does not say.
const EXPIRES_SECONDS: u32 = 300;
/// The longest that one may hold.
const EXPIRES_SECONDS_MAX: u32 = 7 * 86_400;
/// The largest input and the largest result, as text.
pub(crate) const BYTES_MAX: usize = 64 * 1_024;

/// A command that is asked for.
#[derive(Debug, Clone, Deserialize, Serialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCommand {
    /// What the machine is to do, such as `player.pause`.
    pub name: String,
    /// What it needs for that.
    #[serde(default)]
    pub input: Value,
    /// How long the command holds, in seconds; at most a week.
    #[serde(default)]
    pub expires_seconds: Option<u32>,
}

impl NewCommand {
    /// Whether it can be one.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let invalid = |field, problem| Err(CommandError::Invalid { field, problem });
        let allowed = |one: char| {
            one.is_ascii_lowercase() || one.is_ascii_digit() || matches!(one, '_' | '.' | ':' | '-')
        };
        let is_name = self.name.len() <= 100
            && self.name.starts_with(|one: char| one.is_ascii_lowercase())
            && self.name.chars().all(allowed);
        if !is_name {
            return invalid("name", "must be a name such as \"player.pause\"");
        }
        if self.input.to_string().len() > BYTES_MAX {
            return invalid("input", "is longer than 64 KiB");
        }
        if !(1..=EXPIRES_SECONDS_MAX).contains(&self.seconds()) {
            return invalid("expires_seconds", "must be from 1 to 604800");
        }
        Ok(())
    }

    /// How long it holds.
    pub(crate) fn seconds(&self) -> u32 {
        self.expires_seconds.unwrap_or(EXPIRES_SECONDS)
    }
}

/// What a machine is told of a command, under the signature.
#[derive(Debug, Serialize)]
pub(crate) struct Claims<'a> {
    /// The command.
    pub jti: Uuid,
    /// The machine that it is for.
    pub sub: Uuid,
    /// The family of both.
    pub family: Uuid,
    pub iat: i64,
    pub exp: i64,
    pub name: &'a str,
    pub input: &'a Value,
}

/// The command as a compact JWS.
///
/// # Errors
///
/// The key cannot be made or does not sign.
pub(crate) async fn sign(cx: &Cx<Orchestrator>, claims: &Claims<'_>) -> Result<String> {
    let key = key(cx).await?;
    let header = json!({"alg": Algorithm::EdDsa.name(), "kid": key.id, "typ": TYPE}).to_string();
    let claims = nself_plugin_api::serde_json::to_vec(claims).map_err(Error::internal)?;
    let (header, claims) = (
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims),
    );
    let signed = format!("{header}.{claims}");
    let signature = cx.crypto().sign(&key.sealed, signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The key that commands are signed with, made when there is none. Hosts that start together agree on one.
async fn key(cx: &Cx<Orchestrator>) -> Result<keys::Key> {
    if let Some(key) = keys::newest(&cx.db()).await? {
        return Ok(key);
    }
    let pair = cx.crypto().generate_key(Algorithm::EdDsa).await?;
    keys::first(&cx.db(), &pair.jwk, &pair.sealed).await
}
