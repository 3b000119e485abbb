//! Paired machines, and the codes that pair them (RFC 8628).

use nself_plugin_api::{
    jiff::{SignedDuration, Timestamp},
    prelude::*,
};
use serde::Serialize;
use uuid::Uuid;

/// How long a machine waits for somebody to approve it.
pub(crate) const PAIRING_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// Seconds between two questions of a machine, and how many more after one that came too soon (RFC 8628, section 3.5).
pub(crate) const INTERVAL_SECONDS: i32 = 5;

/// Bytes of what a machine polls with.
pub(crate) const DEVICE_CODE_BYTES: u32 = 32;

/// Letters of a user code: none that reads as another or makes a word (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Letters in a user code: 20^8 codes, against five wrong guesses of an account in a quarter of an hour.
const CODE_LETTERS: usize = 8;

/// Kinds of machines.
pub(crate) const KINDS: [&str; 7] = [
    "tv", "box", "phone", "tablet", "computer", "speaker", "other",
];

/// A paired machine.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Device {
    /// Stays for good.
    pub id: Uuid,
    /// As the family calls it.
    pub name: String,
    /// `tv`, `box`, `phone`, `tablet`, `computer`, `speaker` or `other`.
    pub kind: String,
    /// Whether the family lets it do more than look; what, is for other plugins to say.
    pub is_trusted: bool,
    /// The member who approved it.
    pub approved_by: Option<Uuid>,
    /// When it was last heard of, by the minute.
    pub last_seen_at: Option<Timestamp>,
    /// When it was paired.
    pub created_at: Timestamp,
}

/// A user code made of random bytes; `None` when too many of them had to be thrown away.
pub(crate) fn user_code(random: &[u8]) -> Option<String> {
    // 240 is the largest multiple of 20 in a byte: what is above would favour some letters.
    let fair = random.iter().filter(|byte| **byte < 240);
    let letters = fair.map(|byte| char::from(LETTERS[usize::from(byte % 20)]));
    let code: String = letters.take(CODE_LETTERS).collect();
    (code.len() == CODE_LETTERS).then_some(code)
}

/// A user code as it is shown: `XXXX-XXXX`.
pub(crate) fn shown(code: &str) -> String {
    let (first, second) = code.split_at(CODE_LETTERS / 2);
    format!("{first}-{second}")
}

/// A user code as somebody typed it: in any case, with or without signs between the letters.
pub(crate) fn typed(text: &str) -> Option<String> {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    let code: String = letters
        .map(|c| c.to_ascii_uppercase())
        .take(CODE_LETTERS + 1)
        .collect();
    let is_code = code.len() == CODE_LETTERS && code.bytes().all(|byte| LETTERS.contains(&byte));
    is_code.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_typed_as_people_type() {
        let random: Vec<u8> = (0..=255).rev().collect();
        let code = user_code(&random).expect("there are enough fair bytes");
        assert_eq!(code, "ZXWVTSRQ");
        assert_eq!(shown(&code), "ZXWV-TSRQ");
        for text in ["ZXWV-TSRQ", "zxwvtsrq", " zxwv tsrq "] {
            assert_eq!(typed(text).as_deref(), Some("ZXWVTSRQ"), "{text}");
        }
        for text in [
            "",
            "ZXWV",
            "ZXWVTSRQB",
            "ZXWVTSRA",
            "ZXWV-TSR0",
            "ZXWVTSR\u{131}",
        ] {
            assert_eq!(typed(text), None, "{text}");
        }
        assert_eq!(user_code(&[255; 64]), None);
    }
}
