//! Key pairs for signatures, and the form in which they are sealed.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256,
    },
};
use zeroize::Zeroizing;

use super::{CryptoError, jwk::PublicKey};

/// Algorithms of RFC 7518 and RFC 8037 that keys are made for. The number stands before a sealed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Algorithm {
    Es256 = 1,
    EdDsa = 2,
    Rs256 = 3,
}

impl Algorithm {
    /// The algorithm of that name.
    pub(super) fn named(name: &str) -> Result<Self, CryptoError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| CryptoError::AlgorithmUnknown(name.chars().take(32).collect()))
    }

    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// The name that [`named`](Self::named) takes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    fn numbered(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| *algorithm as u8 == number)
    }
}

/// A key pair, ready to sign.
#[derive(Debug)]
pub(super) enum KeyPair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(rsa::KeyPair),
}

impl KeyPair {
    /// A new one. RSA takes a good part of a second.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, CryptoError> {
        let pair = match algorithm {
            Algorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::Es256)
            }
            Algorithm::EdDsa => Ed25519KeyPair::generate().map(Self::EdDsa),
            Algorithm::Rs256 => rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map(Self::Rs256),
        };
        pair.map_err(|_| CryptoError::Library("make a key pair"))
    }

    /// What is sealed: the algorithm's number and the key as PKCS #8 (RFC 5958).
    pub(super) fn to_secret(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let failed = |_| CryptoError::Library("write a key pair");
        let joined =
            |algorithm: Algorithm, der: &[u8]| Zeroizing::new([&[algorithm as u8], der].concat());
        Ok(match self {
            Self::Es256(pair) => joined(
                Algorithm::Es256,
                pair.to_pkcs8v1().map_err(failed)?.as_ref(),
            ),
            Self::EdDsa(pair) => {
                joined(Algorithm::EdDsa, pair.to_pkcs8().map_err(failed)?.as_ref())
            }
            Self::Rs256(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                joined(Algorithm::Rs256, der.as_ref())
            }
        })
    }

    /// The key pair in what was sealed.
    pub(super) fn from_secret(secret: &[u8]) -> Option<Self> {
        let (number, der) = secret.split_first()?;
        Self::from_pkcs8(Algorithm::numbered(*number)?, der)
    }

    /// The key pair in PKCS #8, if it is one for the algorithm.
    pub(super) fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                .ok()
                .map(Self::Es256),
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(der).ok().map(Self::EdDsa),
            Algorithm::Rs256 => rsa::KeyPair::from_pkcs8(der).ok().map(Self::Rs256),
        }
    }

    /// The half for everybody.
    pub(super) fn public(&self) -> Result<PublicKey, CryptoError> {
        let public = match self {
            Self::Es256(pair) => PublicKey::p256(pair.public_key().as_ref()),
            Self::EdDsa(pair) => Some(PublicKey::ed25519(pair.public_key().as_ref())),
            Self::Rs256(pair) => PublicKey::rsa(pair.public_key().as_ref()),
        };
        public.ok_or(CryptoError::Library("write a public key"))
    }

    /// The signature in JOSE form: ES256's is the two numbers of fixed length (RFC 7518 section 3.4), not DER.
    pub(super) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let failed = |_| CryptoError::Library("sign");
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => Ok(pair.sign(&random, data).map_err(failed)?.as_ref().to_vec()),
            Self::EdDsa(pair) => Ok(pair.try_sign(data).map_err(failed)?.as_ref().to_vec()),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, data, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}
