//! Secrets that everybody knows: from tutorials, demo stacks and default installations.

use serde_json::Value;

use super::cascade::Settings;
use super::keys::{self, Depth, Place};
use super::{ConfigError, Environment, Kind};

/// Compared without regard to case, `-` and `_`.
const KNOWN: &[&str] = &[
    "123456",
    "12345678",
    "admin",
    "adminsecret",
    "default",
    "example",
    "hasura",
    "hasuraadminsecret",
    "jwtsecret",
    "letmein",
    "minio",
    "minioadmin",
    "minio123",
    "myadminsecretkey",
    "mysecret",
    "nhostadminsecret",
    "nself",
    "pass",
    "passw0rd",
    "password",
    "postgres",
    "redis",
    "root",
    "s3cr3t",
    "secret",
    "secretkey",
    "test",
    "token",
    "thispasswordisinsecureandshouldbeupdated",
    "yourjwtsecret",
    // The signing key of Nhost's example configuration.
    "0f987876650b4a085e64594fae9219e7781b17506bec02489ad061fba8cb22db",
];

/// Beginnings of placeholders, compared likewise.
const KNOWN_BEGINNINGS: &[&str] = &[
    "supersecret",
    "yoursupersecret",
    "your256bitsecret",
    "yoursecret",
    "changeme",
    "changethis",
    "replaceme",
    "devsecret",
    "jwtsecret",
];

/// Refuses known default secrets outside development.
pub(super) fn refuse(environment: Environment, settings: &Settings) -> Result<(), ConfigError> {
    if environment == Environment::Development {
        return Ok(());
    }
    let known = settings
        .values()
        .find(|setting| any_known(&setting.value, holds_secret(&setting.path)));
    known.map_or(Ok(()), |setting| {
        Err(ConfigError::KnownSecret {
            key: setting.path.join("."),
            origin: setting.origin.clone(),
            environment,
        })
    })
}

/// Whether a plugin's key names a secret, so that its text is masked and checked.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = [
        "secret",
        "password",
        "passwd",
        "passphrase",
        "token",
        "private",
        "credential",
        "dsn",
        "apikey",
    ];
    words.iter().any(|word| name.contains(word)) || name == "key" || name.ends_with("_key")
}

fn holds_secret(path: &[String]) -> bool {
    match keys::find(path) {
        Place::Key(key, Depth::Whole) => matches!(key.kind, Kind::Secret),
        Place::Key(_, Depth::Inside) => path.iter().skip(3).any(|name| is_secret_name(name)),
        Place::Section | Place::Unknown(_) => false,
    }
}

/// Looks at passwords inside URLs everywhere, at whole texts only where `secret` says that they are one.
fn any_known(value: &Value, secret: bool) -> bool {
    match value {
        Value::String(text) => password_in_url(text).map_or(secret && is_known(text), is_known),
        Value::Array(list) => list.iter().any(|item| any_known(item, secret)),
        Value::Object(table) => table
            .iter()
            .any(|(name, value)| any_known(value, secret || is_secret_name(name))),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_known(secret: &str) -> bool {
    let plain: String = secret
        .chars()
        .filter(|letter| !"-_ ".contains(*letter))
        .collect::<String>()
        .to_lowercase();
    let placeholder = KNOWN_BEGINNINGS
        .iter()
        .any(|beginning| plain.starts_with(beginning))
        || plain.contains("32char");
    placeholder || KNOWN.contains(&plain.as_str())
}

/// `p` in `scheme://user:p@host/…`; `None` when the text is no URL with a password.
pub(super) fn password_in_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user_info, _) = authority.rsplit_once('@')?;
    user_info.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(any_known(&Value::from(text), true), expected, "{text}");
    }

    #[test]
    fn defaults_of_tutorials_are_known_also_inside_urls() {
        check("minioadmin", true);
        check("Change-Me-please", true);
        check(
            "your-super-secret-jwt-token-with-at-least-32-characters-long",
            true,
        );
        check("postgres://postgres:postgres@db:5432/app", true);
        check("postgres://postgres:mF9x2Lq0@db:5432/app", false);
        check("postgres://postgres@db/app", false);
        check("b1946ac92492d2347c6235b4d2611184", false);
    }
}
