//! Public keys as JSON Web Keys (RFC 7517): written for new key pairs, read to verify.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest JWK that is read: an RSA key of 8192 bits with a chain of certificates fits.
const JWK_BYTES_MAX: usize = 32 * 1024;

/// The numbers of a public key, as base64url.
#[derive(Debug, Deserialize)]
#[serde(tag = "kty")]
pub(super) enum PublicKey {
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

/// What narrows a key's use.
#[derive(Deserialize)]
struct Purpose {
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

impl PublicKey {
    /// Of an uncompressed point (SEC 1 section 2.3.3).
    pub(super) fn p256(point: &[u8]) -> Option<Self> {
        let numbers: &[u8; 64] = point.strip_prefix(&[4])?.try_into().ok()?;
        let (x, y) = numbers.split_at(32);
        Some(Self::Ec {
            crv: "P-256".to_owned(),
            x: encoded(x),
            y: encoded(y),
        })
    }

    /// Of the 32 bytes of RFC 8032.
    pub(super) fn ed25519(bytes: &[u8]) -> Self {
        Self::Okp {
            crv: "Ed25519".to_owned(),
            x: encoded(bytes),
        }
    }

    /// Of a DER RSAPublicKey (RFC 8017 appendix A.1.1): a sequence of modulus and exponent.
    pub(super) fn rsa(der: &[u8]) -> Option<Self> {
        let (mut numbers, _) = der_content(0x30, der)?;
        let mut number = || {
            let (content, rest) = der_content(0x02, numbers)?;
            numbers = rest;
            // A leading zero only says that the number is positive.
            Some(encoded(content.strip_prefix(&[0]).unwrap_or(content)))
        };
        Some(Self::Rsa {
            n: number()?,
            e: number()?,
        })
    }

    /// The JWK, named by its thumbprint.
    pub(super) fn to_jwk(&self) -> Value {
        let (alg, kid) = (self.algorithm(), self.thumbprint());
        match self {
            Self::Ec { crv, x, y } => {
                json!({"kty": "EC", "crv": crv, "x": x, "y": y, "alg": alg, "use": "sig", "kid": kid})
            }
            Self::Okp { crv, x } => {
                json!({"kty": "OKP", "crv": crv, "x": x, "alg": alg, "use": "sig", "kid": kid})
            }
            Self::Rsa { n, e } => {
                json!({"kty": "RSA", "n": n, "e": e, "alg": alg, "use": "sig", "kid": kid})
            }
        }
    }

    /// RFC 7638 with SHA-256: the required members in the order of their names, without white space.
    fn thumbprint(&self) -> String {
        let members = match self {
            Self::Ec { crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        encoded(digest(&SHA256, members.as_bytes()).as_ref())
    }

    /// The algorithm that a key of this type serves for here.
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec { .. } => "ES256",
            Self::Okp { .. } => "EdDSA",
            Self::Rsa { .. } => "RS256",
        }
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Option<()> {
        match self {
            Self::Ec { crv, x, y } if crv == "P-256" => {
                let (x, y): ([u8; 32], [u8; 32]) =
                    (decoded(x)?.try_into().ok()?, decoded(y)?.try_into().ok()?);
                let point = [&[4], &x[..], &y[..]].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(data, signature)
                    .ok()
            }
            Self::Okp { crv, x } if crv == "Ed25519" => {
                UnparsedPublicKey::new(&ED25519, decoded(x)?)
                    .verify(data, signature)
                    .ok()
            }
            Self::Rsa { n, e } => {
                let key = RsaPublicKeyComponents {
                    n: decoded(n)?,
                    e: decoded(e)?,
                };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, data, signature)
                    .ok()
            }
            _ => None,
        }
    }
}

/// Whether `signature` is that of `data` under the JWK `jwk`. Whatever is not understood is not verified.
pub(super) fn verify(jwk: &str, data: &[u8], signature: &[u8]) -> bool {
    verified(jwk, data, signature).is_some()
}

fn verified(jwk: &str, data: &[u8], signature: &[u8]) -> Option<()> {
    if jwk.len() > JWK_BYTES_MAX {
        return None;
    }
    let key: PublicKey = serde_json::from_str(jwk).ok()?;
    let Purpose { alg, purpose } = serde_json::from_str(jwk).ok()?;
    let fits = alg.is_none_or(|alg| alg == key.algorithm())
        && purpose.is_none_or(|purpose| purpose == "sig");
    if fits {
        key.verify(data, signature)
    } else {
        None
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Content and rest of the DER element with this tag, up to 64 KiB.
fn der_content(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der.strip_prefix(&[tag])? {
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [length, rest @ ..] if *length < 0x80 => (usize::from(*length), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let jwk = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let key: PublicKey = serde_json::from_str(jwk).expect("the RFC's key is one");
        assert_eq!(
            key.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        assert_eq!(key.to_jwk()["kid"], key.thumbprint());
    }

    /// RFC 8037 appendix A.
    const ED25519_JWK: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const ED25519_DATA: &[u8] = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const ED25519_SIGNATURE: &str =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn check(jwk: &str, expected: bool) {
        let signature = decoded(ED25519_SIGNATURE).expect("the RFC's signature is base64url");
        assert_eq!(verify(jwk, ED25519_DATA, &signature), expected, "{jwk}");
    }

    #[test]
    fn the_signature_of_rfc_8037_is_verified() {
        check(ED25519_JWK, true);
        let key: PublicKey = serde_json::from_str(ED25519_JWK).expect("the RFC's key is one");
        assert_eq!(
            key.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_key_for_another_use_verifies_nothing() {
        check(
            &ED25519_JWK.replace("\"crv\"", "\"alg\":\"EdDSA\",\"use\":\"sig\",\"crv\""),
            true,
        );
        check(
            &ED25519_JWK.replace("\"crv\"", "\"alg\":\"ES256\",\"crv\""),
            false,
        );
        check(
            &ED25519_JWK.replace("\"crv\"", "\"use\":\"enc\",\"crv\""),
            false,
        );
        check(&ED25519_JWK.replace("Ed25519", "Ed448"), false);
    }

    #[test]
    fn garbage_verifies_nothing() {
        for jwk in [
            "",
            "null",
            "[]",
            "{}",
            "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
            "{\"kty\":\"OKP\"}",
        ] {
            check(jwk, false);
        }
        check(&ED25519_JWK.replace("11qY", "!!!!"), false);
        check(&ED25519_JWK.replace("11qY", ""), false);
        check(r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, false);
        check(r#"{"kty":"RSA","n":"","e":""}"#, false);
        check(r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, false);
        check(
            &format!("{ED25519_JWK}{}", " ".repeat(JWK_BYTES_MAX)),
            false,
        );
        assert!(!verify(ED25519_JWK, ED25519_DATA, b""));
        assert!(!verify(ED25519_JWK, b"", &[0; 64]));
    }

    #[test]
    fn der_that_is_cut_is_no_key() {
        for der in [
            &b""[..],
            b"\x30",
            b"\x30\x02\x02",
            b"\x30\x03\x02\x01\x01",
            b"\x30\x82\xff\xff\x02",
            b"\x30\x80",
        ] {
            assert!(PublicKey::rsa(der).is_none(), "{der:?}");
        }
    }
}
