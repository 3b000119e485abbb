//! `nself.crypto/1`: one cryptographic library for all plugins, and keys that do not leave the host.
//!
//! A plugin stores its private keys itself, sealed under a key that only the host can derive, and has no way to read
//! them: key pairs are sealed for another purpose than [`Crypto`]'s `open` opens.

pub mod error;
mod foreign;
mod hashing;
mod imported;
mod jwk;
mod key;
mod opened;
pub mod password;
mod seal;

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::abi::{
    bytes::{Bytes, Slice, Str},
    capability::crypto::CryptoProvider,
    error::{Error, Outcome},
};
use serde_json::json;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use self::{
    hashing::Hashing,
    key::{Algorithm, KeyPair},
    opened::Opened,
    seal::{Root, Sealer},
};
use super::{Grant, config::SecretSource};

pub(crate) use self::imported::is_private_key;
pub use self::{error::CryptoError, hashing::HashSettings};

/// Most random bytes in one call.
pub const RANDOM_BYTES_MAX: u32 = 1024 * 1024;

/// Key pairs that are made at once; RSA takes a processor for a good part of a second.
const GENERATING_MAX: usize = 2;

/// Context of sealed key pairs.
const KEY_CONTEXT: &[u8] = b"key";

/// What all plugins share.
pub struct CryptoService {
    root: Root,
    secrets: SecretSource,
    hashing: Hashing,
    opened: Opened,
    generating: Semaphore,
}

impl std::fmt::Debug for CryptoService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CryptoService").finish_non_exhaustive()
    }
}

impl CryptoService {
    /// The service under `master`, 32 random bytes that are the same at every start: who loses them loses all that
    /// plugins have sealed. The hashing threads end with the service.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Threads`] when the system gives no threads.
    pub fn new(
        master: &[u8; 32],
        secrets: SecretSource,
        hashing: HashSettings,
    ) -> Result<Self, CryptoError> {
        Ok(Self {
            root: Root::new(master),
            secrets,
            hashing: Hashing::start(hashing).map_err(CryptoError::Threads)?,
            opened: Opened::default(),
            generating: Semaphore::new(GENERATING_MAX),
        })
    }

    /// Makes a key pair off the event loop; the answer as it crosses.
    async fn generate(&self, algorithm: Algorithm, keys: &Sealer) -> Result<Bytes, CryptoError> {
        let _permit = self
            .generating
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let pair = tokio::task::spawn_blocking(move || KeyPair::generate(algorithm))
            .await
            .map_err(|_| CryptoError::Library("make a key pair"))??;
        let sealed = keys.seal(&pair.to_secret()?, KEY_CONTEXT)?;
        let answer =
            json!({"jwk": pair.public()?.to_jwk(), "sealed": URL_SAFE_NO_PAD.encode(sealed)});
        Ok(answer.to_string().into())
    }
}

/// The service as one plugin sees it.
#[derive(Debug)]
pub struct Crypto {
    service: Arc<CryptoService>,
    grant: Grant,
    data: Sealer,
    keys: Arc<Sealer>,
}

impl Crypto {
    /// For the plugin in `grant`, with keys derived for it.
    pub fn new(service: Arc<CryptoService>, grant: Grant) -> Self {
        let data = service.root.sealer("seal", &grant.plugin);
        let keys = Arc::new(service.root.sealer("key", &grant.plugin));
        Self {
            service,
            grant,
            data,
            keys,
        }
    }

    fn secret(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if !self
            .grant
            .requires
            .secrets
            .iter()
            .any(|granted| granted == name)
        {
            let (plugin, secret) = (self.grant.plugin.to_string(), name.to_owned());
            return Err(CryptoError::SecretNotGranted { plugin, secret });
        }
        // An empty secret is one that everybody knows.
        let secret = (self.service.secrets)(name).map_err(CryptoError::SecretUnusable)?;
        secret
            .filter(|secret| !secret.is_empty())
            .map(Zeroizing::new)
            .ok_or_else(|| CryptoError::SecretMissing(name.to_owned()))
    }

    fn open_key(&self, sealed: &[u8]) -> Result<KeyPair, CryptoError> {
        let sealed = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| CryptoError::SealBroken)?;
        KeyPair::from_secret(&self.keys.open(&sealed, KEY_CONTEXT)?).ok_or(CryptoError::SealBroken)
    }

    fn sign(&self, sealed: &[u8], data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.service
            .opened
            .pair(&self.grant.plugin, sealed, || self.open_key(sealed))?
            .sign(data)
    }

    fn sign_with_secret(
        &self,
        name: &str,
        algorithm: &str,
        data: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let algorithm = Algorithm::named(algorithm)?;
        let pem = self.secret(name)?;
        // Found by its value: a key that the operator has changed is another one.
        let value = Zeroizing::new([IMPORTED, &[algorithm as u8], &pem].concat());
        self.service
            .opened
            .pair(&self.grant.plugin, &value, || {
                imported::read(name, &pem, algorithm)
            })?
            .sign(data)
    }
}

/// Before the name of a pair that was imported: no sealed key, which is base64url, begins so.
const IMPORTED: &[u8] = b"imported\0";

fn outcome(result: Result<Vec<u8>, CryptoError>) -> Outcome<Bytes> {
    result.map(Bytes::from).map_err(Error::from).into()
}

impl CryptoProvider for Crypto {
    /// Nothing when more than [`RANDOM_BYTES_MAX`] are asked for: there is no way to answer with an error here.
    fn random(&self, length: u32) -> Bytes {
        if length > RANDOM_BYTES_MAX {
            let plugin = &*self.grant.plugin;
            tracing::error!(
                plugin,
                length,
                "more random bytes asked for than one call gives"
            );
            return Bytes::new();
        }
        let mut bytes = vec![0; length.try_into().expect("the limit fits into memory")];
        aws_lc_rs::rand::fill(&mut bytes)
            .expect("the operating system's generator never fails once it is seeded");
        bytes.into()
    }

    fn seal(&self, plaintext: Slice<'_, u8>, context: Slice<'_, u8>) -> Outcome<Bytes> {
        outcome(self.data.seal(plaintext.as_slice(), context.as_slice()))
    }

    fn open(&self, sealed: Slice<'_, u8>, context: Slice<'_, u8>) -> Outcome<Bytes> {
        let opened = self.data.open(sealed.as_slice(), context.as_slice());
        // The plaintext becomes the plugin's, and with it the care for it.
        outcome(opened.map(|mut plaintext| std::mem::take(&mut *plaintext)))
    }

    fn hmac(&self, secret: Str<'_>, data: Slice<'_, u8>) -> Outcome<Bytes> {
        outcome(self.secret(secret.as_str()).map(|secret| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), data.as_slice())
                .as_ref()
                .to_vec()
        }))
    }

    fn generate_key(
        &self,
        algorithm: Str<'_>,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let (service, keys) = (self.service.clone(), self.keys.clone());
        let algorithm = Algorithm::named(algorithm.as_str());
        async move { Ok(service.generate(algorithm?, &keys).await?) }
    }

    fn sign(&self, sealed_key: Slice<'_, u8>, data: Slice<'_, u8>) -> Outcome<Bytes> {
        outcome(self.sign(sealed_key.as_slice(), data.as_slice()))
    }

    fn verify(&self, jwk: Str<'_>, data: Slice<'_, u8>, signature: Slice<'_, u8>) -> u32 {
        jwk::verify(jwk.as_str(), data.as_slice(), signature.as_slice()).into()
    }

    fn hash_password(
        &self,
        password: Bytes,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let service = self.service.clone();
        async move { Ok(service.hashing.hash(password).await?.into()) }
    }

    fn verify_password(
        &self,
        password: Bytes,
        hash: Bytes,
    ) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        let service = self.service.clone();
        async move { Ok(service.hashing.check(password, hash).await? as u32) }
    }

    fn sign_with_secret(
        &self,
        secret: Str<'_>,
        algorithm: Str<'_>,
        data: Slice<'_, u8>,
    ) -> Outcome<Bytes> {
        outcome(self.sign_with_secret(secret.as_str(), algorithm.as_str(), data.as_slice()))
    }
}
