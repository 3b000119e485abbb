//! Access tokens that do not come with a request.

use crate::abi::{
    bytes::{Bytes, Slice, Str},
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
        /// As `verify`, of a token that comes once: it is not remembered. Also told are the numbers `key` and `epoch`, which `check` takes.
        sync fn receive(token: Str<'_>) -> Outcome<Bytes>;
        /// Whether a token that `receive` told of is still good, by its key, its session (a UUID's 16 bytes, or none) and its epoch; 0. Fails as
        /// `verify`, but that it has expired is no failure.
        sync fn check(key: u64, session: Slice<'_, u8>, epoch: u32) -> Outcome<u32>;
    }
}
