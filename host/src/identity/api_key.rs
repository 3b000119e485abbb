//! API keys for operators and services.
//!
//! A key is 256 random bits behind a prefix that secret scanners recognise. So much randomness cannot be
//! guessed, so the stored form is a plain SHA-256: a slow password hash would only cost every request its time.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::{Kind, Principal};

/// What every key starts with.
pub const KEY_PREFIX: &str = "nsk_";

/// Longest key that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// A key as the configuration holds it: its digest, never itself.
#[derive(Debug, Clone)]
pub struct ApiKey {
    sha256: [u8; 32],
    principal: Arc<Principal>,
}

/// Why a configured key is refused.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The digest is not 64 hexadecimal digits.
    #[error(
        "api key {name:?}: sha256 must be 64 hexadecimal digits; make a key with `nself config key`"
    )]
    Digest {
        /// Name of the key.
        name: String,
    },
    /// The kind cannot hold a key.
    #[error("api key {name:?}: a key belongs to a service or an operator, not to a {kind}", kind = .kind.as_str())]
    Kind {
        /// Name of the key.
        name: String,
        /// The kind that was asked for.
        kind: Kind,
    },
}

impl ApiKey {
    /// Reads a configured key: who it is, what kind, its digest in hexadecimal, and its scopes.
    pub fn new(
        name: &str,
        kind: Kind,
        sha256_hex: &str,
        scopes: &[String],
    ) -> Result<Self, ApiKeyError> {
        if !matches!(kind, Kind::Service | Kind::Operator) {
            return Err(ApiKeyError::Kind {
                name: name.to_owned(),
                kind,
            });
        }
        let sha256 = from_hex(sha256_hex).ok_or_else(|| ApiKeyError::Digest {
            name: name.to_owned(),
        })?;
        let principal = Principal {
            kind,
            subject: name.into(),
            user_id: None,
            session_id: None,
            member_id: None,
            family_id: None,
            device_id: None,
            role: None,
            family_ids: Vec::new(),
            scopes: scopes.iter().map(|scope| Arc::from(&**scope)).collect(),
            aal: 1,
            elevated: false,
            epoch: 0,
            expires_at: None,
        };
        Ok(Self {
            sha256,
            principal: Arc::new(principal),
        })
    }
}

/// A fresh key: show `secret` once, keep `sha256`.
pub struct NewApiKey {
    /// The key itself; wiped from memory when dropped.
    pub secret: Zeroizing<String>,
    /// What the configuration keeps, in hexadecimal.
    pub sha256: String,
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key itself: debug output ends up in logs.
        f.debug_struct("NewApiKey")
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

impl NewApiKey {
    /// Makes a key of 256 random bits.
    ///
    /// # Panics
    ///
    /// Never in practice: the system's random source does not fail once the process has started.
    #[must_use]
    pub fn generate() -> Self {
        let mut bits = Zeroizing::new([0u8; 32]);
        rand::fill(&mut *bits).expect("the system's random source answers");
        let mut secret = Zeroizing::new(String::with_capacity(KEY_PREFIX.len() + 64));
        secret.push_str(KEY_PREFIX);
        push_hex(&mut secret, &*bits);
        let sha256 = key_digest(&secret);
        Self { secret, sha256 }
    }
}

/// SHA-256 of a key in hexadecimal: what the configuration keeps.
pub fn key_digest(key: &str) -> String {
    let mut hex = String::with_capacity(64);
    push_hex(&mut hex, digest(&SHA256, key.as_bytes()).as_ref());
    hex
}

/// Who a presented key belongs to. Every configured key is compared, each in constant time, so the time taken
/// tells nothing about which one came close.
pub(super) fn find(keys: &[ApiKey], presented: &str) -> Option<Arc<Principal>> {
    if presented.len() > KEY_BYTES_MAX {
        return None;
    }
    let sha256 = digest(&SHA256, presented.as_bytes());
    let mut found = None;
    for key in keys {
        if verify_slices_are_equal(&key.sha256, sha256.as_ref()).is_ok() {
            found = Some(&key.principal);
        }
    }
    found.cloned()
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(
                char::from_digit(nibble.into(), 16).expect("a nibble is a hexadecimal digit"),
            );
        }
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_found_by_its_digest_and_another_is_not() {
        let new = NewApiKey::generate();
        let scopes = ["jobs.write".to_owned()];
        let key = ApiKey::new("ci", Kind::Service, &new.sha256, &scopes)
            .expect("a fresh digest is valid");
        let found = find(std::slice::from_ref(&key), &new.secret).expect("the key is configured");
        assert_eq!((&*found.subject, found.kind), ("ci", Kind::Service));
        assert!(found.has_scope("jobs.write") && !found.has_scope("jobs.read"));
        assert!(find(&[key], &NewApiKey::generate().secret).is_none());
    }

    #[test]
    fn a_digest_of_the_wrong_length_or_alphabet_names_the_key() {
        for digest in ["", "abc", &"g".repeat(64), &"+1".repeat(32)] {
            let error = ApiKey::new("ci", Kind::Operator, digest, &[]).expect_err("not a digest");
            assert!(error.to_string().contains("\"ci\""), "{error}");
        }
    }

    #[test]
    fn a_person_cannot_hold_a_key() {
        assert!(ApiKey::new("x", Kind::User, &"0".repeat(64), &[]).is_err());
    }
}
