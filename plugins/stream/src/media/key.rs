//! What signs playback addresses: HMAC-SHA-256 under keys that are sealed by the host under its master key, and the same for all hosts
//! of a database. From time to time a new one takes over; for some minutes there are two.

use std::{
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac as _};
use nself_plugin_api::{Schema, prelude::*};
use serde::Serialize;
use sha2::Sha256;

use super::address::{Grant, SIGNATURE_BYTES, Signature};
use crate::{Stream, store::media as store};

/// Bytes of a key.
const BYTES: u32 = 32;

/// Context of sealed keys.
const CONTEXT: &[u8] = b"stream.playback_keys";

/// How long all hosts have to learn of a key before one of them signs by it.
const NOTICE: Duration = Duration::from_secs(60);

/// Pause between two looks at which keys there are.
const READ_EVERY: Duration = Duration::from_secs(5);

/// All keys that may still check an address. Of those whose time has come the newest signs.
pub(crate) struct Keys(RwLock<Held>);

struct Held {
    /// In the order in which they sign; there is one at least.
    all: Vec<Key>,
    read_at: Duration,
}

struct Key {
    id: u8,
    /// Seconds since 1970.
    signs_at: u64,
    keyed: Hmac<Sha256>,
}

/// A turn of the key.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Turned {
    /// The key's number, as it stands in addresses.
    pub key: i64,
    /// When it signs, in seconds since 1970.
    pub signs_at: i64,
}

impl Keys {
    /// Reads the keys; makes the first one.
    pub(super) async fn open(context: &Context) -> Result<Self> {
        let tx = context.db().begin().await?;
        store::hold_keys(&tx).await?;
        let mut stored = store::keys(&tx).await?;
        if stored.is_empty() {
            store::turn_key(&tx, &sealed(context)?, Duration::ZERO, None).await?;
            stored = store::keys(&tx).await?;
        }
        tx.commit().await?;
        let all = opened(context, stored)?;
        let read_at = context.clock().monotonic()?;
        Ok(Self(RwLock::new(Held { all, read_at })))
    }

    /// Reads them again, if that is some time ago.
    pub(super) async fn read_again(&self, context: &Context) -> Result<()> {
        let now = context.clock().monotonic()?;
        if now.saturating_sub(self.held().read_at) < READ_EVERY {
            return Ok(());
        }
        self.read(context).await
    }

    async fn read(&self, context: &Context) -> Result<()> {
        let all = opened(context, store::keys(&context.db()).await?)?;
        let read_at = context.clock().monotonic()?;
        // Without any nothing could be signed; whoever has removed them all has not meant that.
        if !all.is_empty() {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = Held { all, read_at };
        }
        Ok(())
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sign(&self, grant: &Grant, now: u64) -> Signature {
        self.held().sign(grant, now)
    }

    /// Whether the signature is the grant's; takes the same time whatever the answer is.
    pub(super) fn check(&self, grant: &Grant, signature: &Signature) -> bool {
        self.held().check(grant, signature)
    }
}

impl Held {
    fn sign(&self, grant: &Grant, now: u64) -> Signature {
        let mut ready = self.all.iter().rev().filter(|key| key.signs_at <= now);
        // By a clock that is behind none may be ready.
        let key = ready.next().or(self.all.first());
        let Key { id, keyed, .. } = key.expect("there is a key from the start on");
        let mut hmac = keyed.clone();
        hmac.update(&grant.signed_bytes(*id));
        let bytes: [u8; SIGNATURE_BYTES] = hmac.finalize().into_bytes().into();
        Signature { key: *id, bytes }
    }

    fn check(&self, grant: &Grant, signature: &Signature) -> bool {
        let Some(key) = self.all.iter().find(|key| key.id == signature.key) else {
            return false;
        };
        let mut hmac = key.keyed.clone();
        hmac.update(&grant.signed_bytes(key.id));
        hmac.verify_slice(&signature.bytes).is_ok()
    }
}

/// A new key, as it is stored.
fn sealed(context: &Context) -> Result<Vec<u8>> {
    let key = context.crypto().random(BYTES)?;
    Ok(context.crypto().seal(&key, CONTEXT)?.to_vec())
}

fn opened(context: &Context, stored: Vec<store::Sealed>) -> Result<Vec<Key>> {
    let keys = stored.into_iter().map(|one| {
        let key = context.crypto().open(&one.key, CONTEXT)?;
        Ok(Key {
            id: u8::try_from(one.id).map_err(Error::internal)?,
            signs_at: one.signs_at.unsigned_abs(),
            keyed: keyed(&key),
        })
    });
    keys.collect()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Makes a key that signs from the next minute on; what was signed before is good for as long as it is. At once, the others are good
/// for nothing any more, in a few seconds on all hosts.
pub(crate) async fn turn(cx: &Cx<Stream>, is_at_once: bool, actor: &str) -> Result<Turned> {
    let after = if is_at_once { Duration::ZERO } else { NOTICE };
    let sealed = sealed(cx)?;
    let (id, signs_at) = store::turn_key(&cx.db(), &sealed, after, Some(actor)).await?;
    cx.plugin().media.keys.read(cx).await?;
    Ok(Turned {
        key: id.into(),
        signs_at,
    })
}

/// Turns a key that is as old as the configuration lets it become, and drops those that have had their time.
pub(crate) async fn keep_turning(cx: &Cx<Stream>) -> Result<()> {
    let days = cx.plugin().config.media.key_days;
    let age = Duration::from_secs(u64::from(days) * 86_400);
    if days > 0 && store::is_key_older(&cx.db(), age).await? {
        turn(cx, false, "schedule").await?;
    }
    store::drop_keys(&cx.db()).await
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_signature_is_good_for_its_key_and_grant_only() {
        let key = |id, signs_at| Key {
            id,
            signs_at,
            keyed: keyed(&[id; 32]),
        };
        let keys = Held {
            all: vec![key(1, 10), key(2, 20)],
            read_at: Duration::ZERO,
        };
        let grant = Grant {
            family_id: Uuid::from_u128(1),
            session_id: Uuid::from_u128(2),
            content_id: Uuid::from_u128(3),
            expires_at: 4,
        };
        // Each in its time.
        let by = |now| keys.sign(&grant, now).key;
        assert_eq!([by(5), by(10), by(19), by(20), by(99)], [1, 1, 1, 2, 2]);
        assert!(keys.check(&grant, &keys.sign(&grant, 10)));
        let signature = keys.sign(&grant, 20);
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
