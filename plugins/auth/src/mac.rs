//! Authenticates what this plugin hands out and gets back: refresh tokens, codes, links.
//!
//! HMAC-SHA-256 under a key of the plugin's own, kept sealed in the database. A forged token is told from a real one
//! without any query.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

/// Bytes of a key and of a MAC.
pub(crate) const BYTES: usize = 32;

/// What a MAC is for: one made for one purpose is worth nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A refresh token.
    Refresh,
    /// A one-time code or link.
    OneTime,
    /// A recovery code.
    Recovery,
    /// The token of an invitation into a family.
    Invitation,
    /// What a machine polls with while it is being paired.
    DeviceCode,
    /// What a person types to pair a machine.
    UserCode,
    /// A token of a script or a service.
    ApiToken,
    /// The secret of Hasura's hook.
    Webhook,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Refresh => b"refresh\0",
            Self::OneTime => b"one-time\0",
            Self::Recovery => b"recovery\0",
            Self::Invitation => b"invitation\0",
            Self::DeviceCode => b"device-code\0",
            Self::UserCode => b"user-code\0",
            Self::ApiToken => b"api-token\0",
            Self::Webhook => b"webhook\0",
        }
    }
}

/// All keys that may still check something; the last one makes.
pub(crate) struct MacKeys(Vec<(u8, Hmac<Sha256>)>);

impl MacKeys {
    /// From ids and keys, oldest first.
    ///
    /// # Panics
    ///
    /// Without a key.
    pub(crate) fn new(keys: Vec<(u8, [u8; BYTES])>) -> Self {
        assert!(!keys.is_empty(), "there is a key to make MACs with");
        let keyed = keys.into_iter().map(|(id, key)| {
            let hmac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
            (id, hmac)
        });
        Self(keyed.collect())
    }

    /// Id of the key that makes new MACs.
    pub(crate) fn newest(&self) -> u8 {
        self.0.last().map_or(0, |(id, _)| *id)
    }

    /// The MAC of `data` under the key `id`, if there is such a key.
    pub(crate) fn make(&self, id: u8, purpose: Purpose, data: &[u8]) -> Option<[u8; BYTES]> {
        Some(
            self.begin(id, purpose, data)?
                .finalize()
                .into_bytes()
                .into(),
        )
    }

    /// The MACs of `data` under every key: one of them is how something of any age was stored.
    pub(crate) fn all(&self, purpose: Purpose, data: &[u8]) -> Vec<Vec<u8>> {
        let macs = self.0.iter().map(|(id, _)| self.make(*id, purpose, data));
        macs.flatten().map(|mac| mac.to_vec()).collect()
    }

    /// Whether `mac` is that of `data`; takes the same time whatever the answer is.
    pub(crate) fn check(&self, id: u8, purpose: Purpose, data: &[u8], mac: &[u8]) -> bool {
        self.begin(id, purpose, data)
            .is_some_and(|hmac| hmac.verify_slice(mac).is_ok())
    }

    fn begin(&self, id: u8, purpose: Purpose, data: &[u8]) -> Option<Hmac<Sha256>> {
        let (_, keyed) = self.0.iter().find(|(known, _)| *known == id)?;
        let mut hmac = keyed.clone();
        hmac.update(purpose.label());
        hmac.update(data);
        Some(hmac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_good_for_its_key_purpose_and_data_only() {
        let keys = MacKeys::new(vec![(1, [1; BYTES]), (2, [2; BYTES])]);
        assert_eq!(keys.newest(), 2);
        let mac = keys
            .make(2, Purpose::Refresh, b"data")
            .expect("there is a key 2");
        assert!(keys.check(2, Purpose::Refresh, b"data", &mac));
        assert!(!keys.check(1, Purpose::Refresh, b"data", &mac));
        assert!(!keys.check(3, Purpose::Refresh, b"data", &mac));
        assert!(!keys.check(2, Purpose::OneTime, b"data", &mac));
        assert!(!keys.check(2, Purpose::Refresh, b"date", &mac));
        assert!(!keys.check(2, Purpose::Refresh, b"data", &mac[..31]));
        let all = keys.all(Purpose::Refresh, b"data");
        assert_eq!((all.len(), &all[1][..]), (2, &mac[..]));
    }
}
