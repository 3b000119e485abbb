//! Somebody who signs tokens, with keys made on the spot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use nself::identity::{KeySet, Verifier, VerifierSettings};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://id.example.org";
pub(crate) const USER: &str = "0192f000-0000-7000-8000-000000000001";
pub(crate) const FAMILY: &str = "0192f000-0000-7000-8000-000000000002";
pub(crate) const SESSION: &str = "0192f000-0000-7000-8000-000000000003";

/// The test's clock starts here, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) struct Issuer {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
    pub(crate) kid: String,
}

impl Issuer {
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let key = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::RS256 => EncodingKey::from_rsa_der(&rsa(KeySize::Rsa2048)),
            Algorithm::HS256 => EncodingKey::from_secret(&[7; 32]),
            other => panic!("no keys for {other:?}"),
        };
        Self {
            algorithm,
            key,
            kid: kid.to_owned(),
        }
    }

    pub(crate) fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        jwk
    }

    pub(crate) fn key_set(&self) -> KeySet {
        key_set(&[self.jwk()])
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            kid: Some(self.kid.clone()),
            ..Header::new(self.algorithm)
        }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

/// A private key as PKCS #1, which is what PKCS #8 wraps in 26 bytes.
fn rsa(size: KeySize) -> Vec<u8> {
    let pair = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
    pair.as_der().unwrap().as_ref()[26..].to_vec()
}

pub(crate) fn key_set(keys: &[Jwk]) -> KeySet {
    let jwks = serde_json::to_string(&JwkSet {
        keys: keys.to_vec(),
    })
    .unwrap();
    KeySet {
        jwks,
        issuer: ISSUER.to_owned(),
        audiences: vec!["nself".to_owned()],
    }
}

/// What an adult's token says; good for five minutes.
pub(crate) fn claims() -> Value {
    json!({
        "sub": USER, "sid": SESSION, "iss": ISSUER, "aud": ["nself", "hasura"], "exp": NOW + 300, "iat": NOW,
        "https://hasura.io/jwt/claims": {
            "x-hasura-default-role": "ADULT_MEMBER",
            "x-hasura-allowed-roles": ["ADULT_MEMBER", "user"],
            "x-hasura-user-id": USER,
            "x-hasura-family-id": FAMILY,
        },
    })
}

/// Claims with some of them replaced; `null` removes one.
pub(crate) fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    let all = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        all.insert(name.clone(), value.clone());
        if value.is_null() {
            all.remove(name);
        }
    }
    claims
}

/// A clock that the test turns.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    pub(crate) fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    pub(crate) fn settings(&self, keys: Vec<KeySet>) -> VerifierSettings {
        let hands = self.clone();
        VerifierSettings {
            keys,
            clock: Arc::new(move || hands.now()),
            ..VerifierSettings::default()
        }
    }
}

/// A verifier of one issuer, and the hands of its clock.
pub(crate) fn verifier(issuer: &Issuer) -> (Verifier, Hands) {
    let hands = Hands::new();
    (
        Verifier::new(hands.settings(vec![issuer.key_set()])).unwrap(),
        hands,
    )
}
