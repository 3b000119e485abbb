//! HTTP digest authentication: RFC 7616.

use std::fmt::Write as _;

use md5::Md5;
use nself_plugin_api::http::HeaderMap;
use sha2::{Digest as _, Sha256, Sha512_256};

/// What hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
    Sha512,
}

impl Algorithm {
    fn of(word: &str) -> Option<(Self, bool)> {
        let word = word.to_ascii_lowercase();
        let (word, is_session) = word
            .strip_suffix("-sess")
            .map_or((&*word, false), |word| (word, true));
        let algorithm = match word {
            "md5" => Self::Md5,
            "sha-256" => Self::Sha256,
            "sha-512-256" => Self::Sha512,
            _ => return None,
        };
        Some((algorithm, is_session))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512-256",
        }
    }

    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hexadecimal(&Md5::digest(text)),
            Self::Sha256 => hexadecimal(&Sha256::digest(text)),
            Self::Sha512 => hexadecimal(&Sha512_256::digest(text)),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a server wants to be digested.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the header"
)]
pub(super) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    is_session: bool,
    /// Older servers name no quality.
    has_quality: bool,
    hides_user: bool,
    pub is_stale: bool,
}

/// What is digested.
pub(super) struct Request<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub username: &'a str,
    pub password: &'a str,
    /// What this side adds.
    pub nonce: &'a str,
}

/// The strongest challenge that can be answered.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all("www-authenticate").iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let all = texts
        .flat_map(challenges)
        .filter_map(|(scheme, parameters)| {
            if !scheme.eq_ignore_ascii_case("digest") {
                return None;
            }
            let get = |name: &str| {
                let found = parameters
                    .iter()
                    .find(|(one, _)| one.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            let is = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
            let (algorithm, is_session) =
                Algorithm::of(get("algorithm").as_deref().unwrap_or("MD5"))?;
            let quality = get("qop");
            let has_auth = |quality: &String| quality.split(',').any(|one| one.trim() == "auth");
            if quality.as_ref().is_some_and(|quality| !has_auth(quality)) {
                return None;
            }
            Some(Challenge {
                realm: get("realm")?,
                nonce: get("nonce")?,
                opaque: get("opaque"),
                algorithm,
                is_session,
                has_quality: quality.is_some(),
                hides_user: is("userhash"),
                is_stale: is("stale"),
            })
        });
    all.max_by_key(|challenge| challenge.algorithm)
}

/// The challenges of a header: schemes with their parameters.
fn challenges(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for item in items(header) {
        let item = item.trim();
        let before = item.split('=').next().unwrap_or_default().trim_end();
        let (scheme, parameter) = match before.split_once(' ') {
            Some((scheme, _)) => (Some(scheme), item[scheme.len()..].trim_start()),
            None if !item.contains('=') => (Some(item), ""),
            None => (None, item),
        };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.is_empty()) {
            found.push((scheme.to_owned(), Vec::new()));
        }
        if let (Some((_, parameters)), Some((name, value))) =
            (found.last_mut(), parameter.split_once('='))
        {
            parameters.push((name.trim().to_owned(), unquoted(value.trim())));
        }
    }
    found
}

/// What stands between commas that no quotes are around.
fn items(header: &str) -> Vec<String> {
    let (mut items, mut is_quoted, mut is_escaped) = (vec![String::new()], false, false);
    for one in header.chars() {
        if one == ',' && !is_quoted {
            items.push(String::new());
            continue;
        }
        if one == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && one == '\\' && !is_escaped;
        if let Some(item) = items.last_mut() {
            item.push(one);
        }
    }
    items
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
    else {
        return value.to_owned();
    };
    let (mut text, mut is_escaped) = (String::new(), false);
    for one in inner.chars() {
        if one == '\\' && !is_escaped {
            is_escaped = true;
            continue;
        }
        is_escaped = false;
        text.push(one);
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Challenge {
    /// The value of the header `authorization`.
    pub(super) fn answer(&self, request: &Request<'_>) -> String {
        let Request {
            method,
            uri,
            username,
            password,
            nonce,
        } = *request;
        let (algorithm, count) = (self.algorithm, "00000001");
        let mut secret = algorithm.hash(&[username, &self.realm, password]);
        if self.is_session {
            secret = algorithm.hash(&[&secret, &self.nonce, nonce]);
        }
        let what = algorithm.hash(&[method, uri]);
        let response = if self.has_quality {
            algorithm.hash(&[&secret, &self.nonce, count, nonce, "auth", &what])
        } else {
            algorithm.hash(&[&secret, &self.nonce, &what])
        };
        let user = if self.hides_user {
            format!(
                "username={}, userhash=true",
                quoted(&algorithm.hash(&[username, &self.realm]))
            )
        } else if username.is_ascii() {
            format!("username={}", quoted(username))
        } else {
            let name =
                percent_encoding::utf8_percent_encode(username, percent_encoding::NON_ALPHANUMERIC);
            format!("username*=UTF-8''{name}")
        };
        let session = if self.is_session { "-sess" } else { "" };
        let mut value = format!(
            "Digest {user}, realm={}, nonce={}, uri={}, algorithm={}{session}, response=\"{response}\"",
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(uri),
            algorithm.name(),
        );
        if self.has_quality || self.is_session {
            let _ = write!(value, ", cnonce={}", quoted(nonce));
        }
        if self.has_quality {
            let _ = write!(value, ", qop=auth, nc={count}");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(value, ", opaque={}", quoted(opaque));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("www-authenticate", HeaderValue::from_static(value));
        }
        headers
    }

    const SHA: &str = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
    const MD5: &str = "Basic realm=\"a, b\", Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[track_caller]
    fn check(values: &[&'static str], algorithm: &str, response: &str) {
        let challenge = challenge(&headers(values)).expect("it can be answered");
        let value = challenge.answer(&Request {
            method: "GET",
            uri: "/dir/index.html",
            username: "Mufasa",
            password: "Circle of Life",
            nonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        });
        for part in [
            format!("algorithm={algorithm},"),
            format!("response=\"{response}\""),
            "qop=auth, nc=00000001".to_owned(),
            "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"".to_owned(),
        ] {
            assert!(value.contains(&part), "{value}");
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_answered_as_it_says() {
        check(&[MD5], "MD5", "8ca523f5e9506fed4657c9700eebdbec");
        let sha = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        check(&[SHA], "SHA-256", sha);
        check(&[MD5, SHA], "SHA-256", sha);
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        for value in [
            "Basic realm=\"a\"",
            "Digest realm=\"a\"",
            "Digest realm=\"a\", nonce=\"b\", qop=\"auth-int\"",
            "Digest realm=\"a\", nonce=\"b\", algorithm=SHA-1",
        ] {
            assert_eq!(challenge(&headers(&[value])), None, "{value}");
        }
    }

    #[test]
    fn an_old_server_gets_what_it_knows_and_quotes_stay_whole() {
        let found = challenge(&headers(&[
            "Digest realm=\"a \\\"b\\\", c\",nonce=\"d\", stale=TRUE",
        ]));
        let found = found.expect("it can be answered");
        assert_eq!((&*found.realm, found.is_stale), ("a \"b\", c", true));
        let value = found.answer(&Request {
            method: "GET",
            uri: "/",
            username: "ü",
            password: "x",
            nonce: "y",
        });
        assert!(value.contains("realm=\"a \\\"b\\\", c\""), "{value}");
        assert!(value.contains("username*=UTF-8''%C3%BC"), "{value}");
        assert!(!value.contains("qop"), "{value}");
    }
}
