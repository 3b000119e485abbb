//! What may be a password.
//!
//! Length counts, composition does not (NIST SP 800-63B, section 5.1.1.2): no rule asks for signs or digits, nothing is cut
//! off, and what everybody tries first is refused. Two spellings of the same characters (NFC and NFD) are one password.
//!
//! How many guesses one takes beyond that ([`crate::strength`]) is advice: nobody is refused for it.

use nself_plugin_api::{capability::crypto::PasswordCheck, prelude::*, serde_json::json};
use unicode_normalization::UnicodeNormalization;

use crate::{
    Auth, breach,
    strength::{Kind, Strength},
};

/// Most characters: argon2 takes any number, a person types fewer.
const LENGTH_MAX: usize = 128;

/// The list of those that are tried first, lower case: read where it lies in the library, without an index in memory.
static COMMON: &[u8] = include_bytes!("../data/common-passwords.fst");

/// Words of the account that its password may not be made of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Context<'a> {
    pub(crate) email: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// In lower case.
    pub(crate) fn words(self) -> impl Iterator<Item = String> + 'a {
        [self.email, self.name]
            .into_iter()
            .flatten()
            .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
            .filter(|word| word.chars().count() >= WORD_LENGTH_MIN)
            .map(str::to_lowercase)
    }
}

/// Shorter words of an account say nothing about it.
const WORD_LENGTH_MIN: usize = 4;

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
    match weakness(password, context) {
        Some(weakness) => Err(weakness.refusal()),
        None => Ok(normalized(password)),
    }
}

/// Why a password of a good length is tried first all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weakness {
    Listed,
    Repeated,
    Sequence,
    AboutYou,
}

fn weakness(password: &str, context: Context<'_>) -> Option<Weakness> {
    let lower = password.to_lowercase();
    if is_common(&lower) {
        Some(Weakness::Listed)
    } else if goes_by(&lower, &[0]) {
        Some(Weakness::Repeated)
    } else if goes_by(&lower, &[1, -1]) {
        Some(Weakness::Sequence)
    } else if is_made_of(&lower, context) {
        Some(Weakness::AboutYou)
    } else {
        None
    }
}

impl Weakness {
    /// For apps and pages, which say it in the language of who reads it.
    const fn reason(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Repeated => "repeated",
            Self::Sequence => "sequence",
            Self::AboutYou => "about_you",
        }
    }

    fn refusal(self) -> Error {
        let suggestions = match self {
            Self::Listed => vec![RANDOM_WORDS],
            Self::Repeated | Self::Sequence => vec![NO_PATTERN, RANDOM_WORDS],
            Self::AboutYou => vec![NOT_ABOUT_YOU, RANDOM_WORDS],
        };
        Error::invalid(
            "PASSWORD_COMMON",
            "password: this is one of those that are tried first; choose another one, such as four random words",
        )
        .with_details(json!({"reason": self.reason(), "suggestions": suggestions}))
    }
}

/// What to do about a password that is refused: apps show it beside the field.
const RANDOM_WORDS: &str = "take four words that have nothing to do with one another";
const NOT_ABOUT_YOU: &str = "leave out your name and address";
const NO_PATTERN: &str = "do not repeat one character, and do not count up or down";
const NO_DATES: &str = "leave out years and dates";
const NO_KEYS: &str = "do not type along the keyboard";
const NOWHERE_ELSE: &str = "take one that you use nowhere else";

/// A password that may be one scores at least this much, or gets advice.
const GOOD_SCORE: u8 = 3;

/// What somebody is told of a password before it is set.
pub(crate) struct Advice {
    pub(crate) score: u8,
    /// What makes it weak, for apps and pages.
    pub(crate) reasons: Vec<&'static str>,
    pub(crate) suggestions: Vec<&'static str>,
}

/// How a password that is accepted could be better; nothing where it is good.
pub(crate) fn advise(password: &str, context: Context<'_>) -> Advice {
    let strength = Strength::of(password, context);
    let mut advice = Advice {
        score: strength.score(),
        reasons: Vec::new(),
        suggestions: Vec::new(),
    };
    if advice.score >= GOOD_SCORE {
        return advice;
    }
    for kind in strength.parts {
        let (reason, suggestion) = match kind {
            Kind::Unknown => ("short", RANDOM_WORDS),
            Kind::Word => ("words", RANDOM_WORDS),
            Kind::AboutYou => ("about_you", NOT_ABOUT_YOU),
            Kind::Sequence => ("sequence", NO_PATTERN),
            Kind::Repetition => ("repeated", NO_PATTERN),
            Kind::Keys => ("keys", NO_KEYS),
            Kind::Date => ("date", NO_DATES),
        };
        if !advice.reasons.contains(&reason) {
            advice.reasons.push(reason);
        }
        if !advice.suggestions.contains(&suggestion) {
            advice.suggestions.push(suggestion);
        }
    }
    if !advice.suggestions.contains(&RANDOM_WORDS) {
        advice.suggestions.push(RANDOM_WORDS);
    }
    advice
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

fn is_common(lower: &str) -> bool {
    common_passwords().contains(lower)
}

fn common_passwords() -> fst::Set<&'static [u8]> {
    fst::Set::new(COMMON).expect("the list was written whole")
}

/// Whether each character follows from the one before by one of these steps, which is always the same.
fn goes_by(lower: &str, steps: &[i64]) -> bool {
    let numbers: Vec<i64> = lower.chars().map(|c| i64::from(u32::from(c))).collect();
    let goes = |step: &i64| numbers.windows(2).all(|pair| pair[1] - pair[0] == *step);
    steps.iter().any(goes)
}

/// Whether a password is a word of the account with a few characters around it.
fn is_made_of(lower: &str, context: Context<'_>) -> bool {
    let mut left = lower.to_owned();
    for word in context.words() {
        left = left.replace(&word, "");
    }
    left.chars().count() < 4
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
        for (password, reason, count) in [
            ("password", "listed", 1),
            ("lovelace1", "about_you", 2),
            (
                "\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}",
                "repeated",
                2,
            ),
            ("CDEFGHIJKLM", "sequence", 2),
            (
                "\u{43a}\u{439}\u{438}\u{437}\u{436}\u{435}\u{434}\u{433}",
                "sequence",
                2,
            ),
        ] {
            let refused = accept(password, 8, context).expect_err("it is refused");
            let details = refused.details().expect("details");
            assert_eq!(details["reason"], reason, "{password}");
            let suggestions = details["suggestions"].as_array();
            assert_eq!(suggestions.map(Vec::len), Some(count), "{password}");
        }
    }

    #[test]
    fn the_list_is_whole_and_has_what_the_length_lets_through() {
        let list = common_passwords();
        list.as_fst().verify().expect("its checksum is right");
        let all = list.stream().into_strs().expect("it is text");
        assert!(all.len() > 65_000, "{}", all.len());
        for one in &all {
            assert!(one.chars().count() >= 8 && is_common(one), "{one}");
        }
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
