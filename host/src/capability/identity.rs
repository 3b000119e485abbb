//! `nself.identity/1`: the plugin that is the identity provider feeds the host's token verification.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::identity::{Identity, IdentityProvider},
    error::{Error, Outcome},
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Grant, error::error};
use crate::identity::{EXP_MAX, IdentityError, KeySet, Principal, Verifier};

/// The capability of one plugin instance. The registry takes the keys away when the plugin is disabled.
pub struct IdentityCapability {
    grant: Grant,
    verifier: Arc<Verifier>,
}

impl IdentityCapability {
    /// Feeds `verifier` under the plugin's id.
    pub fn capability(grant: Grant, verifier: Arc<Verifier>) -> Identity {
        Identity::new(Arc::new(Self { grant, verifier }))
    }
}

#[derive(Deserialize)]
struct RingDocument {
    jwks: Value,
    issuer: String,
    audiences: Vec<String>,
}

fn invalid(cause: impl std::fmt::Display) -> Error {
    error(500, "KEYS_INVALID", "the key ring is not usable", cause)
}

impl IdentityProvider for IdentityCapability {
    fn set_keys(&self, ring: Str<'_>) -> Outcome<u32> {
        let set = || {
            let RingDocument {
                jwks,
                issuer,
                audiences,
            } = serde_json::from_str(ring.as_str()).map_err(invalid)?;
            let keys = KeySet {
                jwks: jwks.to_string(),
                issuer,
                audiences,
            };
            self.verifier
                .set_keys(&self.grant.plugin, keys)
                .map_err(invalid)?;
            Ok(0)
        };
        set().into()
    }

    fn revoke_session(&self, session: Str<'_>, until: u64) -> Outcome<u32> {
        let revoke = |session| {
            self.verifier.revoke(session, date(until));
            0
        };
        id(session).map(revoke).into()
    }

    fn refuse_older(&self, session: Str<'_>, epoch: u32, until: u64) -> Outcome<u32> {
        let refuse = |session| {
            self.verifier.refuse_older(session, epoch, date(until));
            0
        };
        id(session).map(refuse).into()
    }

    fn verify_token(&self, token: Str<'_>) -> Outcome<Bytes> {
        let verified = self.verifier.verify(token.as_str());
        verified
            .map(|principal| told(&principal).to_string().into())
            .map_err(refused)
            .into()
    }
}

/// A principal as it crosses outside of a request.
pub(super) fn told(principal: &Principal) -> Value {
    json!({
        "kind": principal.kind.number(),
        "subject": &*principal.subject,
        "user_id": principal.user_id,
        "session_id": principal.session_id,
        "family_id": principal.family_id,
        "member_id": principal.member_id,
        "device_id": principal.device_id,
        "role": principal.role_number(),
        "aal": principal.aal,
        "elevated": principal.elevated,
        "expires_at": principal.expires_at_seconds(),
        "scopes": principal.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(),
    })
}

/// As a request with the token would be answered.
pub(super) fn refused(refusal: IdentityError) -> Error {
    error(401, refusal.code(), refusal.to_string(), refusal)
}

fn id(session: Str<'_>) -> Result<Uuid, Error> {
    Uuid::parse_str(session.as_str()).map_err(|cause| {
        error(
            500,
            "SESSION_INVALID",
            "the session to revoke is not a UUID",
            cause,
        )
    })
}

/// Seconds since 1970 as a time; a date beyond all tokens stands for ever.
fn date(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(EXP_MAX))
}
