//! Signing in with a credential (section 7.2).

use nself_plugin_api::serde_json::Value;
use uuid::Uuid;

use super::{
    Ceremony, Refusal, RelyingParty, Verify, authenticator_data::AuthenticatorData, client_data,
    json::AuthenticationResponse, signature, user_handle,
};

/// What is known of the credential that a response names.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) user_id: Uuid,
    /// A JWK.
    pub(crate) public_key: Value,
    pub(crate) sign_count: u32,
    pub(crate) is_backup_eligible: bool,
}

/// A verified use of a credential.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) sign_count: u32,
    pub(crate) is_backed_up: bool,
    /// The counter has not gone forward: there may be a copy of the authenticator.
    pub(crate) is_counter_behind: bool,
}

/// Verifies a use of a known credential; the numbers are the steps of section 7.2. What is left to the caller: to find the
/// credential (6), and to store its new state (24).
pub(crate) fn assert(
    party: &RelyingParty,
    challenge: &[u8],
    response: &AuthenticationResponse,
    known: &Known,
    verify: Verify<'_>,
) -> Result<Assertion, Refusal> {
    let response = response.decode()?;
    // 6: credentials are discoverable here, so the authenticator always says whose it is.
    let handle = response.user_handle.as_deref().unwrap_or_default();
    if !user_handle::is_of(handle, known.user_id) {
        return Err(Refusal::WrongUser);
    }
    // 8 to 14: what the browser says.
    let hash = client_data::check(&response.client_data, Ceremony::Get, challenge, party)?;
    // 15 to 18: what the authenticator says.
    let data = AuthenticatorData::read(&response.authenticator_data)?;
    data.check(party)?;
    if data.is_backup_eligible() != known.is_backup_eligible {
        return Err(Refusal::Backup);
    }
    // 20, 21.
    let signed = [&response.authenticator_data[..], &hash].concat();
    signature::check(verify, &known.public_key, &signed, &response.signature)?;
    // 22: an authenticator that does not count says zero each time.
    let counts = data.sign_count != 0 || known.sign_count != 0;
    Ok(Assertion {
        sign_count: data.sign_count,
        is_backed_up: data.is_backed_up(),
        is_counter_behind: counts && data.sign_count <= known.sign_count,
    })
}
