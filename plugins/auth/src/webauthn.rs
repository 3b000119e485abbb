//! Verifies what authenticators send (Web Authentication Level 3, sections 7.1 and 7.2): pure functions, no database.
//!
//! Nothing is asked of an authenticator but that it works: attestation is `none`, or the credential's own signature, which
//! browsers pass on because it tells nothing of the device. The person must have been verified by the authenticator (by a
//! finger, a face, a PIN): with the device in hand that is the second of two factors.

mod assertion;
mod attestation;
mod authenticator_data;
mod cbor;
mod client_data;
mod cose;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
mod party;
mod signature;
#[cfg(test)]
mod tests;
pub(crate) mod user_handle;

pub(crate) use self::{
    assertion::{Assertion, Known, assert},
    attestation::{Registered, register},
    cose::ALGORITHMS,
    json::{AuthenticationResponse, RegistrationResponse},
    party::RelyingParty,
};
use nself_plugin_api::serde_json::Value;

/// Longest credential id (Level 3, section 7.1, step 25).
const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;

/// Says whether a signature is that of the data under a JWK.
pub(crate) type Verify<'a> = &'a (dyn Fn(&Value, &[u8], &[u8]) -> bool + Sync);

/// What a ceremony is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ceremony {
    Create,
    Get,
}

/// Why a response is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is no public-key credential, or its two ids differ")]
    NotACredential,
    #[error("a field is not base64url without padding")]
    Base64,
    #[error("the client data is not the JSON that a browser writes")]
    ClientData,
    #[error("the client data is of another ceremony")]
    WrongType,
    #[error("the challenge is not the one that was given out")]
    WrongChallenge,
    #[error("the page's origin is not one that this installation accepts")]
    WrongOrigin,
    #[error("the page was embedded in one of another origin")]
    CrossOrigin,
    #[error("the authenticator's data is too short, or longer than what it declares")]
    AuthenticatorData,
    #[error("a CBOR value does not read, or something follows it")]
    Cbor,
    #[error("it was made for another relying party")]
    WrongRelyingParty,
    #[error("nobody was present at the authenticator")]
    NotPresent,
    #[error("the authenticator has not verified who uses it")]
    NotVerified,
    #[error("the flags of backup contradict each other, or what was known")]
    Backup,
    #[error("there is no credential in it")]
    NoCredential,
    #[error("the credential's id is empty, too long, or not the one that is named")]
    CredentialId,
    #[error("the credential's algorithm was not offered")]
    Algorithm,
    #[error("the credential's public key is not one of its algorithm")]
    PublicKey,
    #[error("the attestation is neither none nor the credential's own")]
    Attestation,
    #[error("the user handle is somebody else's, or is missing")]
    WrongUser,
    #[error("the signature is wrong")]
    Signature,
}
