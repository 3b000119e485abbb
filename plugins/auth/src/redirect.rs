//! Where a browser may be sent after signing in: listed addresses, compared character by character, and pages of this
//! installation. Nothing is parsed, so there is nothing that two parsers could read differently.

use nself_plugin_api::prelude::*;

use crate::{config::Config, problem, provider::urlencoded};

/// Longest target.
const LENGTH_MAX: usize = 2_000;

/// The address that `target` stands for, if a browser may be sent there.
///
/// # Errors
///
/// `REDIRECT_NOT_ALLOWED`.
pub(crate) fn allowed(config: &Config, target: &str) -> Result<String> {
    if config.redirect_urls.iter().any(|listed| listed == target) {
        Ok(target.to_owned())
    } else if is_page(target) {
        Ok(format!(
            "{}{target}",
            config.public_url.trim_end_matches('/')
        ))
    } else {
        Err(problem::redirect_not_allowed())
    }
}

/// Whether it is a path of this installation: words between single slashes, none of them only dots, nothing escaped.
fn is_page(target: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_word = |word: &str| word.bytes().all(is_plain) && !word.bytes().all(|byte| byte == b'.');
    target.len() <= LENGTH_MAX
        && target
            .strip_prefix('/')
            .is_some_and(|path| path.is_empty() || path.split('/').all(is_word))
}

/// The target with what its page is told.
pub(crate) fn with(target: &str, answer: &[(&str, &str)]) -> Result<String> {
    let joint = if target.contains('?') { '&' } else { '?' };
    Ok(format!("{target}{joint}{}", urlencoded(answer)?))
}

/// Looks through the list.
///
/// # Errors
///
/// `CONFIG_INVALID` for an address that a browser must not be sent to, or that nothing can be added to.
pub(crate) fn check_list(config: &Config) -> Result<()> {
    let is_good = |address: &String| {
        let scheme = address.split_once(':').map(|(scheme, _)| scheme);
        let runs = ["javascript", "data", "vbscript", "file", "blob"];
        scheme.is_some_and(|scheme| {
            !scheme.is_empty() && !runs.contains(&&*scheme.to_ascii_lowercase())
        }) && address.bytes().all(|byte| byte.is_ascii_graphic())
            && !address.contains(['#', '\\', '*'])
            && address.len() <= LENGTH_MAX
    };
    match config
        .redirect_urls
        .iter()
        .position(|address| !is_good(address))
    {
        None => Ok(()),
        Some(at) => Err(Error::invalid(
            "CONFIG_INVALID",
            format!(
                "redirect_urls[{at}]: expected a whole address such as https://home.example/signed-in or family://auth, \
                 in ASCII, without a fragment or *"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            public_url: "https://home.example".into(),
            redirect_urls: vec![
                "https://app.example/signed-in".into(),
                "https://app.example/with?a=b".into(),
                "family://auth".into(),
            ],
            ..Config::default()
        }
    }

    #[test]
    fn a_listed_address_and_a_page_are_allowed() {
        for (target, expected) in [
            (
                "https://app.example/signed-in",
                "https://app.example/signed-in",
            ),
            ("family://auth", "family://auth"),
            ("/", "https://home.example/"),
            (
                "/auth/signed-in.html",
                "https://home.example/auth/signed-in.html",
            ),
        ] {
            assert_eq!(allowed(&config(), target).expect(target), expected);
        }
    }

    #[test]
    fn nothing_that_only_looks_like_one_is() {
        for target in [
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\evil.example",
            "https:evil.example",
            "https:/evil.example",
            "https://evil.example",
            "https://app.example",
            "https://app.example/signed-in/",
            "https://app.example/signed-in/more",
            "https://app.example/signed-in?x",
            "https://app.example/signed-in#x",
            "https://app.example:444/signed-in",
            "https://app.example@evil.example/signed-in",
            "https://user@app.example/signed-in",
            "https://x.app.example/signed-in",
            "https://app.example.evil.example/signed-in",
            "http://app.example/signed-in",
            "HTTPS://app.example/signed-in",
            "https://App.example/signed-in",
            "https://\u{430}pp.example/signed-in",
            "https://app\u{3002}example/signed-in",
            " https://app.example/signed-in",
            "https://app.example/signed-in\r\nx: y",
            "https://app.example/signed-in%0d%0ax",
            "javascript:alert(1)",
            "JavaScript:alert(1)//https://app.example/signed-in",
            "data:text/html,x",
            "/a//b",
            "/../a",
            "/a/..",
            "/a/./b",
            "/a?b",
            "/a#b",
            "/a%2f%2fevil.example",
            "/%5cevil.example",
            "/a:b",
            "/a b",
            "/a\r\n",
            "/\tevil",
            "page",
            "family://auth/",
            "evil.example?.app.example",
        ] {
            let refused = allowed(&config(), target).expect_err(target);
            assert_eq!(refused.code(), "REDIRECT_NOT_ALLOWED", "{target}");
        }
    }

    #[test]
    fn what_a_page_is_told_cannot_leave_its_place() {
        let code = [("code", "a&b#c\r\n"), ("state", "\u{fc}")];
        assert_eq!(
            with("https://app.example/", &code).expect("a target"),
            "https://app.example/?code=a%26b%23c%0D%0A&state=%C3%BC"
        );
        assert_eq!(
            with("https://app.example/?a=b", &[("c", "d")]).expect("a target"),
            "https://app.example/?a=b&c=d"
        );
    }

    #[test]
    fn a_list_with_what_must_not_be_opened_is_refused() {
        assert!(check_list(&config()).is_ok());
        for address in [
            "javascript:alert(1)",
            "Data:text/html,x",
            "/page",
            "https://app.example/#x",
            "https://*.example/",
            "https://b\u{fc}cher.example/",
            "https://app.example/ x",
        ] {
            let mut config = config();
            config.redirect_urls.push(address.into());
            assert!(check_list(&config).is_err(), "{address}");
        }
    }
}
