//! Secret keys, encrypted with a password or not, as `minisign -G` and `minisign -GW` write them.

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{ALGORITHM, COMMENT, KeyId, PublicKey, Signature, blake2b_256, blake2b_512, decoded};

/// scrypt, and nothing at all.
const ENCRYPTED: [u8; 2] = *b"Sc";
const PLAIN: [u8; 2] = [0, 0];
/// BLAKE2b-256 over what is encrypted.
const CHECKED: [u8; 2] = *b"B2";

/// scrypt's cost of new keys: 128 MiB, half a second. Those of minisign take a gigabyte and are read as well.
const OPERATIONS: u64 = 4_194_304;
const MEMORY_BYTES: u64 = 134_217_728;
/// More than minisign's own keys ask for is a mistake, or somebody who wants this machine busy.
const COST_LOG2_MAX: u8 = 20;

/// A key that signs.
pub struct SecretKey {
    id: KeyId,
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeyError {
    /// No file of minisign.
    #[error("it is no minisign secret key")]
    Form,
    /// A password is needed.
    #[error("it is encrypted: a password is needed")]
    Encrypted,
    /// Another password, or a damaged file.
    #[error("the password is wrong, or the file is damaged")]
    Password,
    /// scrypt would take too much.
    #[error("its password takes more memory than a key should")]
    Cost,
    /// The system has no randomness, or its library no key.
    #[error("the system has no randomness")]
    Random,
}

impl std::fmt::Debug for SecretKey {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SecretKey").field(&self.id).finish()
    }
}

impl SecretKey {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`SecretKeyError::Random`].
    pub fn generate() -> Result<Self, SecretKeyError> {
        let (mut id, mut seed) = ([0; 8], Zeroizing::new([0; 32]));
        rand::fill(&mut id).map_err(|_| SecretKeyError::Random)?;
        rand::fill(&mut *seed).map_err(|_| SecretKeyError::Random)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed);
        let pair = pair.map_err(|_| SecretKeyError::Random)?;
        let id = KeyId(id);
        Ok(Self { id, seed, pair })
    }

    /// What others verify with.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey { id: self.id, key }
    }

    /// Signs `content` and `comment`, which must be one line.
    ///
    /// # Errors
    ///
    /// [`SecretKeyError::Random`] when the library fails.
    pub fn sign(&self, content: &[u8], comment: &str) -> Result<Signature, SecretKeyError> {
        let sign = |message: &[u8]| -> Result<[u8; 64], SecretKeyError> {
            let signed = self.pair.try_sign(message);
            let signed = signed.map_err(|_| SecretKeyError::Random)?;
            signed
                .as_ref()
                .try_into()
                .map_err(|_| SecretKeyError::Random)
        };
        let comment = comment.replace(['\n', '\r'], " ");
        let signature = sign(&blake2b_512(content))?;
        let global = sign(&[&signature[..], comment.as_bytes()].concat())?;
        Ok(Signature {
            id: self.id,
            bytes: signature,
            comment,
            global,
        })
    }

    /// The file of the key, encrypted where there is a password.
    ///
    /// # Errors
    ///
    /// [`SecretKeyError::Random`].
    pub fn to_file(&self, password: Option<&str>) -> Result<Zeroizing<String>, SecretKeyError> {
        let public = self.public();
        let check = blake2b_256(&[&ALGORITHM, &self.id.0, &*self.seed, &public.key]);
        let mut secret = Zeroizing::new([0; 104]);
        for (part, bytes) in [
            (0..8, &self.id.0[..]),
            (8..40, &self.seed[..]),
            (40..72, &public.key[..]),
            (72..104, &check[..]),
        ] {
            secret[part].copy_from_slice(bytes);
        }
        let mut salt = [0; 32];
        let (mut form, mut costs) = (PLAIN, [0, 0]);
        if let Some(password) = password {
            rand::fill(&mut salt).map_err(|_| SecretKeyError::Random)?;
            (form, costs) = (ENCRYPTED, [OPERATIONS, MEMORY_BYTES]);
            mask(&mut secret, password, &salt, costs)?;
        }
        let mut file = Zeroizing::new(Vec::with_capacity(158));
        for bytes in [&ALGORITHM[..], &form, &CHECKED, &salt] {
            file.extend_from_slice(bytes);
        }
        for cost in costs {
            file.extend_from_slice(&cost.to_le_bytes());
        }
        file.extend_from_slice(&*secret);
        let about = if password.is_some() {
            "encrypted secret key"
        } else {
            "secret key"
        };
        let encoded = Zeroizing::new(BASE64.encode(&file));
        Ok(Zeroizing::new(format!(
            "{COMMENT}minisign {about}\n{}\n",
            *encoded
        )))
    }

    /// Whether the file of a key wants a password.
    ///
    /// # Errors
    ///
    /// [`SecretKeyError::Form`].
    pub fn is_encrypted(file: &str) -> Result<bool, SecretKeyError> {
        match bytes_of(file)?[2..4] {
            [0, 0] => Ok(false),
            [b'S', b'c'] => Ok(true),
            _ => Err(SecretKeyError::Form),
        }
    }

    /// Reads the file of a key.
    ///
    /// # Errors
    ///
    /// All of [`SecretKeyError`].
    pub fn from_file(file: &str, password: Option<&str>) -> Result<Self, SecretKeyError> {
        let encrypted = Self::is_encrypted(file)?;
        let bytes = bytes_of(file)?;
        let mut secret = Zeroizing::new([0; 104]);
        secret.copy_from_slice(&bytes[54..158]);
        if encrypted {
            let password = password.ok_or(SecretKeyError::Encrypted)?;
            let number = |at: usize| -> u64 {
                let bytes = bytes[at..at + 8].try_into();
                u64::from_le_bytes(bytes.expect("eight bytes were cut out"))
            };
            mask(
                &mut secret,
                password,
                &bytes[6..38],
                [number(38), number(46)],
            )?;
        }
        let (id, seed, public) = (&secret[..8], &secret[8..40], &secret[40..72]);
        // minisign leaves the check of a key without a password empty; whether its halves belong together is told below.
        let is_unchecked = !encrypted && secret[72..] == [0; 32];
        if !is_unchecked && blake2b_256(&[&ALGORITHM, id, seed, public]) != secret[72..] {
            return Err(if encrypted {
                SecretKeyError::Password
            } else {
                SecretKeyError::Form
            });
        }
        // The seed makes the public half; one that another key belongs to would give the secret away with its signatures.
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
        let pair = pair.map_err(|_| SecretKeyError::Form)?;
        let mut kept = Zeroizing::new([0; 32]);
        kept.copy_from_slice(seed);
        let id = KeyId(id.try_into().expect("eight bytes were cut out"));
        Ok(Self {
            id,
            seed: kept,
            pair,
        })
    }
}

/// The bytes of a key's file: algorithm, form, check, salt, costs, and what may be encrypted.
fn bytes_of(file: &str) -> Result<Zeroizing<[u8; 158]>, SecretKeyError> {
    let mut lines = file.lines();
    let comment = lines
        .next()
        .filter(|line| line.starts_with(COMMENT.trim_end()));
    let line = comment.and_then(|_| lines.next());
    let bytes = Zeroizing::new(line.and_then(decoded::<158>).ok_or(SecretKeyError::Form)?);
    if bytes[..2] == ALGORITHM && bytes[4..6] == CHECKED {
        Ok(bytes)
    } else {
        Err(SecretKeyError::Form)
    }
}

/// Encrypts, or decrypts, with what scrypt makes of the password.
fn mask(
    secret: &mut [u8; 104],
    password: &str,
    salt: &[u8],
    [operations, memory_bytes]: [u64; 2],
) -> Result<(), SecretKeyError> {
    let params = params(operations, memory_bytes).ok_or(SecretKeyError::Cost)?;
    let mut stream = Zeroizing::new([0; 104]);
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut *stream)
        .map_err(|_| SecretKeyError::Cost)?;
    for (byte, mask) in secret.iter_mut().zip(&*stream) {
        *byte ^= mask;
    }
    Ok(())
}

/// libsodium's way from its two limits to scrypt's three numbers.
fn params(operations: u64, memory_bytes: u64) -> Option<scrypt::Params> {
    const R: u32 = 8;
    let log2_of = |largest: u64| (1..63).find(|log2| 1_u64 << log2 > largest / 2);
    let operations = operations.max(32_768);
    let (log2, p) = if operations < memory_bytes / 32 {
        (log2_of(operations / u64::from(R * 4))?, 1)
    } else {
        let log2 = log2_of(memory_bytes / u64::from(R * 128))?;
        let product = ((operations / 4) / (1 << log2)).min(0x3fff_ffff);
        (log2, u32::try_from(product).ok()? / R)
    };
    let log2 = u8::try_from(log2)
        .ok()
        .filter(|log2| *log2 <= COST_LOG2_MAX)?;
    (p <= 4).then(|| scrypt::Params::new(log2, R, p).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file_with_the_password_and_with_no_other() {
        let key = SecretKey::generate().expect("a key");
        let file = key.to_file(Some("a password")).expect("a file");
        assert_eq!(SecretKey::is_encrypted(&file), Ok(true));
        let read = SecretKey::from_file(&file, Some("a password")).expect("the key");
        assert_eq!(read.public(), key.public());
        let refused = |password| SecretKey::from_file(&file, password).expect_err("refused");
        assert_eq!(refused(Some("another")), SecretKeyError::Password);
        assert_eq!(refused(None), SecretKeyError::Encrypted);
    }

    #[test]
    fn one_without_a_password_is_plain_and_still_checked() {
        let key = SecretKey::generate().expect("a key");
        let file = key.to_file(None).expect("a file");
        assert_eq!(SecretKey::is_encrypted(&file), Ok(false));
        let read = SecretKey::from_file(&file, None).expect("the key");
        assert_eq!(read.public(), key.public());
        let line = file.lines().nth(1).expect("two lines");
        let mut bytes = BASE64.decode(line.as_bytes()).expect("base64");
        bytes[70] ^= 1;
        let damaged = format!("{COMMENT}x\n{}\n", BASE64.encode(&bytes));
        let error = SecretKey::from_file(&damaged, None).expect_err("damaged");
        assert_eq!(error, SecretKeyError::Form);
        let error = SecretKey::from_file("no key", None).expect_err("no key");
        assert_eq!(error, SecretKeyError::Form);
    }

    #[test]
    fn the_costs_are_libsodiums() {
        let of = |operations, memory| {
            params(operations, memory).map(|params| (params.log_n(), params.r(), params.p()))
        };
        assert_eq!(of(33_554_432, 1_073_741_824), Some((20, 8, 1)));
        assert_eq!(of(OPERATIONS, MEMORY_BYTES), Some((17, 8, 1)));
        assert_eq!(of(u64::MAX, u64::MAX), None);
    }
}
