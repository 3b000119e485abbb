//! The errors that more than one place answers with.

use std::time::Duration;

use nself_plugin_api::{prelude::*, serde_json::json};
use uuid::Uuid;

use crate::{store::erasure::Owned, webauthn::Refusal};

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

/// A rule of this installation that could not be asked: nobody is let past it.
pub(crate) fn hook_unavailable() -> Error {
    Error::unavailable(
        "HOOK_UNAVAILABLE",
        "a rule of this installation could not be asked: try again in a moment",
        Duration::from_secs(2),
    )
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

/// One answer for an unknown, an ended and a revoked token, and for one whose owner is suspended.
pub(crate) fn bad_api_token() -> Error {
    Error::new(
        401,
        "API_TOKEN_INVALID",
        "the token is not valid: check it, or make a new one",
    )
}

/// What needs an account that somebody can come back to.
pub(crate) fn anonymous() -> Error {
    Error::forbidden(
        "ACCOUNT_ANONYMOUS",
        "this account has no address yet: give it one first, with POST /auth/anonymous/upgrade",
    )
}

/// The same for a place that is not configured and for one that has no ID tokens.
pub(crate) fn no_provider() -> Error {
    Error::not_found(
        "PROVIDER_NOT_FOUND",
        "there is no such place to sign in with: see GET /auth/providers",
    )
}

pub(crate) fn provider_denied() -> Error {
    Error::forbidden(
        "PROVIDER_DENIED",
        "the other place was asked, and somebody said no there",
    )
}

/// One answer for a token that is forged, of somebody else, old, or was shown before.
pub(crate) fn bad_id_token() -> Error {
    Error::new(
        401,
        "ID_TOKEN_INVALID",
        "the ID token is not valid here: ask the other place for a new one",
    )
}

/// One answer for an answer that nobody waits for: unknown, used, too old, from another browser or another place.
pub(crate) fn bad_flow() -> Error {
    Error::bad_request(
        "OAUTH_FLOW_INVALID",
        "nobody waits for this answer in this browser, or not any more: begin again",
    )
}

pub(crate) fn bad_challenge() -> Error {
    Error::invalid(
        "CODE_CHALLENGE_INVALID",
        "code_challenge: expected the base64url of a SHA-256, by the method S256",
    )
}

pub(crate) fn redirect_not_allowed() -> Error {
    Error::invalid(
        "REDIRECT_NOT_ALLOWED",
        "redirect_to: expected an address that is listed in redirect_urls, or a path of this installation",
    )
}

pub(crate) fn link_requires_sign_in() -> Error {
    Error::conflict(
        "LINK_REQUIRES_SIGN_IN",
        "sign in to your account in another way first, and link the other place there",
    )
}

pub(crate) fn sign_up_closed() -> Error {
    Error::forbidden(
        "SIGN_UP_CLOSED",
        "accounts are made by invitation here: ask a member of your family for one",
    )
}

pub(crate) fn email_taken() -> Error {
    Error::conflict(
        "EMAIL_TAKEN",
        "email: there is an account with this address; sign in, or ask for a new password",
    )
}

/// One answer for a passkey that is unknown, was removed, or did not verify.
pub(crate) fn bad_passkey() -> Error {
    Error::new(
        401,
        "PASSKEY_INVALID",
        "the passkey was not accepted: try again, or sign in another way",
    )
}

/// The same for a passkey that is not there and for somebody else's.
pub(crate) fn no_passkey() -> Error {
    Error::not_found("PASSKEY_NOT_FOUND", "there is no such passkey of yours")
}

pub(crate) fn passkey_known() -> Error {
    Error::conflict("PASSKEY_KNOWN", "this passkey is registered already")
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

/// The same for a member of another family and for one that is not there.
pub(crate) fn no_member(member: Uuid) -> Error {
    Error::not_found("MEMBER_NOT_FOUND", "there is no such member of this family")
        .with_details(json!({"member_id": member}))
}

/// For members of the family only: who is none gets [`not_a_member`].
pub(crate) fn role_too_low() -> Error {
    Error::forbidden(
        "ROLE_TOO_LOW",
        "your role in this family does not allow that",
    )
}

pub(crate) fn last_owner() -> Error {
    Error::conflict(
        "LAST_OWNER",
        "a family needs an owner: hand it over first, or delete it",
    )
}

pub(crate) fn child_account() -> Error {
    Error::forbidden(
        "CHILD_ACCOUNT",
        "the account of a child cannot do that, and cannot have that done to it: its guardians decide",
    )
}

pub(crate) fn family_limit(what: &'static str) -> Error {
    Error::conflict("FAMILY_LIMIT", format!("there are too many {what}"))
}

/// Told to who may take it back only: for everybody else it is not there.
pub(crate) fn family_lost() -> Error {
    Error::conflict(
        "FAMILY_LOST",
        "the family cannot be taken back any more: its 30 days are over, or nobody is left who owns it",
    )
}

pub(crate) fn family_kept() -> Error {
    Error::conflict(
        "FAMILY_KEPT",
        "the family is kept: it was not exported since it was deleted, or its 30 days are not over",
    )
}

pub(crate) fn already_a_member() -> Error {
    Error::conflict(
        "ALREADY_A_MEMBER",
        "you are a member of this family already",
    )
}

pub(crate) fn bad_invitation() -> Error {
    Error::invalid(
        "INVITATION_INVALID",
        "an invitation is open for 1 to 30 days and good for 1 to 100 people; one that is mailed is for one",
    )
}

/// The same for an invitation of another family and for one that is not there.
pub(crate) fn no_invitation(invitation: Uuid) -> Error {
    Error::not_found(
        "INVITATION_NOT_FOUND",
        "there is no such open invitation of this family",
    )
    .with_details(json!({"invitation_id": invitation}))
}

/// The same for a code that is wrong, too old, decided on, and not there.
pub(crate) fn no_device_code() -> Error {
    Error::not_found(
        "DEVICE_CODE_NOT_FOUND",
        "no machine waits under this code: look at it again, or let the machine begin anew",
    )
}

/// The same for a machine of another family and for one that is not there.
pub(crate) fn no_device(device: Uuid) -> Error {
    Error::not_found(
        "DEVICE_NOT_FOUND",
        "there is no such machine in this family",
    )
    .with_details(json!({"device_id": device}))
}

/// Told with the families, because they are the caller's own.
pub(crate) fn last_owner_of(families: &[Owned]) -> Error {
    Error::conflict(
        "LAST_OWNER",
        "a family with other members would be left without an owner: hand over the ownership, or delete the family, first",
    )
    .with_details(json!({"families": families}))
}
