//! What the browser says of the page that asked (section 5.8.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::serde_json;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Ceremony, Refusal, RelyingParty};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    top_origin: Option<String>,
}

/// The challenge that a browser says it was given. Nothing is checked: it only finds what the response answers.
pub(super) fn challenge(json: &[u8]) -> Result<Vec<u8>, Refusal> {
    let data = read(json)?;
    URL_SAFE_NO_PAD
        .decode(&data.challenge)
        .map_err(|_| Refusal::Base64)
}

/// Checks the client data; its hash, which the authenticator has signed.
pub(super) fn check(
    json: &[u8],
    ceremony: Ceremony,
    challenge: &[u8],
    party: &RelyingParty,
) -> Result<[u8; 32], Refusal> {
    let data = read(json)?;
    let kind = match ceremony {
        Ceremony::Create => "webauthn.create",
        Ceremony::Get => "webauthn.get",
    };
    if data.kind != kind {
        return Err(Refusal::WrongType);
    }
    if URL_SAFE_NO_PAD.decode(&data.challenge).ok().as_deref() != Some(challenge) {
        return Err(Refusal::WrongChallenge);
    }
    if !party.origins.contains(&data.origin) {
        return Err(Refusal::WrongOrigin);
    }
    // A page inside somebody else's frame can be laid under what a person believes to click on.
    if data.cross_origin || data.top_origin.is_some() {
        return Err(Refusal::CrossOrigin);
    }
    Ok(Sha256::digest(json).into())
}

fn read(json: &[u8]) -> Result<ClientData, Refusal> {
    // UTF-8 decode (WHATWG Encoding) takes a byte order mark away.
    let text = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    serde_json::from_slice(text).map_err(|_| Refusal::ClientData)
}
