//! For the plugin that is the identity provider: what the host verifies tokens with.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::granted;
use crate::{cx::Handles, error::Result, principal::Principal};

/// Feeds the host's token verification. Only one plugin may be granted it.
pub struct Identity<'a>(pub(crate) &'a Arc<Handles>);

impl Identity<'_> {
    /// Replaces the key ring: a JWK Set (RFC 7517), the issuer and the audiences that this host accepts.
    ///
    /// # Errors
    ///
    /// When a key is not usable; the old ring stays then.
    pub fn set_keys(&self, jwks: &Value, issuer: &str, audiences: &[&str]) -> Result<()> {
        let ring = json!({"jwks": jwks, "issuer": issuer, "audiences": audiences}).to_string();
        granted!(self, identity, "nself.identity/1")?
            .set_keys(ring.as_str().into())
            .into_result()?;
        Ok(())
    }

    /// Refuses a session's tokens from now on. `until` is when the last of them expires, seconds since the epoch.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn revoke_session(&self, session: Uuid, until: u64) -> Result<()> {
        let session = session.to_string();
        granted!(self, identity, "nself.identity/1")?
            .revoke_session(session.as_str().into(), until)
            .into_result()?;
        Ok(())
    }

    /// Refuses the session's older tokens from now on, with 401 `TOKEN_OUTDATED`: those whose claim `"epoch"` (a whole
    /// number, 0 when it is absent) is lower than `epoch`. Newer tokens of the same session pass, so its client refreshes
    /// and goes on: what a change of role needs. `until` is when the last of the refused tokens expires, seconds since 1970.
    ///
    /// Numbers only rise: a lower one than before takes nothing back.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn refuse_older(&self, session: Uuid, epoch: u32, until: u64) -> Result<()> {
        let session = session.to_string();
        granted!(self, identity, "nself.identity/1")?
            .refuse_older(session.as_str().into(), epoch, until)
            .into_result()?;
        Ok(())
    }

    /// Who calls by this access token: for a token that did not come with the request itself. The host knows which sessions
    /// have ended, so nothing is asked of the database.
    ///
    /// # Errors
    ///
    /// 401 as for a request with it: `TOKEN_INVALID`, `TOKEN_EXPIRED`, `SESSION_REVOKED`, `TOKEN_OUTDATED`.
    pub fn verify_token(&self, token: &str) -> Result<Principal> {
        let principal = granted!(self, identity, "nself.identity/1")?
            .verify_token(token.into())
            .into_result()?;
        Principal::described(principal.as_slice())
    }
}
