//! Where the links in mails lead.
//!
//! An app of the house has pages of its own, which take the token from the link and POST it: whoever fetches the link to
//! look at it, such as a mail scanner, changes nothing. Apps written for Nhost expect hasura-auth's way instead: the link
//! leads to `GET /verify`, which does what it is for and returns to the app.

use nself_plugin_api::prelude::*;

use crate::{Auth, notify, one_time::Purpose};

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticket {
    VerifyEmail,
    ChangeEmail,
    MagicLink,
    ResetPassword,
}

impl Ticket {
    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::VerifyEmail => Purpose::VerifyEmail,
            Self::ChangeEmail => Purpose::ChangeEmail,
            Self::MagicLink => Purpose::MagicLink,
            Self::ResetPassword => Purpose::ResetPassword,
        }
    }

    /// The page of the house's own app.
    const fn page(self) -> &'static str {
        match self {
            Self::VerifyEmail => "/auth/verify-email",
            Self::ChangeEmail => "/auth/email/confirm",
            Self::MagicLink => "/auth/magic-link/verify",
            Self::ResetPassword => "/auth/password/reset",
        }
    }

    /// What hasura-auth writes before the secret.
    const fn word(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verifyEmail",
            Self::ChangeEmail => "emailConfirmChange",
            Self::MagicLink => "passwordlessEmail",
            Self::ResetPassword => "passwordReset",
        }
    }

    /// What hasura-auth calls it in `type`.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::VerifyEmail => "emailVerify",
            Self::ChangeEmail => "emailConfirmChange",
            Self::MagicLink => "signinPasswordless",
            Self::ResetPassword => "passwordReset",
        }
    }

    /// Takes a ticket as hasura-auth writes it apart: what it is for, and the link's token.
    pub(crate) fn read(text: &str) -> Option<(Self, &str)> {
        let (word, token) = text.split_once(':')?;
        let all = [
            Self::VerifyEmail,
            Self::ChangeEmail,
            Self::MagicLink,
            Self::ResetPassword,
        ];
        let ticket = all.into_iter().find(|ticket| ticket.word() == word)?;
        Some((ticket, token))
    }
}

/// Which app a link leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Landing<'a> {
    /// The house's own.
    Page,
    /// One written for Nhost, at an address that was checked before.
    Verify {
        redirect_to: &'a str,
        /// S256 of a secret of the app's own, which takes a code then instead of a refresh token.
        code_challenge: Option<&'a str>,
    },
}

impl Landing<'_> {
    /// The link. Built from the configuration alone: a request's headers could lead to somebody else's page.
    pub(crate) fn link(self, cx: &Cx<Auth>, ticket: Ticket, token: &str) -> String {
        match self {
            Self::Page => notify::page(cx, ticket.page(), token),
            Self::Verify {
                redirect_to,
                code_challenge,
            } => {
                let root = cx.plugin().config.public_url.trim_end_matches('/');
                let ticket_text = format!("{}:{token}", ticket.word());
                let query: Vec<_> = [
                    ("ticket", ticket_text.as_str()),
                    ("type", ticket.kind()),
                    ("redirectTo", redirect_to),
                ]
                .into_iter()
                .chain(code_challenge.map(|challenge| ("codeChallenge", challenge)))
                .collect();
                format!("{root}/verify?{}", query_text(&query))
            }
        }
    }
}

/// Where an app is returned to that does not say: the first address of the list.
pub(crate) fn home(cx: &Cx<Auth>) -> &str {
    let config = &cx.plugin().config;
    config.redirect_urls.first().unwrap_or(&config.public_url)
}

/// The address that a request wants its person returned to, if that is exactly one of the list's. No part of it is compared
/// by itself: prefixes and hosts are what open redirects are made of.
pub(crate) fn allowed<'a>(cx: &'a Cx<Auth>, wished: Option<&str>) -> Result<&'a str> {
    let config = &cx.plugin().config;
    let Some(wished) = wished.filter(|wished| *wished != home(cx)) else {
        return Ok(home(cx));
    };
    let found = config.redirect_urls.iter().find(|url| *url == wished);
    found.map(String::as_str).ok_or_else(|| {
        Error::bad_request(
            "REDIRECT_NOT_ALLOWED",
            "the address to return to is not in the list redirect_urls",
        )
    })
}

/// Adds parameters to an address of the list.
pub(crate) fn with_query(url: &str, parameters: &[(&str, &str)]) -> String {
    let (url, fragment) = url
        .split_once('#')
        .map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let mark = if url.contains('?') { '&' } else { '?' };
    let mut whole = format!("{url}{mark}{}", query_text(parameters));
    if let Some(fragment) = fragment {
        whole.push('#');
        whole.push_str(fragment);
    }
    whole
}

fn query_text(parameters: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(parameters).expect("pairs of texts can be written as a query")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_before_the_fragment() {
        let with = |url| with_query(url, &[("a", "b c&d")]);
        assert_eq!(
            with("https://app.example/x"),
            "https://app.example/x?a=b+c%26d"
        );
        assert_eq!(
            with("https://app.example/?y=1#z"),
            "https://app.example/?y=1&a=b+c%26d#z"
        );
    }

    #[test]
    fn a_ticket_says_what_it_is_for() {
        assert_eq!(
            Ticket::read("passwordReset:abc"),
            Some((Ticket::ResetPassword, "abc"))
        );
        for text in ["", "abc", "otp:abc", "passwordreset:abc"] {
            assert_eq!(Ticket::read(text), None, "{text}");
        }
    }
}
