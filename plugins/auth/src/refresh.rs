//! Refresh tokens: `rt1.` and base64url of key id, session, generation and MAC.
//!
//! A token says which session it belongs to and how often that was rotated, and proves it. A forged one is refused
//! without touching the database; a real one needs a single statement.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::mac::{BYTES, MacKeys, Purpose};

const PREFIX: &str = "rt1.";
/// Key id, session, generation.
const FACTS: usize = 1 + 16 + 4;

/// What a refresh token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    /// Whose it is.
    pub(crate) session: Uuid,
    /// How often the session had been rotated when it was made, counted from 1.
    pub(crate) generation: i32,
}

impl RefreshToken {
    /// As a client gets it.
    pub(crate) fn write(self, keys: &MacKeys) -> String {
        let mut bytes = Vec::with_capacity(FACTS + BYTES);
        bytes.push(keys.newest());
        bytes.extend_from_slice(self.session.as_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        let mac = keys.make(keys.newest(), Purpose::Refresh, &bytes);
        bytes.extend_from_slice(&mac.expect("the newest key is there"));
        let mut text = String::with_capacity(PREFIX.len() + bytes.len().div_ceil(3) * 4);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
        text
    }

    /// Reads a token that this plugin wrote; `None` for anything else.
    pub(crate) fn read(text: &str, keys: &MacKeys) -> Option<Self> {
        let mut bytes = [0; FACTS + BYTES];
        let encoded = text.strip_prefix(PREFIX)?;
        // The length is checked first: decoding a megabyte to refuse it would be work for nothing.
        if encoded.len() != bytes.len().saturating_mul(4).div_ceil(3) {
            return None;
        }
        URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?;
        let (facts, mac) = bytes.split_at(FACTS);
        if !keys.check(facts[0], Purpose::Refresh, facts, mac) {
            return None;
        }
        Some(Self {
            session: Uuid::from_slice(&facts[1..17]).ok()?,
            generation: i32::from_be_bytes(facts[17..].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_no_changed_one_does() {
        let keys = MacKeys::new(vec![(7, [9; BYTES])]);
        let token = RefreshToken {
            session: Uuid::from_u128(5),
            generation: 3,
        };
        let text = token.write(&keys);
        assert_eq!(RefreshToken::read(&text, &keys), Some(token));
        for at in PREFIX.len()..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII stays ASCII");
            assert_eq!(RefreshToken::read(&forged, &keys), None, "{at}");
        }
        for bad in ["", "rt1.", "rt1.AAAA", "rt2.", &text[..text.len() - 1]] {
            assert_eq!(RefreshToken::read(bad, &keys), None, "{bad}");
        }
        let others = MacKeys::new(vec![(7, [8; BYTES])]);
        assert_eq!(RefreshToken::read(&text, &others), None);
    }
}
