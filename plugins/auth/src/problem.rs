//! The errors that more than one place answers with.

use std::time::Duration;

use nself_plugin_api::{prelude::*, serde_json::json};
use uuid::Uuid;

use crate::webauthn::Refusal;

/// One answer for an unknown address, a wrong password, a suspended and an unverified account: it tells nothing.
pub(crate) fn bad_credentials() -> Error {
    Error::new(
        401,
        "CREDENTIALS_INVALID",
        "address or password is wrong, or the address is not verified yet",
    )
}

pub(crate) fn bad_refresh() -> Error {
    Error::new(
        401,
        "REFRESH_TOKEN_INVALID",
        "the refresh token is not valid: sign in again",
    )
}

pub(crate) fn refresh_reused() -> Error {
    Error::new(
        401,
        "REFRESH_TOKEN_REUSED",
        "the refresh token was used before; somebody may have copied it, so the session was ended: sign in again",
    )
}

pub(crate) fn session_ended() -> Error {
    Error::new(
        401,
        "SESSION_REVOKED",
        "the session has ended: sign in again",
    )
}

pub(crate) fn session_expired() -> Error {
    Error::new(
        401,
        "SESSION_EXPIRED",
        "the session was not used for too long: sign in again",
    )
}

/// The same for a family that is not the caller's and for one that is not there.
pub(crate) fn not_a_member(family: Uuid) -> Error {
    Error::not_found("FAMILY_NOT_FOUND", "there is no such family of yours")
        .with_details(json!({"family_id": family}))
}

pub(crate) fn bad_email(why: &'static str) -> Error {
    Error::invalid("EMAIL_INVALID", format!("email: {why}"))
}

/// One answer for a wrong, an old, a used and an unknown code.
pub(crate) fn bad_code() -> Error {
    Error::new(
        401,
        "CODE_INVALID",
        "the code or link is wrong, was used before, or is too old: ask for a new one",
    )
}

pub(crate) fn too_many_tries(wait: Duration) -> Error {
    let seconds = wait.as_secs().max(1);
    Error::new(
        429,
        "TOO_MANY_TRIES",
        "too many tries: wait before the next one",
    )
    .with_retry_after(Duration::from_secs(seconds))
    .with_details(json!({"retry_after_seconds": seconds}))
}

/// One answer for a passkey that is unknown, was removed, or did not verify.
pub(crate) fn bad_passkey() -> Error {
    Error::new(
        401,
        "PASSKEY_INVALID",
        "the passkey was not accepted: try again, or sign in another way",
    )
}

/// Told whole: who registers a passkey is signed in, and whoever writes the page must find out what is wrong with it.
pub(crate) fn passkey_refused(refusal: Refusal) -> Error {
    Error::invalid("PASSKEY_REFUSED", format!("credential: {refusal}"))
}

pub(crate) fn second_factor_required(methods: &[&str]) -> Error {
    Error::forbidden(
        "SECOND_FACTOR_REQUIRED",
        "this account has a second factor: show it as well, as code, recovery_code or passkey",
    )
    .with_details(json!({"methods": methods}))
}

pub(crate) fn step_up() -> Error {
    Error::forbidden(
        "STEP_UP_REQUIRED",
        "this needs a fresh proof that it is you: POST /auth/reauthenticate, then try again",
    )
}
