//! What another plugin may add to a token: claims of its own, and never one that says who the bearer is or what they may.

use nself_plugin_api::serde_json::{Map, Value};

/// Most bytes that all of them have as JSON: a token travels in a header with every request.
const BYTES_MAX: usize = 4 * 1024;

const NAME_BYTES_MAX: usize = 100;

/// How variables for Hasura's rules begin.
const VARIABLE: &str = "x-hasura-";

/// How variables begin that are this plugin's, the host's or Hasura's own, whether or not they stand in this token: who has
/// no family must not be given one.
const RESERVED_VARIABLES: [&str; 13] = [
    "aal",
    "access",
    "admin",
    "allowed",
    "auth",
    "default",
    "device",
    "family",
    "member",
    "role",
    "session",
    "use-backend",
    "user",
];

/// Claims that are Hasura's namespace, in this version of it or another.
const RESERVED_CLAIMS: &str = "https://hasura.io/";

/// What a hook adds to a token.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Beside the registered claims.
    pub(crate) claims: Map<String, Value>,
    /// Beside Hasura's session variables.
    pub(crate) variables: Map<String, Value>,
}

impl Extra {
    /// Reads an answer; `Err` says what in it is not allowed.
    pub(super) fn read(answer: Map<String, Value>) -> Result<Self, String> {
        let bytes = Value::from(answer.clone()).to_string().len();
        if bytes > BYTES_MAX {
            return Err(format!(
                "its claims have {bytes} bytes, at most {BYTES_MAX} are allowed"
            ));
        }
        let mut extra = Self::default();
        for (name, value) in answer {
            if let Some(variable) = name.strip_prefix(VARIABLE) {
                if !is_own_variable(variable) || !value.is_string() {
                    return Err(format!(
                        "{name:?} is no variable of its own with a text in it"
                    ));
                }
                extra.variables.insert(name, value);
            } else if is_own_claim(&name) {
                extra.claims.insert(name, value);
            } else {
                return Err(format!(
                    "{name:?} is no claim of its own: such a name has a dot, a colon or a slash in it"
                ));
            }
        }
        Ok(extra)
    }
}

/// Registered claims are single words, now and in times to come; so are this plugin's. Capital letters are out, because
/// Hasura does not tell them from small ones.
fn is_own_claim(name: &str) -> bool {
    let is_sign =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.:/".contains(&byte);
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(is_sign)
        && name.contains(['.', ':', '/'])
        && !name.starts_with(RESERVED_CLAIMS)
}

fn is_own_variable(name: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_sign)
        && !RESERVED_VARIABLES
            .iter()
            .any(|reserved| name.starts_with(reserved))
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::serde_json::json;

    use super::*;

    fn read(answer: &Value) -> Result<Extra, String> {
        let answer = answer.as_object().expect("an object");
        Extra::read(answer.clone())
    }

    #[test]
    fn claims_and_variables_of_its_own_are_taken() {
        let answer = json!({
            "chores.points": 7, "https://example.org/plan": {"name": "pro"}, "x-hasura-plan": "pro",
        });
        let extra = read(&answer).expect("its own");
        assert_eq!(extra.claims.len(), 2);
        assert_eq!(extra.variables.get("x-hasura-plan"), Some(&json!("pro")));
    }

    #[track_caller]
    fn check_refused(name: &str) {
        let why = read(&json!({name: "x"})).expect_err("not its own");
        assert!(why.contains(name), "{why}");
    }

    #[test]
    fn nothing_that_says_who_the_bearer_is_or_what_they_may_is_taken() {
        for name in [
            "sub",
            "iss",
            "aud",
            "exp",
            "nbf",
            "iat",
            "jti",
            "sid",
            "acr",
            "amr",
            "aal",
            "epoch",
            "scope",
            "roles",
            "email",
            "app_roles",
            "client_id",
            "auth_time",
            "cnf",
            "",
        ] {
            check_refused(name);
        }
        for name in [
            "x-hasura-user-id",
            "x-hasura-role",
            "x-hasura-default-role",
            "x-hasura-allowed-roles",
            "x-hasura-family-id",
            "x-hasura-family-ids",
            "x-hasura-member-id",
            "x-hasura-device-id",
            "x-hasura-session-id",
            "x-hasura-aal",
            "x-hasura-auth-elevated",
            "x-hasura-admin-secret",
            "x-hasura-access-key",
            "x-hasura-use-backend-only-permissions",
            "x-hasura-",
        ] {
            check_refused(name);
        }
    }

    #[test]
    fn another_spelling_is_no_way_around() {
        for name in [
            "X-Hasura-User-Id",
            "x-hasura-User-Id",
            "x-hasura-user_id",
            "x-hasura-\u{ff55}ser-id",
            "https://hasura.io/jwt/claims",
            "HTTPS://HASURA.IO/jwt/claims",
            "Sub",
            " sub",
            "chores.points ",
        ] {
            check_refused(name);
        }
    }

    #[test]
    fn a_variable_is_a_text_and_all_together_are_small() {
        assert!(read(&json!({"x-hasura-points": 7})).is_err());
        assert!(read(&json!({"x-hasura-lists": ["a"]})).is_err());
        assert!(read(&json!({"chores.diary": "x".repeat(BYTES_MAX)})).is_err());
    }
}
