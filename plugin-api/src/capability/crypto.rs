//! Cryptography by the host: keys stay there.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::granted;
use crate::{
    abi::{self, bytes::Slice},
    cx::Handles,
    error::{Error, Result},
};

/// Keys, encryption, password hashing, randomness.
pub struct Crypto<'a>(pub(crate) &'a Arc<Handles>);

/// A signing algorithm (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Name as in a JWK's `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

/// A key pair: the public part for everybody, the private part sealed for this plugin.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyPair {
    /// Public JWK (RFC 7517).
    pub jwk: Value,
    /// The private key, encrypted under the host's master key; store it.
    pub sealed: String,
}

/// What became of a password check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It is another password.
    Wrong,
    /// It is the password.
    Right,
    /// It is the password, and its hash is of an older strength: hash it again.
    RightAndOutdated,
}

impl Crypto<'_> {
    /// Random bytes of the operating system's generator.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability; `RANDOM_FAILED` when the host gave fewer bytes than were asked for, of which
    /// it gives a mebibyte at most.
    pub fn random(&self, length: u32) -> Result<Bytes> {
        let bytes: Bytes = granted!(self, crypto, "nself.crypto/1")?
            .random(length)
            .into();
        // The boundary has no error here. Fewer bytes than asked for must never become somebody's token.
        if u32::try_from(bytes.len()) != Ok(length) {
            return Err(
                Error::new(500, "RANDOM_FAILED", "something went wrong on our side").with_cause(
                    format!("asked for {length} random bytes, got {}", bytes.len()),
                ),
            );
        }
        Ok(bytes)
    }

    /// Encrypts for this plugin; `context` (such as the row's id) must be the same when opening.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn seal(&self, plaintext: &[u8], context: &[u8]) -> Result<Bytes> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(crypto
            .seal(Slice::new(plaintext), Slice::new(context))
            .into_result()?
            .into())
    }

    /// Decrypts what [`seal`](Self::seal) made.
    ///
    /// # Errors
    ///
    /// `SEAL_BROKEN` when it was changed, or sealed for another plugin or context.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Bytes> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(crypto
            .open(Slice::new(sealed), Slice::new(context))
            .into_result()?
            .into())
    }

    /// HMAC-SHA-256 with a secret that the manifest asks for.
    ///
    /// # Errors
    ///
    /// When there is no such secret.
    pub fn hmac(&self, secret: &str, data: &[u8]) -> Result<Bytes> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(crypto
            .hmac(secret.into(), Slice::new(data))
            .into_result()?
            .into())
    }

    /// Makes a key pair.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub async fn generate_key(&self, algorithm: Algorithm) -> Result<KeyPair> {
        let pair = granted!(self, crypto, "nself.crypto/1")?
            .generate_key(algorithm.name().into())
            .await?;
        serde_json::from_slice(pair.as_slice()).map_err(Error::internal)
    }

    /// Signs with a sealed key; the signature is in JOSE form.
    ///
    /// # Errors
    ///
    /// `SEAL_BROKEN` when the key was changed or sealed for another plugin.
    pub fn sign(&self, sealed_key: &str, data: &[u8]) -> Result<Bytes> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(crypto
            .sign(Slice::new(sealed_key.as_bytes()), Slice::new(data))
            .into_result()?
            .into())
    }

    /// Signs with a key that somebody else has made: the private key (PKCS #8 in PEM) that the operator has written into a
    /// secret which the manifest asks for. The host signs; it hands out no secret that is a private key. The signature is in
    /// JOSE form.
    ///
    /// # Errors
    ///
    /// `SECRET_NOT_GRANTED`, `SECRET_MISSING`; `KEY_INVALID` when the secret is no key that the host signs with;
    /// `KEY_ALGORITHM` when it is one for another algorithm.
    pub fn sign_with_secret(
        &self,
        secret: &str,
        algorithm: Algorithm,
        data: &[u8],
    ) -> Result<Bytes> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(crypto
            .sign_with_secret(secret.into(), algorithm.name().into(), Slice::new(data))
            .into_result()?
            .into())
    }

    /// Whether `signature` is that of `data` under a public JWK.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn verify(&self, jwk: &Value, data: &[u8], signature: &[u8]) -> Result<bool> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(crypto.verify(
            jwk.to_string().as_str().into(),
            Slice::new(data),
            Slice::new(signature),
        ) == 1)
    }

    /// Hashes a password (Argon2id); a PHC string.
    ///
    /// The copy that goes to the host is overwritten as soon as the hash is made, or nobody waits for it any more, and the
    /// host makes no other. `password` itself is the caller's: the request body and the text decoded from it are freed as they
    /// are.
    ///
    /// # Errors
    ///
    /// 503 when too many hashes are waiting.
    pub async fn hash_password(&self, password: &str) -> Result<String> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(crypto.hash_password(secret(password)).await?.to_text())
    }

    /// Checks a password against its hash. Of the password's copies the same holds as for
    /// [`hash_password`](Self::hash_password).
    ///
    /// # Errors
    ///
    /// 503 when too many hashes are waiting; when the hash is none.
    pub async fn verify_password(&self, password: &str, hash: &str) -> Result<PasswordCheck> {
        let crypto = granted!(self, crypto, "nself.crypto/1")?;
        Ok(
            match crypto
                .verify_password(secret(password), hash.as_bytes().into())
                .await?
            {
                1 => PasswordCheck::Right,
                2 => PasswordCheck::RightAndOutdated,
                _ => PasswordCheck::Wrong,
            },
        )
    }
}

/// A copy for the host that is overwritten when it is freed.
fn secret(password: &str) -> abi::bytes::Bytes {
    abi::bytes::Bytes::secret(password.as_bytes().to_vec())
}
