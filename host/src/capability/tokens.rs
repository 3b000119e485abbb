//! `nself.tokens/1`: plugins that keep connections open ask whose tokens come over them, and whether they are still good.

use std::sync::Arc;

use nself_plugin_api::abi::{
    bytes::{Bytes, Slice, Str},
    capability::tokens::{Tokens, TokensProvider},
    error::Outcome,
};
use uuid::Uuid;

use super::identity::{refused, told};
use crate::identity::{Receipt, Verifier};

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
            .map(|principal| told(&principal).to_string().into())
            .map_err(refused)
            .into()
    }

    fn changes(&self) -> u64 {
        self.0.changes()
    }

    fn receive(&self, token: Str<'_>) -> Outcome<Bytes> {
        let received = self.0.receive(token.as_str());
        let told = received.map(|(principal, receipt)| {
            let mut told = told(&principal);
            told["key"] = receipt.key.into();
            told["epoch"] = receipt.epoch.into();
            told.to_string().into()
        });
        told.map_err(refused).into()
    }

    fn check(&self, key: u64, session: Slice<'_, u8>, epoch: u32) -> Outcome<u32> {
        let receipt = Receipt {
            key,
            // What is no id has no session that could have ended; a plugin asks for itself alone.
            session_id: Uuid::from_slice(session.as_slice()).ok(),
            epoch,
        };
        let standing = self.0.check(&receipt);
        standing.map(|()| 0).map_err(refused).into()
    }
}
