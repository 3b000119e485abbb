//! Password hashes that other systems made: bcrypt, scrypt, Firebase's scrypt, PBKDF2. They are checked and never made: a
//! right one is told as outdated, so that its account gets an Argon2id hash at the next sign-in.
//!
//! As bcrypt writes it (`$2b$10$..`), and as PHC strings: `$scrypt$ln=14,r=8,p=1$SALT$HASH`,
//! `$pbkdf2-sha256$i=600000$SALT$HASH` (also `pbkdf2-sha512`, and `pbkdf2` for SHA-1), and
//! `$fbscrypt$v=1,n=14,r=8,p=1,ss=SEPARATOR,sk=KEY$SALT$HASH` for Firebase, with the project's salt separator and signer key.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    constant_time::verify_slices_are_equal,
    iv::FixedLength,
    pbkdf2,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::CryptoError;

/// Highest cost of bcrypt, as a power of two: about two seconds.
const BCRYPT_COST_MAX: u32 = 15;

/// Most memory of scrypt in bytes, 128 times N and r: 256 MiB.
const SCRYPT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Most work of scrypt, N times r times p: four times of what OWASP's cheat sheet asks for.
const SCRYPT_WORK_MAX: u64 = 1 << 22;

/// Most iterations of PBKDF2.
const PBKDF2_ITERATIONS_MAX: u32 = 2_000_000;

/// Most bytes of a salt, a hash or a key.
const FIELD_BYTES_MAX: usize = 128;

/// Fewest bytes of a hash: a shorter one would be hit by chance.
const HASH_BYTES_MIN: usize = 16;

/// Bytes of the key that Firebase derives; the first half encrypts.
const FIREBASE_KEY_BYTES: usize = 64;

/// Base64 as PHC strings have it and as exports have it, which pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A hash that was read and found to be within the limits.
pub(super) enum Foreign {
    Bcrypt(String),
    Scrypt {
        params: scrypt::Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Firebase {
        params: scrypt::Params,
        /// The user's salt and the project's separator.
        salt: Vec<u8>,
        signer_key: Zeroizing<Vec<u8>>,
        hash: Vec<u8>,
    },
    Pbkdf2 {
        algorithm: pbkdf2::Algorithm,
        iterations: NonZeroU32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

impl Foreign {
    /// Reads a hash of any of these kinds.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix('$')?.split_once('$')?;
        match kind {
            "2a" | "2b" | "2x" | "2y" => {
                let cost: u32 = rest.split_once('$')?.0.parse().ok()?;
                let is_whole = text.parse::<bcrypt::HashParts>().is_ok();
                // `2x` marks hashes of an implementation that had a fault.
                let is_good = kind != "2x" && (4..=BCRYPT_COST_MAX).contains(&cost) && is_whole;
                is_good.then(|| Self::Bcrypt(text.to_owned()))
            }
            "scrypt" => {
                let Fields { params, salt, hash } = Fields::read(rest)?;
                let params = scrypt_params(params.get("ln")?, params.get("r")?, params.get("p")?)?;
                Some(Self::Scrypt { params, salt, hash })
            }
            "fbscrypt" => Self::read_firebase(rest),
            "pbkdf2" | "pbkdf2-sha1" => Self::read_pbkdf2(pbkdf2::PBKDF2_HMAC_SHA1, rest),
            "pbkdf2-sha256" => Self::read_pbkdf2(pbkdf2::PBKDF2_HMAC_SHA256, rest),
            "pbkdf2-sha512" => Self::read_pbkdf2(pbkdf2::PBKDF2_HMAC_SHA512, rest),
            _ => None,
        }
    }

    fn read_firebase(rest: &str) -> Option<Self> {
        let Fields {
            params,
            mut salt,
            hash,
        } = Fields::read(rest)?;
        let (separator, signer_key) = (bytes(params.get("ss")?)?, bytes(params.get("sk")?)?);
        salt.extend_from_slice(&separator);
        let is_known = params.get("v") == Some("1") && hash.len() == signer_key.len();
        let params = scrypt_params(params.get("n")?, params.get("r")?, params.get("p")?)?;
        let signer_key = Zeroizing::new(signer_key);
        is_known.then_some(Self::Firebase {
            params,
            salt,
            signer_key,
            hash,
        })
    }

    fn read_pbkdf2(algorithm: pbkdf2::Algorithm, rest: &str) -> Option<Self> {
        let Fields { params, salt, hash } = Fields::read(rest)?;
        let iterations: NonZeroU32 = params.get("i")?.parse().ok()?;
        (iterations.get() <= PBKDF2_ITERATIONS_MAX).then_some(Self::Pbkdf2 {
            algorithm,
            iterations,
            salt,
            hash,
        })
    }

    /// Whether it is the hash of `password`.
    pub(super) fn fits(&self, password: &[u8]) -> Result<bool, CryptoError> {
        let failed = CryptoError::Library("check a password");
        Ok(match self {
            // What is behind byte 72 does not count, as where the hash was made.
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).map_err(|_| failed)?,
            Self::Scrypt { params, salt, hash } => {
                let derived = derive(params, password, salt, hash.len())?;
                verify_slices_are_equal(&derived, hash).is_ok()
            }
            Self::Firebase {
                params,
                salt,
                signer_key,
                hash,
            } => {
                let derived = derive(params, password, salt, FIREBASE_KEY_BYTES)?;
                let mut encrypted = signer_key.to_vec();
                encrypt(&derived[..FIREBASE_KEY_BYTES / 2], &mut encrypted).ok_or(failed)?;
                verify_slices_are_equal(&encrypted, hash).is_ok()
            }
            Self::Pbkdf2 {
                algorithm,
                iterations,
                salt,
                hash,
            } => pbkdf2::verify(*algorithm, *iterations, salt, password, hash).is_ok(),
        })
    }
}

fn derive(
    params: &scrypt::Params,
    password: &[u8],
    salt: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut derived = Zeroizing::new(vec![0; length]);
    scrypt::scrypt(password, salt, params, &mut derived)
        .map_err(|_| CryptoError::Library("check a password"))?;
    Ok(derived)
}

/// AES-256 in counter mode from zero: the key is used for nothing else.
fn encrypt(key: &[u8], text: &mut [u8]) -> Option<()> {
    let key = UnboundCipherKey::new(&AES_256, key).ok()?;
    let context = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    let key = EncryptingKey::ctr(key).ok()?;
    key.less_safe_encrypt(text, context).ok().map(|_| ())
}

fn scrypt_params(log_n: &str, r: &str, p: &str) -> Option<scrypt::Params> {
    let (log_n, r, p): (u8, u32, u32) = (log_n.parse().ok()?, r.parse().ok()?, p.parse().ok()?);
    let n = 1_u64.checked_shl(log_n.into())?;
    let (wide_r, wide_p) = (u64::from(r), u64::from(p));
    let memory = n.checked_mul(wide_r)?.checked_mul(128)?;
    let work = n.checked_mul(wide_r)?.checked_mul(wide_p)?;
    if log_n == 0 || memory > SCRYPT_BYTES_MAX || work > SCRYPT_WORK_MAX {
        return None;
    }
    scrypt::Params::new(log_n, r, p).ok()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    if text.len() > FIELD_BYTES_MAX * 2 {
        return None;
    }
    BASE64.decode(text).ok()
}

/// `a=1,b=2$SALT$HASH`
struct Fields<'a> {
    params: Params<'a>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl<'a> Fields<'a> {
    fn read(rest: &'a str) -> Option<Self> {
        let mut fields = rest.split('$');
        let (params, salt, hash) = (fields.next()?, fields.next()?, fields.next()?);
        let (salt, hash) = (bytes(salt)?, bytes(hash)?);
        let is_whole = fields.next().is_none()
            && salt.len() <= FIELD_BYTES_MAX
            && (HASH_BYTES_MIN..=FIELD_BYTES_MAX).contains(&hash.len());
        is_whole.then_some(Self {
            params: Params(params),
            salt,
            hash,
        })
    }
}

#[derive(Clone, Copy)]
struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        let mut pairs = self.0.split(',').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hash: &str, password: &[u8]) {
        let foreign = Foreign::read(hash).unwrap_or_else(|| panic!("it does not read: {hash}"));
        assert!(foreign.fits(password).expect("hashing works"), "{hash}");
        let wrong = [password, b"x"].concat();
        assert!(!foreign.fits(&wrong).expect("hashing works"), "{hash}");
    }

    fn base64(hex: &str) -> String {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        BASE64.encode((0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>())
    }

    /// From the test vectors of Solar Designer's crypt_blowfish.
    #[test]
    fn bcrypt_fits() {
        check(
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            b"U*U",
        );
        check(
            "$2y$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
            b"U*U*",
        );
        check(
            "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a",
            b"U*U*U",
        );
    }

    /// From RFC 7914, section 12.
    #[test]
    fn scrypt_fits() {
        let hash = base64(
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2\
             d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        );
        check(
            &format!(
                "$scrypt$ln=14,r=8,p=1${}${hash}",
                BASE64.encode("SodiumChloride")
            ),
            b"pleaseletmein",
        );
    }

    /// From the example of Firebase's own implementation, `firebase/scrypt`.
    #[test]
    fn firebases_scrypt_fits() {
        let key = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";
        let hash = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
        let salt = "42xEC+ixf3L2lw==";
        check(
            &format!("$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={key}${salt}${hash}"),
            b"user1password",
        );
    }

    /// From RFC 6070 (SHA-1), and the same inputs with the other functions (RFC 7914, section 11, for SHA-256).
    #[test]
    fn pbkdf2_fits() {
        let salt = BASE64.encode("saltSALTsaltSALTsaltSALTsaltSALTsalt");
        let hash = base64("3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038");
        check(
            &format!("$pbkdf2$i=4096${salt}${hash}"),
            b"passwordPASSWORDpassword",
        );
        let salt = BASE64.encode("salt");
        let hash = base64(
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
        );
        check(&format!("$pbkdf2-sha256$i=1,l=64${salt}${hash}"), b"passwd");
        let hash = base64(
            "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252\
             c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce",
        );
        check(&format!("$pbkdf2-sha512$i=1${salt}${hash}"), b"password");
    }

    #[test]
    fn what_asks_for_too_much_or_is_cut_off_does_not_read() {
        let hash = BASE64.encode([7; 32]);
        for bad in [
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe".to_owned(),
            "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
            "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
            format!("$scrypt$ln=30,r=8,p=1$c2FsdA${hash}"),
            format!("$scrypt$ln=64,r=8,p=1$c2FsdA${hash}"),
            format!("$scrypt$ln=14,r=8,p=999999$c2FsdA${hash}"),
            format!("$scrypt$ln=14,r=0,p=1$c2FsdA${hash}"),
            format!("$pbkdf2-sha256$i=0$c2FsdA${hash}"),
            format!("$pbkdf2-sha256$i=2000001$c2FsdA${hash}"),
            format!("$pbkdf2-sha256$i=1$c2FsdA${}", BASE64.encode([7; 15])),
            format!("$pbkdf2-md5$i=1$c2FsdA${hash}"),
            format!("$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==$c2FsdA${hash}"),
            format!("$fbscrypt$v=2,n=14,r=8,p=1,ss=Bw==,sk={hash}$c2FsdA${hash}"),
            String::from("$"),
            String::from("$$$$"),
        ] {
            assert!(Foreign::read(&bad).is_none(), "{bad}");
        }
    }
}
