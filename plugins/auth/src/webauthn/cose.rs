//! Public keys: from COSE (RFC 9053) to JWK, which the host verifies with.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value as Cbor;
use nself_plugin_api::serde_json::{Value, json};

use super::{Refusal, cbor};

/// The algorithms that are offered, the preferred one first: ES256, Ed25519, RS256 (of Windows Hello).
pub(crate) const ALGORITHMS: [i64; 3] = [-7, -8, -257];

/// Length of an RSA modulus: 2048 to 8192 bits, as the host verifies.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// A key, by its algorithm's number.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    pub(super) algorithm: i64,
    pub(super) jwk: Value,
}

impl PublicKey {
    pub(super) fn read(key: &Cbor) -> Result<Self, Refusal> {
        let algorithm = integer(key, 3).ok_or(Refusal::PublicKey)?;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(Refusal::Algorithm);
        }
        let kind = integer(key, 1).ok_or(Refusal::PublicKey)?;
        let jwk = match (algorithm, kind) {
            (-7, 2) => elliptic(key),
            (-8, 1) => edwards(key),
            (-257, 3) => rsa(key),
            _ => None,
        };
        Ok(Self {
            algorithm,
            jwk: jwk.ok_or(Refusal::PublicKey)?,
        })
    }
}

/// A point of P-256, uncompressed: both numbers are there.
fn elliptic(key: &Cbor) -> Option<Value> {
    let (x, y) = (bytes(key, -2)?, bytes(key, -3)?);
    (integer(key, -1)? == 1 && x.len() == 32 && y.len() == 32).then(
        || json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": encoded(x), "y": encoded(y)}),
    )
}

fn edwards(key: &Cbor) -> Option<Value> {
    let x = bytes(key, -2)?;
    (integer(key, -1)? == 6 && x.len() == 32)
        .then(|| json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": encoded(x)}))
}

fn rsa(key: &Cbor) -> Option<Value> {
    let (modulus, exponent) = (bytes(key, -1)?, bytes(key, -2)?);
    (MODULUS_BYTES.contains(&modulus.len()) && (1..=4).contains(&exponent.len())).then(
        || json!({"kty": "RSA", "alg": "RS256", "n": encoded(modulus), "e": encoded(exponent)}),
    )
}

fn integer(map: &Cbor, key: i64) -> Option<i64> {
    let value = cbor::get(map, &key.into())?.as_integer()?;
    value.try_into().ok()
}

fn bytes(map: &Cbor, key: i64) -> Option<&[u8]> {
    Some(cbor::get(map, &key.into())?.as_bytes()?)
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
