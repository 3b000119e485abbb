//! Public keys: what a trust list is made of.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;

use super::{ALGORITHM, decoded};

/// The number that signatures name a key by: chosen at random, so it finds a key and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    /// As minisign shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// An Ed25519 public key with its number; `RWQ…`, 56 characters, in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    pub(super) id: KeyId,
    pub(super) key: [u8; 32],
}

/// A text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a minisign public key is a line of 56 characters that begins with RW, or the .pub file that holds it"
)]
pub struct PublicKeyError;

impl PublicKey {
    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The `.pub` file that holds it.
    pub fn to_file(&self) -> String {
        format!(
            "untrusted comment: minisign public key {}\n{self}\n",
            self.id
        )
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    /// The key itself, or a whole `.pub` file.
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let mut lines = text.lines();
        let first = lines.next().ok_or(PublicKeyError)?;
        let line = match first.strip_prefix("untrusted comment:") {
            Some(_) => lines.next().ok_or(PublicKeyError)?,
            None => first,
        };
        let bytes: [u8; 42] = decoded(line.trim()).ok_or(PublicKeyError)?;
        let (algorithm, rest) = bytes.split_at(2);
        let (id, key) = rest.split_at(8);
        if algorithm != ALGORITHM || lines.any(|line| !line.trim().is_empty()) {
            return Err(PublicKeyError);
        }
        Ok(Self {
            id: KeyId(id.try_into().map_err(|_| PublicKeyError)?),
            key: key.try_into().map_err(|_| PublicKeyError)?,
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&ALGORITHM[..], &self.id.0, &self.key].concat();
        f.write_str(&BASE64.encode(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The key of minisign's own documentation.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_key_and_the_file_of_it_are_one() {
        let key: PublicKey = KEY.parse().expect("a key");
        assert_eq!(key.to_string(), KEY);
        assert_eq!(key.id().to_string(), "E7620F1842B4E81F");
        assert_eq!(key.to_file().parse(), Ok(key));
    }

    #[test]
    fn anything_else_is_refused() {
        let halved = &KEY[..28];
        let twice = format!("{KEY}\n{KEY}");
        let other = KEY.replacen("RWQ", "AAA", 1);
        for text in [
            "",
            "untrusted comment: only",
            halved,
            &twice,
            &other,
            "RWQ!",
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(PublicKeyError), "{text}");
        }
    }
}
