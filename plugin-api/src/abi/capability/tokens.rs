//! Access tokens that do not come with a request.

use crate::abi::{
    bytes::{Bytes, Str},
    error::Outcome,
    interface::interface,
};

interface! {
    /// Reads tokens and changes nothing, so any number of plugins may have it.
    pub interface Tokens: TokensProvider / TokensTable = "nself.tokens/1" {
        /// Whose access token it is, as if it had come with a request; JSON as of `verify_token` of `nself.identity/1`.
        sync fn verify(token: Str<'_>) -> Outcome<Bytes>;
        /// A number that rises whenever tokens that were good may be so no longer: a session ended, keys were taken away.
        sync fn changes() -> u64;
    }
}
