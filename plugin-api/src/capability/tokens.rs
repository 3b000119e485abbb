//! Access tokens that do not come with a request: those of the first message of a socket, and of connections that live long.

use std::sync::Arc;

use uuid::Uuid;

use super::granted;
use crate::{
    cx::Handles,
    error::Result,
    principal::{Principal, Told},
};

/// What is kept of a token that was good, to ask [later](Tokens::check) whether it still is: a tenth of the token, and nothing that anybody
/// could sign in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) key: u64,
    pub(crate) session_id: Option<Uuid>,
    pub(crate) epoch: u32,
}

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
        let told = granted!(self, tokens, "nself.tokens/1")?
            .verify(token.into())
            .into_result()?;
        Principal::described(told.as_slice())
    }

    /// Who calls by this access token, and what to keep in its place where somebody is connected for longer than a request. The
    /// host does not remember such a token: thousands that come once would push those of requests out.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn receive(&self, token: &str) -> Result<(Principal, Receipt)> {
        let told = granted!(self, tokens, "nself.tokens/1")?
            .receive(token.into())
            .into_result()?;
        Told::read(told.as_slice())
    }

    /// Whether the token of a receipt is still good. That it has expired is not asked: when it does is known from the beginning.
    ///
    /// # Errors
    ///
    /// 401 `SESSION_REVOKED` when its session has ended, 401 `TOKEN_OUTDATED` when its bearer has to come again with a newer one: what the session
    /// may do has changed, or the key that signed it was taken away.
    pub fn check(&self, receipt: &Receipt) -> Result<()> {
        let session = receipt
            .session_id
            .as_ref()
            .map_or(&[][..], |id| &id.as_bytes()[..]);
        granted!(self, tokens, "nself.tokens/1")?
            .check(receipt.key, session.into(), receipt.epoch)
            .into_result()?;
        Ok(())
    }

    /// A number that rises whenever tokens that were good may be so no longer, because a session ended or keys were taken
    /// away. Who holds connections open looks at it, and [checks](Self::check) their receipts when it has risen. That a token expires
    /// is no change: it is known from the beginning.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn changes(&self) -> Result<u64> {
        Ok(granted!(self, tokens, "nself.tokens/1")?.changes())
    }
}
