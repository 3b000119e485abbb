//! Private keys that somebody else has made, which the operator keeps in a secret of the host.

use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};

use super::{
    CryptoError,
    key::{Algorithm, KeyPair},
};

/// Whether a secret is a private key in PEM, of whatever kind, whole or not: those sign here, and are not handed out.
pub(crate) fn is_private_key(secret: &[u8]) -> bool {
    labels(secret).any(|label| label.ends_with(b"PRIVATE KEY"))
}

/// The labels of the PEM blocks (RFC 7468) in a text.
fn labels(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n' || *byte == b'\r');
    lines.filter_map(|line| {
        let line = line.trim_ascii();
        line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")
    })
}

/// The key pair in the secret of that name.
pub(super) fn read(name: &str, pem: &[u8], algorithm: Algorithm) -> Result<KeyPair, CryptoError> {
    let invalid = |reason| CryptoError::KeyInvalid {
        secret: name.to_owned(),
        reason,
    };
    let der = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(PrivateKeyDer::Pkcs8(der)) => der,
        Ok(_) => {
            return Err(invalid(
                "it is in an older form; convert it with `openssl pkcs8 -topk8 -nocrypt`",
            ));
        }
        Err(_) if labels(pem).any(|label| label == b"ENCRYPTED PRIVATE KEY") => {
            return Err(invalid(
                "it is encrypted; decrypt it with `openssl pkcs8 -topk8 -nocrypt`",
            ));
        }
        Err(_) => {
            return Err(invalid(
                "expected PKCS #8 in PEM, which begins with -----BEGIN PRIVATE KEY-----",
            ));
        }
    };
    let der = der.secret_pkcs8_der();
    if let Some(pair) = KeyPair::from_pkcs8(algorithm, der) {
        return Ok(pair);
    }
    let of = Algorithm::ALL
        .into_iter()
        .find(|other| KeyPair::from_pkcs8(*other, der).is_some());
    Err(of.map_or_else(
        || invalid("it is neither P-256, nor Ed25519, nor RSA of 2048 bits and more"),
        |of| CryptoError::KeyAlgorithm {
            secret: name.to_owned(),
            of: of.name(),
            asked: algorithm.name(),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_known_by_its_label() {
        for key in [
            "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
            "Bag Attributes\r\n  -----BEGIN EC PRIVATE KEY-----\r\n",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert!(is_private_key(key.as_bytes()), "{key}");
        }
        for other in [
            "",
            "a password",
            "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n",
            "{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nAA==\"}",
        ] {
            assert!(!is_private_key(other.as_bytes()), "{other}");
        }
    }
}
