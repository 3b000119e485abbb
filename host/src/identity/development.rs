//! Tokens for trying things out before an identity provider is enabled: a key of this project's own, accepted in
//! development only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::KeySet;
use crate::{
    config::{
        Secret,
        secrets::{SecretError, Secrets},
    },
    plugin::manifest::Role,
};

/// Name of the secret that holds the key.
const SECRET: &str = "development-token-key";

/// What these tokens name as their issuer.
const ISSUER: &str = "nself-development";

/// What these tokens are for.
const AUDIENCE: &str = "nself";

/// Why there is no development key.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// The secret store.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What the secret holds is no key.
    #[error("the secret {SECRET} is not a key: remove its file, a new one will be made")]
    Key,
}

/// Whom a token stands for.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The person; with the role of a device, the device.
    pub user_id: Uuid,
    /// The active family, and the role in it.
    pub family: Option<(Uuid, Role)>,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// Signs tokens for development.
pub struct DevelopmentIssuer {
    key: EncodingKey,
    public: Vec<u8>,
}

impl DevelopmentIssuer {
    /// The project's issuer; its key is made at the first use.
    ///
    /// # Errors
    ///
    /// [`DevelopmentError`].
    pub fn open(secrets: &Secrets) -> Result<Self, DevelopmentError> {
        let stored = match secrets.get(SECRET)? {
            Some(secret) => secret,
            None => generate(secrets)?,
        };
        let pkcs8 = Zeroizing::new(
            BASE64
                .decode(stored.expose())
                .map_err(|_| DevelopmentError::Key)?,
        );
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|_| DevelopmentError::Key)?;
        Ok(Self {
            key: EncodingKey::from_ec_der(&pkcs8),
            public: pair.public_key().as_ref().to_vec(),
        })
    }

    /// The key set that verifies its tokens.
    pub fn keys(&self) -> KeySet {
        // An uncompressed point: 4, x, y (SEC 1, section 2.3.3).
        let (x, y) = self.public[1..].split_at(32);
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "development",
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        });
        KeySet {
            jwks: json!({"keys": [key]}).to_string(),
            issuer: ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
        }
    }

    /// A token for `bearer`, with the claims that Hasura reads.
    ///
    /// # Errors
    ///
    /// When signing fails, which a good key does not.
    pub fn mint(&self, bearer: &Bearer) -> Result<String, jsonwebtoken::errors::Error> {
        self.mint_at(bearer, SystemTime::now())
    }

    /// The same at another time.
    ///
    /// # Errors
    ///
    /// As [`mint`](Self::mint).
    pub fn mint_at(
        &self,
        bearer: &Bearer,
        now: SystemTime,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_device = matches!(bearer.family, Some((_, Role::Device)));
        let subject = if is_device {
            "x-hasura-device-id"
        } else {
            "x-hasura-user-id"
        };
        let mut hasura = json!({subject: bearer.user_id, "x-hasura-default-role": "user",
            "x-hasura-allowed-roles": ["user"]});
        if let Some((family_id, role)) = &bearer.family {
            hasura["x-hasura-family-id"] = json!(family_id);
            hasura["x-hasura-default-role"] = json!(role);
            hasura["x-hasura-allowed-roles"] = json!([role, "user"]);
        }
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": bearer.user_id, "iat": now,
            "exp": now + bearer.lifetime.as_secs(), "https://hasura.io/jwt/claims": hasura,
        });
        let header = Header {
            kid: Some("development".to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
    }
}

fn generate(secrets: &Secrets) -> Result<Secret, DevelopmentError> {
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| DevelopmentError::Key)?;
    secrets.set(SECRET, &Secret::new(BASE64.encode(pkcs8.as_ref())))?;
    // Another process may have been faster or slower: what is stored counts.
    secrets.get(SECRET)?.ok_or(DevelopmentError::Key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Verifier, VerifierSettings};

    #[test]
    fn a_device_is_no_person() {
        let directory = tempfile::tempdir().expect("a directory");
        let secrets = Secrets::open(&directory.path().join(".nself")).expect("a store");
        let issuer = DevelopmentIssuer::open(&secrets).expect("a key");
        let settings = VerifierSettings {
            keys: vec![issuer.keys()],
            ..VerifierSettings::default()
        };
        let bearer = Bearer {
            user_id: Uuid::now_v7(),
            family: Some((Uuid::now_v7(), Role::Device)),
            lifetime: Duration::from_secs(60),
        };
        let principal = Verifier::new(settings)
            .expect("a good ring")
            .verify(&issuer.mint(&bearer).expect("a token"))
            .expect("it verifies");
        assert_eq!(principal.kind, crate::identity::Kind::Device);
        assert_eq!(principal.role, Some(Role::Device));
        assert_eq!(principal.user_id, None);
    }

    #[test]
    fn a_minted_token_verifies_and_carries_its_family() {
        let directory = tempfile::tempdir().expect("a directory");
        let secrets = Secrets::open(&directory.path().join(".nself")).expect("a store");
        let issuer = DevelopmentIssuer::open(&secrets).expect("a key");
        let again = DevelopmentIssuer::open(&secrets).expect("the same key");
        let settings = VerifierSettings {
            keys: vec![again.keys()],
            ..VerifierSettings::default()
        };
        let verifier = Verifier::new(settings).expect("a good ring");
        let family = Uuid::now_v7();
        let bearer = Bearer {
            user_id: Uuid::now_v7(),
            family: Some((family, Role::AdultMember)),
            lifetime: Duration::from_secs(60),
        };
        let principal = verifier
            .verify(&issuer.mint(&bearer).expect("a token"))
            .expect("it verifies");
        assert_eq!(principal.family_id, Some(family));
        assert_eq!(principal.role, Some(Role::AdultMember));
        assert_eq!(principal.user_id, Some(bearer.user_id));
    }
}
