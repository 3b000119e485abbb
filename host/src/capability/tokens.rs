//! `nself.tokens/1`: plugins that keep connections open ask whose tokens come over them, and whether they are still good.

use std::sync::Arc;

use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::tokens::{Tokens, TokensProvider},
    error::Outcome,
};

use super::identity::{refused, told};
use crate::identity::Verifier;

/// The capability, the same for every plugin.
pub struct TokensCapability(Arc<Verifier>);

impl TokensCapability {
    /// Asks `verifier`.
    pub fn capability(verifier: Arc<Verifier>) -> Tokens {
        Tokens::new(Arc::new(Self(verifier)))
    }
}

impl TokensProvider for TokensCapability {
    fn verify(&self, token: Str<'_>) -> Outcome<Bytes> {
        let verified = self.0.verify(token.as_str());
        verified
            .map(|principal| told(&principal))
            .map_err(refused)
            .into()
    }

    fn changes(&self) -> u64 {
        self.0.changes()
    }
}
