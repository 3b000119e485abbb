//! For the plugin that is the identity provider: what the host verifies tokens with.

use crate::abi::{bytes::Str, error::Outcome, interface::interface};

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
    }
}
