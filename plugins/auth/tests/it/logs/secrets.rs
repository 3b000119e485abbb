//! What was secret in a test, to be looked for where it must not stand.

use std::collections::BTreeSet;

use serde_json::Value;

/// Fields whose text is secret, in requests and answers of all surfaces.
const FIELDS: [&str; 27] = [
    "access_token",
    "accessToken",
    "client_secret",
    "code",
    "codeVerifier",
    "code_verifier",
    "current_password",
    "clientDataJSON",
    "device_code",
    "email",
    "idToken",
    "id_token",
    "invitation",
    "link",
    "newPassword",
    "password",
    "personalAccessToken",
    "recovery_code",
    "recovery_codes",
    "refresh_token",
    "refreshToken",
    "signature",
    "secret",
    "ticket",
    "token",
    "url",
    "user_code",
];

/// Shorter ones stand everywhere by chance when they are looked for inside of words.
const INSIDE_WORDS_FROM: usize = 12;

#[derive(Debug, Default)]
pub(super) struct Secrets(BTreeSet<String>);

impl Secrets {
    pub(super) fn keep(&mut self, secret: &str) {
        assert!(secret.len() >= 6, "{secret} is too short to be looked for");
        self.0.insert(secret.to_owned());
        // As they stand in forms and addresses, or without what people read them by.
        self.0.insert(secret.replace('@', "%40").replace(' ', "+"));
        self.0.insert(secret.replace('-', ""));
    }

    /// Keeps what stands in fields that are secret, however deep.
    pub(super) fn learn(&mut self, body: &Value) {
        match body {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if FIELDS.contains(&&**name) {
                        self.keep_all(value);
                    }
                    self.learn(value);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.learn(value)),
            _ => {}
        }
    }

    fn keep_all(&mut self, value: &Value) {
        match value {
            Value::String(secret) => self.keep(secret),
            Value::Array(values) => values.iter().for_each(|value| self.keep_all(value)),
            _ => {}
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that stand in a text.
    pub(super) fn found_in<'a>(&'a self, text: &str) -> Vec<&'a str> {
        let secrets = self.0.iter().map(String::as_str);
        secrets.filter(|secret| stands_in(text, secret)).collect()
    }
}

fn stands_in(text: &str, secret: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    text.match_indices(secret).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + secret.len()..].chars().next();
        secret.len() >= INSIDE_WORDS_FROM
            || !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[test]
fn a_secret_is_found_and_a_number_that_looks_like_one_is_not() {
    let mut secrets = Secrets::default();
    secrets.learn(
        &serde_json::json!({"data": {"code": "123456", "tokens": [{"token": "abcdefghijkl"}]}}),
    );
    assert_eq!(secrets.found_in("took 0.123456 s, 1234567 in all"), [""; 0]);
    assert_eq!(secrets.found_in("code=123456&"), ["123456"]);
    assert_eq!(secrets.found_in("xabcdefghijklx"), ["abcdefghijkl"]);
}
