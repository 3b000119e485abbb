//! Addresses: read strictly, because they end in headers and in SMTP commands, and masked for the log.

use lettre::{Address, message::Mailbox};

use crate::error::MailError;

/// Longest address with its name, characters. RFC 5321 (4.5.3.1.3) has 256 octets for a path alone.
const LENGTH_MAX: usize = 320;

/// Reads `address` or `Name <address>`; `field` is what the error calls it.
///
/// # Errors
///
/// [`MailError::Address`] for anything else: one with a line break or another control character in it above all, which could
/// add headers or commands.
pub(crate) fn parse(field: &'static str, text: &str) -> Result<Mailbox, MailError> {
    let refuse = |reason| MailError::Address { field, reason };
    if text.chars().any(char::is_control) {
        return Err(refuse("it holds a line break or another control character"));
    }
    if text.chars().count() > LENGTH_MAX {
        return Err(refuse("it is too long"));
    }
    let text = text.trim();
    let (name, address) = match text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
    {
        Some((name, address)) => (Some(unquoted(name.trim())), address),
        None => (None, text),
    };
    let address: Address = address
        .parse()
        .map_err(|_| refuse("it is not of the form name@domain"))?;
    Ok(Mailbox::new(name.filter(|name| !name.is_empty()), address))
}

fn unquoted(name: &str) -> String {
    let inner = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    inner.unwrap_or(name).replace("\\\"", "\"")
}

/// How an address is compared: without regard to case, which no mailbox in use depends on.
pub(crate) fn key(mailbox: &Mailbox) -> String {
    mailbox.email.to_string().to_lowercase()
}

/// What a log may show of an address: enough to recognise it, not enough to write to it.
pub(crate) fn masked(address: &str) -> String {
    let (user, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let first: String = user.chars().take(1).collect();
    format!("{first}***@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let got = parse("to", text).ok();
        let got = got.map(|mailbox| (mailbox.name.unwrap_or_default(), mailbox.email.to_string()));
        let expected = expected.map(|(name, address)| (name.to_owned(), address.to_owned()));
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn an_address_stands_alone_or_behind_a_name() {
        check("ada@example.org", Some(("", "ada@example.org")));
        check(" <ada@example.org> ", Some(("", "ada@example.org")));
        check("Ada <ada@example.org>", Some(("Ada", "ada@example.org")));
        check(
            "\"L., Ada\" <ada@example.org>",
            Some(("L., Ada", "ada@example.org")),
        );
        check("Jürgen <j@example.org>", Some(("Jürgen", "j@example.org")));
    }

    #[test]
    fn nothing_can_be_smuggled_in_behind_an_address() {
        check("ada@example.org\r\nBcc: all@example.org", None);
        check("Ada\nBcc: all@example.org <ada@example.org>", None);
        check("ada@example.org, all@example.org", None);
        check("ada@example.org> RCPT TO:<all@example.org", None);
        check("<ada@example.org> all@example.org", None);
        check("ada@example.org\u{0}", None);
        check("ada", None);
        check("", None);
        check(&format!("{}@example.org", "a".repeat(400)), None);
    }

    #[test]
    fn the_log_shows_where_and_hardly_who() {
        assert_eq!(masked("ada@example.org"), "a***@example.org");
        assert_eq!(masked("ada"), "a***@");
    }
}
