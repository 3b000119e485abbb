//! Cryptography: one library for all plugins, and keys that never leave the host.

use crate::abi::{
    bytes::{Bytes, Slice, Str},
    error::Outcome,
    interface::interface,
};

interface! {
    /// Keys are sealed under the host's master key and bound to the plugin: a plugin stores the sealed form and signs by
    /// handing it back.
    pub interface Crypto: CryptoProvider / CryptoTable = "nself.crypto/1" {
        /// Random bytes of the operating system's generator.
        sync fn random(length: u32) -> Bytes;
        /// Encrypts (AES-256-GCM) for this plugin; `context` must be the same when opening.
        sync fn seal(plaintext: Slice<'_, u8>, context: Slice<'_, u8>) -> Outcome<Bytes>;
        /// Decrypts what `seal` made.
        sync fn open(sealed: Slice<'_, u8>, context: Slice<'_, u8>) -> Outcome<Bytes>;
        /// HMAC-SHA-256 with the named secret.
        sync fn hmac(secret: Str<'_>, data: Slice<'_, u8>) -> Outcome<Bytes>;
        /// Makes a key pair for `ES256`, `EdDSA` or `RS256`; JSON: `{"jwk": public key, "sealed": base64url}`.
        async fn generate_key(algorithm: Str<'_>) -> Bytes;
        /// Signs with a sealed key; the signature is in JOSE form (RFC 7515).
        sync fn sign(sealed_key: Slice<'_, u8>, data: Slice<'_, u8>) -> Outcome<Bytes>;
        /// 1 when `signature` is that of `data` under the public JWK.
        sync fn verify(jwk: Str<'_>, data: Slice<'_, u8>, signature: Slice<'_, u8>) -> u32;
        /// Hashes a password (Argon2id) on the host's hashing threads; PHC string. Refused with 503 when their queue is full.
        async fn hash_password(password: Bytes) -> Bytes;
        /// 0 when the password is wrong, 1 when right, 2 when right and its hash should be renewed.
        async fn verify_password(password: Bytes, hash: Bytes) -> u32;
        /// Signs with the private key (PKCS #8 in PEM) that is the value of the named secret, by `ES256`, `EdDSA` or `RS256`;
        /// the signature is in JOSE form.
        sync fn sign_with_secret(secret: Str<'_>, algorithm: Str<'_>, data: Slice<'_, u8>) -> Outcome<Bytes>;
    }
}
