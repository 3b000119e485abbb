//! For the plugin that is the identity provider: what the host verifies tokens with.

use crate::abi::{
    bytes::{Bytes, Str},
    error::Outcome,
    interface::interface,
};

interface! {
    /// Token verification stays in the host; this feeds it.
    pub interface Identity: IdentityProvider / IdentityTable = "nself.identity/1" {
        /// Replaces the key ring: JSON `{"jwks": .., "issuer": .., "audiences": [..]}`.
        sync fn set_keys(ring: Str<'_>) -> Outcome<u32>;
        /// Refuses the session (UUID text) from now on, until that many seconds after the epoch.
        sync fn revoke_session(session: Str<'_>, until: u64) -> Outcome<u32>;
        /// Refuses the tokens of the session (UUID text) whose claim `epoch` is lower, from now on, until that many seconds
        /// after the epoch of time.
        sync fn refuse_older(session: Str<'_>, epoch: u32, until: u64) -> Outcome<u32>;
        /// Whose access token it is, as if it had come with a request; JSON: `{"kind": .., "subject": .., "user_id": ..,
        /// "session_id": .., "family_id": .., "member_id": .., "device_id": .., "role": .., "aal": .., "elevated": ..,
        /// "expires_at": .., "scopes": [..]}`, kind and role as the numbers of a request's principal, ids null where there is none.
        sync fn verify_token(token: Str<'_>) -> Outcome<Bytes>;
    }
}
