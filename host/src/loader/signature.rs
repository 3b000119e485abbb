//! Whose file is it: the signature beside a plugin file, judged on the very bytes that are hashed and kept.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::refusal::{FileFault, one_line};
use crate::minisign::{Differs, KeyId, PublicKey, Signature, SignatureError};

/// What becomes of a file that nobody who is trusted has signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is a file as any other.
    #[default]
    Off,
    /// It is a file as any other, and somebody hears of it. One that was changed after a trusted key signed it is refused.
    Warn,
    /// It is refused.
    Require,
}

/// A key that may sign plugins, and what its holder is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// For people; may be empty.
    pub name: String,
    /// Whether it is the one that this machine made for itself.
    pub own: bool,
}

/// What the machine's own key is called, here and in `plugins.lock`: the file goes to other machines, which have other keys and
/// vouch for what they build themselves.
pub const OWN_NAME: &str = "this machine";

impl TrustedKey {
    /// What `plugins.lock` says of who signed: the whole key, which nobody else has.
    pub fn locked_as(&self) -> String {
        if self.own {
            OWN_NAME.to_owned()
        } else {
            self.key.to_string()
        }
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            return self.key.id().fmt(f);
        }
        write!(f, "{} ({})", one_line(&self.name), self.key.id())
    }
}

/// Who signed, for answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// The whole public key.
    pub key: String,
    /// Its number.
    pub key_id: String,
    /// Its holder, as the operator calls him; empty when the key is not trusted any more.
    pub name: String,
}

impl Signer {
    fn of(trusted: &TrustedKey) -> Self {
        Self {
            key: trusted.key.to_string(),
            key_id: trusted.key.id().to_string(),
            name: trusted.name.clone(),
        }
    }
}

/// The keys that are trusted, and what happens to files that none of them signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// What happens to the others.
    pub policy: Policy,
    /// Who may sign.
    pub keys: Vec<TrustedKey>,
}

impl Trust {
    /// Nobody is trusted, and nothing is asked.
    pub const NONE: &'static Self = &Self {
        policy: Policy::Off,
        keys: Vec::new(),
    };

    /// Who holds the key that `plugins.lock` names.
    pub fn signer(&self, locked: &str) -> Option<Signer> {
        let mut keys = self.keys.iter();
        if let Some(trusted) = keys.find(|trusted| trusted.locked_as() == locked) {
            return Some(Signer::of(trusted));
        }
        let key: PublicKey = locked.parse().ok()?;
        Some(Signer {
            key: key.to_string(),
            key_id: key.id().to_string(),
            name: String::new(),
        })
    }

    /// Judges `content` by the text of the signature that lies beside it, if one does.
    ///
    /// # Errors
    ///
    /// [`SignatureFault`], as far as the policy makes it an error.
    pub fn judge(
        &self,
        content: &[u8],
        beside: Result<Option<String>, FileFault>,
    ) -> Result<Judged, SignatureFault> {
        let unsigned = |fault: &dyn fmt::Display| Judged {
            signed: None,
            warning: (self.policy == Policy::Warn).then(|| fault.to_string()),
        };
        match self.verified(content, beside) {
            Ok(signed) => Ok(Judged {
                signed: Some(signed),
                warning: None,
            }),
            Err(fault) => match self.policy {
                Policy::Require => Err(fault),
                Policy::Warn if fault.is_forgery() => Err(fault),
                Policy::Warn | Policy::Off => Ok(unsigned(&fault)),
            },
        }
    }

    fn verified(
        &self,
        content: &[u8],
        beside: Result<Option<String>, FileFault>,
    ) -> Result<Signed, SignatureFault> {
        let text = beside
            .map_err(SignatureFault::File)?
            .ok_or(SignatureFault::Missing)?;
        let signature: Signature = text.parse().map_err(SignatureFault::Form)?;
        let unknown = SignatureFault::UnknownKey(signature.key_id());
        // The number is a hint that anybody may copy: of two keys with one number, each is tried.
        let mut named = self
            .keys
            .iter()
            .filter(|trusted| trusted.key.id() == signature.key_id())
            .peekable();
        if named.peek().is_none() {
            return Err(unknown);
        }
        let mut differs = Differs::Content;
        for trusted in named {
            match signature.verify(&trusted.key, content) {
                Ok(()) => {
                    expired(&signature, SystemTime::now())?;
                    let signer = trusted.clone();
                    return Ok(Signed { signer, text });
                }
                Err(Differs::Comment) => differs = Differs::Comment,
                Err(Differs::Content) => {}
            }
        }
        let key_id = signature.key_id();
        Err(match differs {
            Differs::Comment => SignatureFault::Comment(key_id),
            Differs::Content => SignatureFault::Content {
                key_id,
                about: signature.field("file").map(one_line),
            },
        })
    }
}

/// A signature may say until when it is good: `expires:SECONDS` since 1970 in its trusted comment.
fn expired(signature: &Signature, now: SystemTime) -> Result<(), SignatureFault> {
    let Some(text) = signature.field("expires") else {
        return Ok(());
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // What does not read as a time is none that is still to come.
    let until: u64 = text.parse().unwrap_or(0);
    if now < until {
        return Ok(());
    }
    let at = i64::try_from(until)
        .ok()
        .and_then(|until| jiff::Timestamp::from_second(until).ok());
    Err(SignatureFault::Expired {
        key_id: signature.key_id(),
        at: at.map_or_else(|| one_line(text), |at| at.to_string()),
    })
}

/// What the signature of a file that is not refused came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// A trusted key's signature, if it has one.
    pub signed: Option<Signed>,
    /// What an operator should hear.
    pub warning: Option<String>,
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Whose it is.
    pub signer: TrustedKey,
    /// The whole signature file, to be kept beside the copy of what it signs.
    pub text: String,
}

impl Signed {
    /// Who signed, for answers.
    pub fn signer(&self) -> Signer {
        Signer::of(&self.signer)
    }
}

/// Why nobody stands for a file. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SignatureFault {
    /// There is no signature.
    #[error(
        "is not signed: put its .minisig file beside it, or vouch for it yourself with nself plugin sign"
    )]
    Missing,
    /// The signature is not a file that the host reads.
    #[error("has a signature file that {0}")]
    File(FileFault),
    /// The signature is none.
    #[error(
        "has a signature file that does not read ({0}): fetch the .minisig again, or sign with minisign 0.10 or newer"
    )]
    Form(SignatureError),
    /// A key signed it that nobody has said to trust.
    #[error(
        "is signed by key {0}, which is not trusted: if it is its author's, run nself plugin trust add with that public key"
    )]
    UnknownKey(KeyId),
    /// The content is not what was signed.
    #[error("is not what key {key_id} signed{}: fetch file and signature again from whom you trust", of_another(about.as_deref()))]
    Content {
        /// The key.
        key_id: KeyId,
        /// The file that the signature says it is of.
        about: Option<String>,
    },
    /// The comment of the signature is not what was signed.
    #[error(
        "has a signature of key {0} whose trusted comment was changed: fetch the .minisig again"
    )]
    Comment(KeyId),
    /// The signature was good until some time ago.
    #[error(
        "has a signature of key {key_id} that expired at {at}: fetch a newer one from its author"
    )]
    Expired {
        /// The key.
        key_id: KeyId,
        /// When.
        at: String,
    },
}

impl SignatureFault {
    /// Whether a trusted key's name is misused: no oversight, and no policy lets it pass that asks at all.
    fn is_forgery(&self) -> bool {
        matches!(self, Self::Content { .. } | Self::Comment(_))
    }
}

fn of_another(about: Option<&str>) -> String {
    about.map_or_else(String::new, |file| {
        format!(" (its signature says that it is of {file})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minisign::SecretKey;

    fn trusting(policy: Policy, key: &SecretKey) -> Trust {
        let keys = vec![TrustedKey {
            key: key.public(),
            name: "alice".to_owned(),
            own: false,
        }];
        Trust { policy, keys }
    }

    fn signed(key: &SecretKey, content: &[u8], comment: &str) -> String {
        key.sign(content, comment).expect("signed").to_string()
    }

    /// What each policy says of a signature, with nothing for "it passes in silence".
    #[track_caller]
    fn check(beside: Option<&str>, key: &SecretKey, [off, warn, require]: [&str; 3]) {
        for (policy, expected) in [
            (Policy::Off, off),
            (Policy::Warn, warn),
            (Policy::Require, require),
        ] {
            let said = match trusting(policy, key).judge(b"content", Ok(beside.map(str::to_owned)))
            {
                Ok(judged) => judged.warning.map(|warning| format!("warns: {warning}")),
                Err(fault) => Some(format!("refuses: {fault}")),
            };
            let said = said.unwrap_or_default();
            assert!(
                said.starts_with(expected) && said.is_empty() == expected.is_empty(),
                "{policy:?}: {said}"
            );
        }
    }

    #[test]
    fn the_policy_says_what_a_fault_means() {
        let key = SecretKey::generate().expect("a key");
        let stranger = SecretKey::generate().expect("a key");
        let good = signed(&key, b"content", "file:it.so");
        check(Some(&good), &key, ["", "", ""]);
        check(
            None,
            &key,
            ["", "warns: is not signed", "refuses: is not signed"],
        );
        let strange = signed(&stranger, b"content", "");
        let id = stranger.public().id();
        let line = |word: &str| format!("{word}: is signed by key {id}, which is not trusted");
        check(Some(&strange), &key, ["", &line("warns"), &line("refuses")]);
        let form = "has a signature file that does not read (line 1";
        let (warns, refuses) = (format!("warns: {form}"), format!("refuses: {form}"));
        check(Some("garbled"), &key, ["", &warns, &refuses]);
        let other = signed(&key, b"other", "file:other.so");
        let id = key.public().id();
        let line = format!(
            "refuses: is not what key {id} signed (its signature says that it is of other.so)"
        );
        check(Some(&other), &key, ["", &line, &line]);
        let commented = good.replace("it.so", "ot.so");
        let line =
            format!("refuses: has a signature of key {id} whose trusted comment was changed");
        check(Some(&commented), &key, ["", &line, &line]);
        let line = format!("has a signature of key {id} that expired at 1970-01-01T00:00:07Z");
        let (warns, refuses) = (format!("warns: {line}"), format!("refuses: {line}"));
        let expired = signed(&key, b"content", "expires:7");
        check(Some(&expired), &key, ["", &warns, &refuses]);
        let later = signed(&key, b"content", "expires:99999999999");
        check(Some(&later), &key, ["", "", ""]);
    }

    #[test]
    fn the_signer_is_known_by_the_whole_key() {
        let key = SecretKey::generate().expect("a key");
        let trust = trusting(Policy::Require, &key);
        let judged = trust.judge(b"content", Ok(Some(signed(&key, b"content", ""))));
        let signer = judged.expect("it passes").signed.expect("signed").signer();
        assert_eq!(trust.signer(&signer.key), Some(signer.clone()));
        assert_eq!(signer.name, "alice");
        assert_eq!(Trust::NONE.signer(&signer.key).expect("a key").name, "");
        assert_eq!(trust.signer("no key"), None);
    }
}
