//! Secrets of endpoints, and the signatures that they make (Standard Webhooks, symmetric).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac as _};
use nself_plugin_api::prelude::*;
use sha2::Sha256;

use crate::{Jobs, error::JobError};

/// What secrets begin with.
const PREFIX: &str = "whsec_";
/// Lengths that Standard Webhooks allow, bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Length of those that are made here.
const NEW_BYTES: u32 = 32;

/// A key that signs.
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    /// The key that was sealed for a kind.
    pub(crate) fn open(cx: &Cx<Jobs>, kind: &str, sealed: &[u8]) -> Result<Self> {
        let key = cx.crypto().open(sealed, kind.as_bytes())?;
        Ok(Self::new(&key))
    }

    fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// The signature of a message, as its header has it.
    pub(crate) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

/// A secret on its way into the database.
pub(crate) struct NewSecret {
    /// As its owner sees it, once.
    pub text: String,
    key: Vec<u8>,
}

impl NewSecret {
    /// One that is made here.
    pub(crate) fn make(cx: &Cx<Jobs>) -> Result<Self> {
        let key = cx.crypto().random(NEW_BYTES)?.to_vec();
        let text = format!("{PREFIX}{}", BASE64.encode(&key));
        Ok(Self { text, key })
    }

    /// One that somebody has.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let key = text.strip_prefix(PREFIX);
        let key = key.and_then(|key| BASE64.decode(key).ok());
        let key = key.filter(|key| BYTES.contains(&key.len()));
        let key = key.ok_or(JobError::Kind {
            field: "secret",
            expected: "whsec_ and the base64 of 24 to 64 bytes",
        })?;
        Ok(Self {
            text: text.to_owned(),
            key,
        })
    }

    /// Sealed by the host, for one kind.
    pub(crate) fn seal(&self, cx: &Cx<Jobs>, kind: &str) -> Result<Vec<u8>> {
        Ok(cx.crypto().seal(&self.key, kind.as_bytes())?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_published_example() {
        let secret = NewSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = Key::new(&secret.key).sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        for bad in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_?",
        ] {
            assert!(NewSecret::read(bad).is_err(), "{bad}");
        }
    }
}
