//! What signs playback addresses: HMAC-SHA-256 under a key that is made once, sealed by the host under its master key, and the
//! same for all hosts of a database.

use hmac::{Hmac, KeyInit, Mac as _};
use nself_plugin_api::prelude::*;
use sha2::Sha256;

use super::address::{Grant, SIGNATURE_BYTES, Signature};
use crate::store;

/// Bytes of a key.
const BYTES: u32 = 32;

/// Context of sealed keys.
const CONTEXT: &[u8] = b"stream.playback_keys";

/// All keys that may still check an address; the last one signs.
pub(crate) struct Keys(Vec<(u8, Hmac<Sha256>)>);

impl Keys {
    /// Reads the keys; makes the first one.
    pub(super) async fn open(context: &Context) -> Result<Self> {
        let tx = context.db().begin().await?;
        let mut stored = store::media::keys(&tx).await?;
        if stored.is_empty() {
            let key = context.crypto().random(BYTES)?;
            let sealed = context.crypto().seal(&key, CONTEXT)?.to_vec();
            let id = store::media::add_key(&tx, &sealed).await?;
            stored.push((id, sealed));
        }
        tx.commit().await?;
        let opened = stored.into_iter().map(|(id, sealed)| {
            let key = context.crypto().open(&sealed, CONTEXT)?;
            Ok((u8::try_from(id).map_err(Error::internal)?, key.to_vec()))
        });
        Ok(Self::new(opened.collect::<Result<_>>()?))
    }

    fn new(keys: Vec<(u8, Vec<u8>)>) -> Self {
        let keyed = keys.into_iter().map(|(id, key)| {
            let hmac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
            (id, hmac)
        });
        Self(keyed.collect())
    }

    pub(super) fn sign(&self, grant: &Grant) -> Signature {
        let (id, keyed) = self.0.last().expect("there is a key from the start on");
        let mut hmac = keyed.clone();
        hmac.update(&grant.signed_bytes(*id));
        let bytes: [u8; SIGNATURE_BYTES] = hmac.finalize().into_bytes().into();
        Signature { key: *id, bytes }
    }

    /// Whether the signature is the grant's; takes the same time whatever the answer is.
    pub(super) fn check(&self, grant: &Grant, signature: &Signature) -> bool {
        let Some((id, keyed)) = self.0.iter().find(|(id, _)| *id == signature.key) else {
            return false;
        };
        let mut hmac = keyed.clone();
        hmac.update(&grant.signed_bytes(*id));
        hmac.verify_slice(&signature.bytes).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_signature_is_good_for_its_key_and_grant_only() {
        let keys = Keys::new(vec![(1, vec![1; 32]), (2, vec![2; 32])]);
        let grant = Grant {
            family_id: Uuid::from_u128(1),
            session_id: Uuid::from_u128(2),
            content_id: Uuid::from_u128(3),
            expires_at: 4,
        };
        let signature = keys.sign(&grant);
        assert_eq!(signature.key, 2);
        assert!(keys.check(&grant, &signature));
        for key in [0, 1, 3] {
            assert!(!keys.check(&grant, &Signature { key, ..signature }));
        }
        for other in [
            Grant {
                family_id: Uuid::from_u128(9),
                ..grant
            },
            Grant {
                session_id: Uuid::from_u128(9),
                ..grant
            },
            Grant {
                content_id: Uuid::from_u128(9),
                ..grant
            },
            Grant {
                expires_at: 5,
                ..grant
            },
        ] {
            assert!(!keys.check(&other, &signature), "{other:?}");
        }
        let mut bytes = signature.bytes;
        bytes[31] ^= 1;
        assert!(!keys.check(&grant, &Signature { bytes, ..signature }));
    }
}
