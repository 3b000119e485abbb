//! minisign's files: public keys, secret keys and detached signatures, as `minisign` itself writes and reads them.
//!
//! Written out here because nothing has to come with it: Ed25519 is aws-lc-rs's, BLAKE2b is the one that argon2 stands on, and
//! scrypt is there for passwords of elsewhere. Only the form that hashes first is taken; the legacy one signs whole files.

mod public;
mod secret;
mod signature;

use blake2::{Blake2b, Blake2b512, Digest as _, digest::consts::U32};
use data_encoding::BASE64;

pub use public::{KeyId, PublicKey, PublicKeyError};
pub use secret::{SecretKey, SecretKeyError};
pub use signature::{Differs, Signature, SignatureError};

/// What the file of a signature is called: this after the whole name of what was signed.
pub const EXTENSION: &str = "minisig";

/// Largest signature file, in bytes: two lines of Base64 and two comments.
pub const SIGNATURE_BYTES_MAX: u64 = 16 * 1024;

/// Ed25519, as the first two bytes of keys say it.
const ALGORITHM: [u8; 2] = *b"Ed";
/// Ed25519 over BLAKE2b-512 of the content: what signatures say.
const HASHED: [u8; 2] = *b"ED";

const COMMENT: &str = "untrusted comment: ";
const TRUSTED_COMMENT: &str = "trusted comment: ";

fn blake2b_512(bytes: &[u8]) -> [u8; 64] {
    Blake2b512::digest(bytes).into()
}

fn blake2b_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Blake2b::<U32>::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The bytes of a line of Base64, if there are just so many of them.
fn decoded<const N: usize>(line: &str) -> Option<[u8; N]> {
    let bytes = BASE64.decode(line.trim_end().as_bytes()).ok()?;
    bytes.try_into().ok()
}
