//! What may be a password.
//!
//! Length counts, composition does not (NIST SP 800-63B, section 5.1.1.2): no rule asks for signs or digits, nothing is cut
//! off, and what everybody tries first is refused. Two spellings of the same characters (NFC and NFD) are one password.

use nself_plugin_api::{capability::crypto::PasswordCheck, prelude::*, serde_json::json};
use unicode_normalization::UnicodeNormalization;

use crate::{Auth, breach};

/// Most characters: argon2 takes any number, a person types fewer.
const LENGTH_MAX: usize = 128;

/// Sorted by bytes, lower case, one per line.
static COMMON: &str = include_str!("../data/common-passwords.txt");

/// Words of the account that its password may not be made of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Context<'a> {
    pub(crate) email: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
}

/// Most bytes that the host hashes.
const HASHED_BYTES_MAX: usize = 1024;

/// Compares a password with a stored one. What is too long to be hashed is nobody's password.
pub(crate) async fn verify(cx: &Cx<Auth>, password: &str, stored: &str) -> Result<PasswordCheck> {
    let password = normalized(password);
    if password.len() > HASHED_BYTES_MAX {
        return Ok(PasswordCheck::Wrong);
    }
    cx.crypto().verify_password(&password, stored).await
}

/// The form of a password that is hashed: NFC (RFC 8265, section 4.2.2).
pub(crate) fn normalized(password: &str) -> String {
    password.nfc().collect()
}

/// The normalized password, if it may be one.
///
/// # Errors
///
/// `PASSWORD_TOO_SHORT`, `PASSWORD_TOO_LONG`, `PASSWORD_COMMON`.
pub(crate) fn accept(password: &str, length_min: u32, context: Context<'_>) -> Result<String> {
    // Counted in compatibility form, so that one sign is one character however it was typed. A long text is not
    // normalized to find out how long it is.
    let length = password.nfkc().take(LENGTH_MAX + 1).count();
    if length < length_min as usize {
        return Err(Error::invalid(
            "PASSWORD_TOO_SHORT",
            format!("password: expected at least {length_min} characters"),
        )
        .with_details(json!({"length_min": length_min})));
    }
    if length > LENGTH_MAX {
        return Err(Error::invalid(
            "PASSWORD_TOO_LONG",
            format!("password: expected at most {LENGTH_MAX} characters"),
        ));
    }
    if is_common(password) {
        return Err(common(&[RANDOM_WORDS]));
    }
    if is_made_of(password, context) {
        return Err(common(&[NOT_ABOUT_YOU, RANDOM_WORDS]));
    }
    Ok(normalized(password))
}

/// What to do about a password that is refused: apps show it beside the field.
const RANDOM_WORDS: &str = "take four words that have nothing to do with one another";
const NOT_ABOUT_YOU: &str = "leave out your name and address, and do not repeat one character";
const NOWHERE_ELSE: &str = "take one that you use nowhere else";

fn common(suggestions: &[&str]) -> Error {
    Error::invalid(
        "PASSWORD_COMMON",
        "password: this is one of those that are tried first; choose another one, such as four random words",
    )
    .with_details(json!({"suggestions": suggestions}))
}

/// For a password that stands in a public collection of leaked ones.
pub(crate) fn leaked() -> Error {
    Error::invalid(
        "PASSWORD_LEAKED",
        "password: it was in a leak of another service, and is tried by everybody who has that; choose another one",
    )
    .with_details(json!({"suggestions": [NOWHERE_ELSE, RANDOM_WORDS]}))
}

/// The hash of a new password, if it may be one.
///
/// # Errors
///
/// As [`accept`], and `PASSWORD_LEAKED`.
pub(crate) async fn hash_new(
    cx: &Cx<Auth>,
    password: &str,
    context: Context<'_>,
) -> Result<String> {
    let password = accept(password, cx.plugin().config.password_length_min, context)?;
    breach::check(cx, &password).await?;
    cx.crypto().hash_password(&password).await
}

fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    // A binary search over the text itself: the list needs no index in memory.
    let list = COMMON.as_bytes();
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let is_end = |byte: &u8| *byte == b'\n';
        let start = list[..middle]
            .iter()
            .rposition(is_end)
            .map_or(0, |at| at + 1);
        let end = list[middle..]
            .iter()
            .position(is_end)
            .map_or(list.len(), |at| middle + at);
        match list[start..end].cmp(lower.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

/// Whether a password is a word of the account with a few characters around it, or one character over and over.
fn is_made_of(password: &str, context: Context<'_>) -> bool {
    let lower = password.to_lowercase();
    let words = [context.email, context.name]
        .into_iter()
        .flatten()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| word.chars().count() >= 4)
        .map(str::to_lowercase);
    let mut left = lower.clone();
    for word in words {
        left = left.replace(&word, "");
    }
    let first = lower.chars().next();
    left.chars().count() < 4 || lower.chars().all(|c| Some(c) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(password: &str, context: Context<'_>, expected: Result<&str, &str>) {
        let accepted = accept(password, 8, context);
        assert_eq!(
            accepted.as_deref().map_err(Error::code),
            expected,
            "{password:?}"
        );
    }

    #[test]
    fn length_counts_and_composition_does_not() {
        let any = Context::default();
        check("kurz", any, Err("PASSWORD_TOO_SHORT"));
        check("zwetschgenknoedel", any, Ok("zwetschgenknoedel"));
        check(&"ab".repeat(64), any, Ok(&"ab".repeat(64)));
        check(&"ab".repeat(65), any, Err("PASSWORD_TOO_LONG"));
        check(&"a".repeat(4_000_000), any, Err("PASSWORD_TOO_LONG"));
        check("nul\0is\0fine", any, Ok("nul\0is\0fine"));
    }

    #[test]
    fn what_is_tried_first_is_refused() {
        let any = Context::default();
        for common in [
            "password",
            "12345678",
            "qwertyuiop",
            "PassWord1",
            "aaaaaaaa",
        ] {
            check(common, any, Err("PASSWORD_COMMON"));
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let context = Context {
            email: Some("lovelace@example.org"),
            name: None,
        };
        for (password, count) in [("password", 1), ("lovelace1", 2)] {
            let refused = accept(password, 8, context).expect_err("it is refused");
            let suggestions = refused.details().expect("details")["suggestions"].as_array();
            assert_eq!(suggestions.map(Vec::len), Some(count), "{password}");
        }
    }

    #[test]
    fn every_line_of_the_list_is_found() {
        for line in COMMON.lines() {
            assert!(is_common(line), "{line}");
        }
        assert!(COMMON.lines().is_sorted(), "a binary search needs order");
    }

    #[test]
    fn words_of_the_account_are_no_password() {
        let context = Context {
            email: Some("lovelace@example.org"),
            name: Some("Ada Lovelace"),
        };
        check("lovelace1", context, Err("PASSWORD_COMMON"));
        check("Lovelace.example", context, Err("PASSWORD_COMMON"));
        check("lovelace and babbage", context, Ok("lovelace and babbage"));
    }

    #[test]
    fn both_spellings_of_a_character_are_one() {
        assert_eq!(
            normalized("kno\u{308}del-und-mus"),
            normalized("kn\u{f6}del-und-mus")
        );
    }
}
