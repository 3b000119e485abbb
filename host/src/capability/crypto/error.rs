//! What can go wrong with cryptography, and how plugins see it.

use nself_plugin_api::abi::error::Error;

use super::password::{HASH_MEMORY_KIB_MAX, HASH_PASSES_MAX, PASSWORD_BYTES_MAX};
use crate::{
    capability::error::{denied, error, unavailable},
    config::secrets::SecretError,
};

/// Errors of the crypto capability. None says more about a secret than that it did not fit.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// One text for every reason, so that it tells an attacker nothing.
    #[error("the sealed data was changed, or sealed for another plugin, context or installation")]
    SealBroken,
    /// An algorithm that the host does not make keys for.
    #[error("no keys for the algorithm {0:?}: use ES256, EdDSA or RS256")]
    AlgorithmUnknown(String),
    /// The manifest does not ask for the secret.
    #[error("plugin {plugin} has not been granted the secret {secret}")]
    SecretNotGranted {
        /// The plugin.
        plugin: String,
        /// The secret's name.
        secret: String,
    },
    /// The operator has not set the secret.
    #[error("the secret {0} is not set")]
    SecretMissing(String),
    /// There is one, and others could get at it, or it does not read.
    #[error("a secret of this plugin cannot be used")]
    SecretUnusable(#[source] SecretError),
    /// A secret that is to sign and cannot.
    #[error("the secret {secret} is no key that this host signs with: {reason}")]
    KeyInvalid {
        /// The secret's name.
        secret: String,
        /// What it is instead, without a word of it.
        reason: &'static str,
    },
    /// A key of another kind than the algorithm needs.
    #[error("the key in the secret {secret} is one for {of}, it cannot sign by {asked}")]
    KeyAlgorithm {
        /// The secret's name.
        secret: String,
        /// What it signs by.
        of: &'static str,
        /// What was asked for.
        asked: &'static str,
    },
    /// Over [`PASSWORD_BYTES_MAX`].
    #[error("the password has {bytes} bytes, {PASSWORD_BYTES_MAX} are allowed")]
    PasswordTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a hash that this host would check.
    #[error(
        "the stored hash is no Argon2 PHC string with at most {HASH_MEMORY_KIB_MAX} KiB and {HASH_PASSES_MAX} passes, and none of bcrypt, scrypt or PBKDF2 within their limits"
    )]
    HashInvalid,
    /// More callers than the queue holds.
    #[error("too many password hashes are waiting")]
    HashQueueFull {
        /// When there should be room, in milliseconds.
        retry_after_ms: u64,
    },
    /// No threads for hashing.
    #[error("cannot start the threads that hash passwords")]
    Threads(#[source] std::io::Error),
    /// The library refused, which it does only when the machine is at its end.
    #[error("the cryptographic library failed to {0}")]
    Library(&'static str),
}

impl CryptoError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SealBroken => "SEAL_BROKEN",
            Self::AlgorithmUnknown(_) => "ALGORITHM_UNKNOWN",
            Self::SecretNotGranted { .. } => "SECRET_NOT_GRANTED",
            Self::SecretMissing(_) => "SECRET_MISSING",
            Self::SecretUnusable(refusal) => refusal.code(),
            Self::KeyInvalid { .. } => "KEY_INVALID",
            Self::KeyAlgorithm { .. } => "KEY_ALGORITHM",
            Self::PasswordTooLong { .. } => "PASSWORD_TOO_LONG",
            Self::HashInvalid => "HASH_INVALID",
            Self::HashQueueFull { .. } => "HASH_QUEUE_FULL",
            Self::Threads(_) | Self::Library(_) => "CRYPTO_FAILED",
        }
    }
}

impl From<CryptoError> for Error {
    fn from(failure: CryptoError) -> Self {
        let code = failure.code();
        match &failure {
            CryptoError::SecretNotGranted { plugin, secret } => {
                denied(code, plugin, format_args!("the secret {secret}"))
            }
            CryptoError::SecretUnusable(refusal) => {
                error(500, code, failure.to_string(), refusal.line())
            }
            CryptoError::HashQueueFull { retry_after_ms } => {
                unavailable(code, failure.to_string(), *retry_after_ms, &failure)
            }
            CryptoError::PasswordTooLong { .. } => error(400, code, failure.to_string(), &failure),
            _ => error(500, code, failure.to_string(), &failure),
        }
    }
}
