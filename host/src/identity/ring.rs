//! The key ring: which keys may sign for which issuer.
//!
//! A key has one algorithm, decided when it enters the ring. What a token's header says about its algorithm or
//! about where to fetch keys decides nothing (RFC 8725): it can only fail to match.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

/// Most keys in one set.
const KEYS_MAX: usize = 32;

/// Keys of one issuer, and the audiences that its tokens must name one of.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// JSON Web Key Set (RFC 7517), as text.
    pub jwks: String,
    /// What the tokens' `iss` must be.
    pub issuer: String,
    /// The tokens' `aud` must hold one of these.
    pub audiences: Vec<String>,
}

/// Why a key set is refused; the keys in force stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a key set.
    #[error("the key set of issuer {issuer:?} is not a JSON Web Key Set: {reason}")]
    Shape {
        /// The issuer.
        issuer: String,
        /// What the parser says.
        reason: String,
    },
    /// A key that may not verify tokens.
    #[error("key {kid:?} of issuer {issuer:?} cannot verify tokens: {reason}")]
    Key {
        /// The issuer.
        issuer: String,
        /// The key's id.
        kid: String,
        /// Why not, and what would do.
        reason: &'static str,
    },
    /// Issuer or audience is missing: any token of any purpose would pass.
    #[error(
        "keys need an issuer and at least one audience; without them a token made for somebody else passes"
    )]
    Unbound,
}

/// One key with everything that its tokens must fulfil.
pub(super) struct Key {
    /// The same for the same key of the same issuer in each ring.
    pub(super) number: u64,
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
}

/// All keys in force, by id. Replaced as a whole.
#[derive(Default)]
pub(super) struct Ring {
    /// Counts replacements, so that what was verified with an older ring is not trusted.
    pub(super) generation: u64,
    by_kid: HashMap<Box<str>, Key>,
    /// Who registered which set; a plugin replaces only its own.
    sets: Vec<(Arc<str>, KeySet)>,
}

impl Ring {
    /// This ring with the set of `source` replaced (or removed, for `None`).
    pub(super) fn with(&self, source: &str, set: Option<KeySet>) -> Result<Self, KeyError> {
        let mut sets = self.sets.clone();
        sets.retain(|(owner, _)| **owner != *source);
        sets.extend(set.map(|set| (Arc::from(source), set)));
        let mut by_kid = HashMap::new();
        for (_, set) in &sets {
            for (kid, key) in read(set)? {
                // Two issuers with one key id: the older registration keeps it, so nobody takes over another's tokens.
                by_kid.entry(kid).or_insert(key);
            }
        }
        Ok(Self {
            generation: self.generation + 1,
            by_kid,
            sets,
        })
    }

    /// The key with this id; a token without one fits only a ring of one key.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match kid {
            Some(kid) => self.by_kid.get(kid),
            None if self.by_kid.len() == 1 => self.by_kid.values().next(),
            None => None,
        }
    }

    /// Whether the key of that number is still in force.
    pub(super) fn holds(&self, number: u64) -> bool {
        self.by_kid.values().any(|key| key.number == number)
    }
}

fn read(set: &KeySet) -> Result<Vec<(Box<str>, Key)>, KeyError> {
    if set.issuer.is_empty() || set.audiences.is_empty() {
        return Err(KeyError::Unbound);
    }
    let shape = |reason: String| KeyError::Shape {
        issuer: set.issuer.clone(),
        reason,
    };
    let jwks: JwkSet = serde_json::from_str(&set.jwks).map_err(|error| shape(error.to_string()))?;
    if jwks.keys.len() > KEYS_MAX {
        return Err(shape(format!(
            "it holds {} keys, {KEYS_MAX} are allowed",
            jwks.keys.len()
        )));
    }
    jwks.keys.iter().map(|jwk| key(set, jwk)).collect()
}

fn key(set: &KeySet, jwk: &Jwk) -> Result<(Box<str>, Key), KeyError> {
    let kid = jwk.common.key_id.clone().unwrap_or_default();
    let refuse = |reason| KeyError::Key {
        issuer: set.issuer.clone(),
        kid: kid.clone(),
        reason,
    };
    if kid.is_empty() {
        return Err(refuse("it has no kid"));
    }
    let algorithm = algorithm(jwk).map_err(refuse)?;
    let decoding = DecodingKey::from_jwk(jwk).map_err(|_| refuse("its numbers are damaged"))?;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[&set.issuer]);
    validation.set_audience(&set.audiences);
    validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
    // Times are checked by the verifier against its own clock: tests steer it.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    Ok((
        kid.into(),
        Key {
            number: number(&set.issuer, jwk),
            decoding,
            validation,
        },
    ))
}

/// What a key is known by when its tokens are not there any more. Nobody else chooses what goes into it, so eight bytes are enough.
fn number(issuer: &str, jwk: &Jwk) -> u64 {
    let hash = digest(&SHA256, format!("{issuer}\n{jwk:?}").as_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hash.as_ref()[..8]);
    u64::from_le_bytes(number)
}

/// The one algorithm of a key, from what the key is; its `alg` may only agree.
fn algorithm(jwk: &Jwk) -> Result<Algorithm, &'static str> {
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|key_use| *key_use != PublicKeyUse::Signature)
    {
        return Err("its use is not \"sig\"");
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // 2048 bits are 256 bytes, 342 characters of base64url.
        AlgorithmParameters::RSA(rsa) if rsa.n.trim_start_matches('A').len() < 341 => {
            return Err("its RSA modulus is shorter than 2048 bits");
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::OctetKey(_) => {
            return Err("a shared secret can be used to forge; use ES256, EdDSA or RS256");
        }
        _ => return Err("use ES256 (P-256), EdDSA (Ed25519) or RS256"),
    };
    match jwk.common.key_algorithm {
        // RFC 9864 renames EdDSA to Ed25519; the crate reads the new name as an unknown one.
        None => Ok(algorithm),
        Some(KeyAlgorithm::UNKNOWN_ALGORITHM) if algorithm == Algorithm::EdDSA => Ok(algorithm),
        Some(stated) if stated == name => Ok(algorithm),
        Some(_) => {
            Err("its alg does not fit its kind; use ES256 (P-256), EdDSA (Ed25519) or RS256")
        }
    }
}
