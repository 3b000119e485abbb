//! Registering a credential (section 7.1).

use ciborium::Value;
use nself_plugin_api::serde_json;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Ceremony, Refusal, RelyingParty, Verify, authenticator_data::AuthenticatorData, cbor,
    client_data, json::RegistrationResponse, signature,
};

/// A credential whose registration was verified.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub(crate) credential_id: Vec<u8>,
    /// A JWK.
    pub(crate) public_key: serde_json::Value,
    pub(crate) sign_count: u32,
    pub(crate) aaguid: Uuid,
    pub(crate) is_backup_eligible: bool,
    pub(crate) is_backed_up: bool,
}

/// Verifies a registration; the numbers are the steps of section 7.1. What is left to the caller: that the credential is
/// new (26), and to keep it (27).
pub(crate) fn register(
    party: &RelyingParty,
    challenge: &[u8],
    response: &RegistrationResponse,
    verify: Verify<'_>,
) -> Result<Registered, Refusal> {
    let response = response.decode()?;
    // 5 to 12: what the browser says.
    let hash = client_data::check(&response.client_data, Ceremony::Create, challenge, party)?;
    // 13: what the authenticator says.
    let object = cbor::read_whole(&response.attestation_object)?;
    let member = |name: &str| cbor::get(&object, &name.into()).ok_or(Refusal::Attestation);
    let bytes = member("authData")?.as_bytes().ok_or(Refusal::Attestation)?;
    let data = AuthenticatorData::read(bytes)?;
    // 14 to 19.
    data.check(party)?;
    // 20: reading the key has refused algorithms that were not offered.
    let new = data.credential.as_ref().ok_or(Refusal::NoCredential)?;
    if new.id != response.id {
        return Err(Refusal::CredentialId);
    }
    // 21 to 24.
    let statement = member("attStmt")?;
    match member("fmt")?.as_text() {
        Some("none") if statement.as_map().is_some_and(Vec::is_empty) => {}
        Some("packed") => {
            let (algorithm, signed) = own_signature(statement).ok_or(Refusal::Attestation)?;
            if algorithm != new.key.algorithm {
                return Err(Refusal::Attestation);
            }
            let signed_data = [&bytes[..], &hash].concat();
            signature::check(verify, &new.key.jwk, &signed_data, signed)?;
        }
        _ => return Err(Refusal::Attestation),
    }
    Ok(Registered {
        credential_id: new.id.to_vec(),
        public_key: new.key.jwk.clone(),
        sign_count: data.sign_count,
        aaguid: new.aaguid,
        is_backup_eligible: data.is_backup_eligible(),
        is_backed_up: data.is_backed_up(),
    })
}

/// Algorithm and signature of a packed attestation by the credential itself (section 8.2): one without certificates.
fn own_signature(statement: &Value) -> Option<(i64, &[u8])> {
    if cbor::get(statement, &"x5c".into()).is_some() {
        return None;
    }
    let algorithm = cbor::get(statement, &"alg".into())?.as_integer()?;
    let signature = cbor::get(statement, &"sig".into())?.as_bytes()?;
    Some((algorithm.try_into().ok()?, signature))
}
