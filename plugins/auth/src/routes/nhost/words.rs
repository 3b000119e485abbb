//! Errors of the engine in hasura-auth's words.

use nself_plugin_api::{
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    prelude::*,
    serde_json::json,
    tracing::error,
};

/// Codes of ours that have a word and a sentence there.
const WORDS: &[(&[&str], u16, &str, &str)] = &[
    (
        &["CREDENTIALS_INVALID"],
        401,
        "invalid-email-password",
        "Incorrect email or password",
    ),
    (
        &[
            "REFRESH_TOKEN_INVALID",
            "REFRESH_TOKEN_REUSED",
            "SESSION_REVOKED",
            "SESSION_EXPIRED",
        ],
        401,
        "invalid-refresh-token",
        "Invalid or expired refresh token",
    ),
    (
        &["API_TOKEN_INVALID"],
        401,
        "invalid-pat",
        "Invalid or expired personal access token",
    ),
    (
        &["REDIRECT_NOT_ALLOWED"],
        400,
        "redirectTo-not-allowed",
        "The value of \"options.redirectTo\" is not allowed.",
    ),
    (
        &["EMAIL_TAKEN"],
        409,
        "email-already-in-use",
        "Email already in use",
    ),
    (
        &["SIGN_UP_CLOSED"],
        403,
        "signup-disabled",
        "Sign up is disabled.",
    ),
    (
        &["ANONYMOUS_DISABLED", "PROVIDER_NOT_FOUND"],
        409,
        "disabled-endpoint",
        "This endpoint is disabled",
    ),
    (
        &["ACCOUNT_ANONYMOUS"],
        403,
        "forbidden-anonymous",
        "Forbidden, user is anonymous.",
    ),
    (
        &["ACCOUNT_NOT_ANONYMOUS"],
        400,
        "user-not-anonymous",
        "Logged in user is not anonymous",
    ),
    (
        &["PROVIDER_DENIED"],
        400,
        "oauth-provider-error",
        "Provider returned an error",
    ),
    (
        &["PROVIDER_FAILED"],
        400,
        "oauth-profile-fetch-failed",
        "Failed to get user profile",
    ),
    (
        &["OAUTH_FLOW_INVALID"],
        400,
        "invalid-state",
        "Invalid state",
    ),
    (
        &["IDENTITY_TAKEN"],
        400,
        "provider-account-already-linked",
        "This provider account is already linked to a user",
    ),
];

/// Codes of ours that have a word there, and keep our sentence: it says what to do.
const WORD_ALONE: &[(&str, u16, &str)] = &[
    ("PASSWORD_TOO_SHORT", 400, "password-too-short"),
    ("PASSWORD_COMMON", 400, "password-in-hibp-database"),
    ("LOCALE_INVALID", 400, "locale-not-allowed"),
    ("ROLE_NOT_ALLOWED", 400, "role-not-allowed"),
    ("CODE_INVALID", 401, "invalid-ticket"),
    ("STEP_UP_REQUIRED", 403, "elevated-claim-required"),
    ("TOO_MANY_TRIES", 429, "too-many-requests"),
    ("LINK_REQUIRES_SIGN_IN", 401, "unverified-user"),
    // hasura-auth says no more of a credential, a key or a token that is not accepted.
    ("PASSKEY_INVALID", 400, "invalid-request"),
    ("PASSKEY_NOT_FOUND", 400, "invalid-request"),
    ("ID_TOKEN_INVALID", 400, "invalid-request"),
];

/// Status, word and sentence. What hasura-auth has no word for is `invalid-request`, with our sentence.
pub(super) fn words(error: &Error) -> (u16, &'static str, &str) {
    let code = error.code();
    let known = WORDS.iter().find(|(codes, ..)| codes.contains(&code));
    if let Some((_, status, word, sentence)) = known {
        return (*status, word, sentence);
    }
    let known = WORD_ALONE.iter().find(|(known, ..)| *known == code);
    let (status, word) = match known {
        Some((_, status, word)) => (*status, *word),
        None if error.status() >= 500 => (error.status(), "internal-server-error"),
        // hasura-auth knows no 422.
        None if error.status() == 422 => (400, "invalid-request"),
        None => (error.status(), "invalid-request"),
    };
    (status, word, error.message())
}

/// The answer, as hasura-auth gives it.
pub(super) fn refusal(error: &Error) -> Response {
    let (status, word, message) = words(error);
    if error.status() >= 500 {
        error!(
            code = error.code(),
            cause = error.cause(),
            "a request in hasura-auth's words failed"
        );
    }
    let body = json!({"status": status, "message": message, "error": word}).to_string();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer = Response::new(status, body).content_type("application/json");
    match error.retry_after() {
        Some(after) => answer.header(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1))),
        None => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hasura_auth_has_no_word_for_is_an_invalid_request() {
        let odd = Error::invalid("TIMEZONE_INVALID", "what is wrong");
        assert_eq!(words(&odd), (400, "invalid-request", "what is wrong"));
        let down = Error::new(503, "DATABASE_UNAVAILABLE", "not now");
        assert_eq!(words(&down), (503, "internal-server-error", "not now"));
    }
}
