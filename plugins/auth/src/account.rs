//! People, as this plugin shows them and checks what they say of themselves.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::Serialize;
use uuid::Uuid;

use crate::problem;

/// A person.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct User {
    /// Stays for good.
    pub id: Uuid,
    /// Lower case; a child may have none.
    pub email: Option<String>,
    /// Whether somebody at that address has said that it is theirs.
    pub is_email_verified: bool,
    /// As others see it.
    pub display_name: String,
    /// A picture.
    pub avatar_url: Option<String>,
    /// BCP 47 language tag.
    pub locale: String,
    /// IANA time zone.
    pub timezone: String,
    /// `human` or `child`.
    pub kind: String,
    /// Has neither address nor password yet.
    pub is_anonymous: bool,
    /// When the account was made.
    pub created_at: Timestamp,
}

impl User {
    /// Whether a guardian made the account.
    pub(crate) fn is_child(&self) -> bool {
        self.kind == "child"
    }
}

/// Longest address (RFC 5321, section 4.5.3.1.3 less the brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// Longest part before the `@` (RFC 5321, section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// An address in the one form that is stored and compared: lower case, no spaces around it.
///
/// Plain ASCII only: what merely looks like an `@` or a letter would make two accounts of one address, or one of two.
pub(crate) fn email(text: &str) -> Result<String> {
    let email = text.trim_matches(' ').to_ascii_lowercase();
    let (local, domain) = email
        .rsplit_once('@')
        .ok_or_else(|| problem::bad_email("there is no @ in it"))?;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if email.len() > EMAIL_BYTES_MAX || local.len() > LOCAL_BYTES_MAX {
        Err(problem::bad_email("it is too long"))
    } else if local.is_empty() || !local.bytes().all(is_plain) {
        Err(problem::bad_email(
            "what stands before the @ is not plain letters, digits and signs",
        ))
    } else if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        Err(problem::bad_email("a dot stands where none may stand"))
    } else if !domain.split('.').all(label) {
        Err(problem::bad_email(
            "what stands after the @ is no domain; write an international one as xn--",
        ))
    } else {
        Ok(email)
    }
}

/// A name as people see it: no control characters, nothing that turns the direction of text around.
pub(crate) fn display_name(text: &str) -> Result<String> {
    let name = text.trim();
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if name.chars().count() > 200 || name.contains(is_odd) {
        return Err(Error::invalid(
            "DISPLAY_NAME_INVALID",
            "display_name: expected at most 200 characters, and no control characters",
        ));
    }
    Ok(name.to_owned())
}

/// A language tag (BCP 47), by its shape.
pub(crate) fn locale(text: &str) -> Result<&str> {
    let is_part = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let is_primary =
        |part: &str| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    if text.len() <= 35
        && text.split('-').all(is_part)
        && text.split('-').next().is_some_and(is_primary)
    {
        Ok(text)
    } else {
        Err(Error::invalid(
            "LOCALE_INVALID",
            "locale: expected a language tag such as en or de-AT",
        ))
    }
}

/// A time zone (IANA), by its shape: the tables that know them all are not carried along.
pub(crate) fn timezone(text: &str) -> Result<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        Ok(text)
    } else {
        Err(Error::invalid(
            "TIMEZONE_INVALID",
            "timezone: expected a time zone such as Europe/Vienna",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (text, expected) in [
            ("Ada@Example.ORG", "ada@example.org"),
            (" ada+x@example.org ", "ada+x@example.org"),
            ("o'hara@nas", "o'hara@nas"),
        ] {
            assert_eq!(email(text).expect("an address"), expected);
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@@example.org",
            "a b@example.org",
            "ada\u{ff20}example.org",
            "ada@ex\u{e4}mple.org",
            "ada\r\nbcc: x@example.org",
            "ada@example.org\0",
            "ada@-example.org",
            "ada@example..org",
            ".ada@example.org",
            &format!("{}@example.org", "a".repeat(65)),
            &format!("a@{}.org", "a".repeat(250)),
        ] {
            assert!(email(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_does_not_play_tricks() {
        assert_eq!(display_name("  Ada  ").expect("a name"), "Ada");
        assert!(display_name("Ada\u{202e}ada").is_err());
        assert!(display_name("Ada\0").is_err());
        assert!(display_name(&"a".repeat(201)).is_err());
    }
}
