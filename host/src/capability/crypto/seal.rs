//! Authenticated encryption under keys that are derived from the master key, one per plugin and purpose.
//!
//! Sealed bytes are: version (1), nonce (12 bytes), ciphertext and tag of AES-256-GCM (NIST SP 800-38D). The context is
//! authenticated with them and not stored. Nonces are random, so one key may seal 2^32 times (section 8.3 there).

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
};
use zeroize::Zeroizing;

use super::CryptoError;

/// First byte of sealed data; another layout or cipher gets another.
const VERSION: u8 = 1;

/// Bytes before the ciphertext.
const HEADER_LEN: usize = 1 + NONCE_LEN;

/// The master key, as the root of all derived ones; the key itself is not kept.
pub(super) struct Root(Prk);

impl Root {
    /// The root of `master`, which must be random: there is no stretching.
    pub(super) fn new(master: &[u8; 32]) -> Self {
        Self(Salt::new(HKDF_SHA256, &[]).extract(master))
    }

    /// The key of `plugin` for `purpose`. A purpose has no space in it, so no two pairs derive the same key.
    pub(super) fn sealer(&self, purpose: &str, plugin: &str) -> Sealer {
        let info = [b"nself ", purpose.as_bytes(), b" ", plugin.as_bytes()];
        let key = self
            .0
            .expand(&info, &AES_256_GCM)
            .expect("32 bytes are within what HKDF-SHA-256 gives");
        Sealer(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root(secret)")
    }
}

/// One derived key.
#[derive(Debug)]
pub(super) struct Sealer(LessSafeKey);

impl Sealer {
    pub(super) fn seal(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| CryptoError::Library("make a nonce"))?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + plaintext.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(context), &mut sealed[HEADER_LEN..])
            .map_err(|_| CryptoError::Library("seal"))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    pub(super) fn open(
        &self,
        sealed: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (header, ciphertext) = sealed
            .split_at_checked(HEADER_LEN)
            .ok_or(CryptoError::SealBroken)?;
        let (version, nonce) = header.split_at(1);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::SealBroken)?;
        if version != [VERSION] {
            return Err(CryptoError::SealBroken);
        }
        let mut opened = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(context), &mut opened)
            .map_err(|_| CryptoError::SealBroken)?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(master: u8, purpose: &str, plugin: &str) -> Sealer {
        Root::new(&[master; 32]).sealer(purpose, plugin)
    }

    #[track_caller]
    fn check_broken(sealer: &Sealer, sealed: &[u8], context: &[u8]) {
        let error = sealer.open(sealed, context).expect_err("it must not open");
        assert_eq!(error.code(), "SEAL_BROKEN");
    }

    #[test]
    fn what_was_sealed_opens_with_its_context_only() {
        let notes = sealer(1, "seal", "notes");
        for plaintext in [&b"a secret"[..], b"", &[0; 5000]] {
            let sealed = notes.seal(plaintext, b"row 7").expect("it seals");
            assert_eq!(
                notes.open(&sealed, b"row 7").expect("it opens").as_slice(),
                plaintext
            );
            check_broken(&notes, &sealed, b"row 8");
        }
    }

    #[test]
    fn another_plugin_purpose_or_installation_cannot_open() {
        let sealed = sealer(1, "seal", "notes")
            .seal(b"a secret", b"")
            .expect("it seals");
        check_broken(&sealer(1, "seal", "mail"), &sealed, b"");
        check_broken(&sealer(1, "key", "notes"), &sealed, b"");
        check_broken(&sealer(2, "seal", "notes"), &sealed, b"");
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let notes = sealer(1, "seal", "notes");
        let sealed = notes.seal(b"secret", b"").expect("it seals");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            check_broken(&notes, &changed, b"");
        }
        for length in 0..sealed.len() {
            check_broken(&notes, &sealed[..length], b"");
        }
        check_broken(&notes, &[sealed.as_slice(), b"x"].concat(), b"");
    }

    #[test]
    fn the_same_plaintext_never_looks_the_same() {
        let notes = sealer(1, "seal", "notes");
        assert_ne!(
            notes.seal(b"x", b"").expect("it seals"),
            notes.seal(b"x", b"").expect("it seals")
        );
    }
}
