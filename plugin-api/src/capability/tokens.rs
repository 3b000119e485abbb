//! Access tokens that do not come with a request: those of the first message of a socket, and of connections that live long.

use std::sync::Arc;

use super::granted;
use crate::{cx::Handles, error::Result, principal::Principal};

/// Reads tokens. Any number of plugins may be granted it; to issue them is [`identity`](super::identity).
pub struct Tokens<'a>(pub(crate) &'a Arc<Handles>);

impl Tokens<'_> {
    /// Who calls by this access token. The host knows which sessions have ended, so nothing is asked of the database, and a
    /// token that was seen before costs a hash.
    ///
    /// # Errors
    ///
    /// 401 as for a request with it: `TOKEN_INVALID`, `TOKEN_EXPIRED`, `SESSION_REVOKED`, `TOKEN_OUTDATED`.
    pub fn verify(&self, token: &str) -> Result<Principal> {
        let principal = granted!(self, tokens, "nself.tokens/1")?
            .verify(token.into())
            .into_result()?;
        Principal::described(principal.as_slice())
    }

    /// A number that rises whenever tokens that were good may be so no longer, because a session ended or keys were taken
    /// away. Who holds connections open looks at it, and verifies their tokens again when it has risen. That a token expires
    /// is no change: it is known from the beginning.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn changes(&self) -> Result<u64> {
        Ok(granted!(self, tokens, "nself.tokens/1")?.changes())
    }
}
