//! `/auth/mfa`: the second factor, enrolled and shown.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::json};
use qrcode::{QrCode, render::svg};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    account::User,
    caller::Caller,
    notify,
    passkey::PasskeyProof,
    problem, recovery,
    second_factor::{self, Factor},
    session::{self, Tokens},
    store::{accounts, accounts::Account, factors, sessions},
    totp,
};

/// What is enrolled.
#[derive(Serialize, Schema)]
pub(crate) struct Enrolled {
    /// The authenticator app; none when there is none, or its enrolment was not finished.
    pub totp: Option<Totp>,
    /// How many recovery codes are left.
    pub recovery_codes_left: i64,
    /// How many passkeys there are.
    pub passkeys: i64,
    /// Whether a sign-in with a first factor asks for a second one.
    pub is_required: bool,
}

/// An authenticator app.
#[derive(Serialize, Schema)]
pub(crate) struct Totp {
    /// Since when it is asked for.
    pub since: Timestamp,
    /// When its last code was used.
    pub last_used_at: Option<Timestamp>,
}

pub(crate) async fn show(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Enrolled>>> {
    let enrolled = factors::enrolled(&cx.db(), principal.user()?).await?;
    let totp = enrolled.totp_since.map(|since| Totp {
        since,
        last_used_at: enrolled.totp_used_at,
    });
    Ok(Private(Data(Enrolled {
        is_required: totp.is_some(),
        totp,
        recovery_codes_left: enrolled.recovery_codes,
        passkeys: enrolled.passkeys,
    })))
}

/// A new TOTP secret. It is shown once.
#[derive(Serialize, Schema)]
pub(crate) struct Enrolment {
    /// Base32, to be typed.
    pub secret: String,
    /// `otpauth://`, as apps read it.
    pub url: String,
    /// The same as a QR code: an SVG image.
    pub qr_svg: String,
}

pub(crate) async fn enroll(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Enrolment>>> {
    let account = own(&cx, &principal).await?;
    second_factor::may_change(&principal, account.has_totp)?;
    let now = cx.clock().now()?;
    let secret = cx.crypto().random(totp::SECRET_BYTES)?;
    let id = Uuid::now_v7();
    let sealed = second_factor::seal(&cx, id, &secret)?;
    if !factors::enroll(&cx.db(), account.user.id, id, &sealed, now).await? {
        return Err(Error::conflict(
            "TOTP_ENROLLED",
            "there is an authenticator app already: remove it first",
        ));
    }
    let url = totp::url(&cx.plugin().config.app_name, label(&account.user), &secret);
    let qr = QrCode::new(&url).map_err(Error::internal)?;
    Ok(Private(Data(Enrolment {
        secret: totp::base32(&secret),
        url,
        qr_svg: qr
            .render::<svg::Color<'_>>()
            .min_dimensions(240, 240)
            .build(),
    })))
}

/// What the app calls the account.
fn label(user: &User) -> &str {
    match &user.email {
        Some(email) => email,
        None => &user.display_name,
    }
}

/// The first code of a new authenticator app.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation {
    /// As the app shows it.
    #[schema(max_length = 32)]
    pub code: String,
}

/// Recovery codes. They are shown once.
#[derive(Serialize, Schema)]
pub(crate) struct RecoveryCodes {
    /// Each stands once for the second factor.
    pub recovery_codes: Vec<String>,
}

/// From now on a second factor is asked for. This session has shown both; what others were allowed by the first ends.
pub(crate) async fn confirm(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(Confirmation { code }): Json<Confirmation>,
) -> Result<Private<Data<RecoveryCodes>>> {
    let account = own(&cx, &principal).await?;
    second_factor::may_change(&principal, account.has_totp)?;
    let user_id = account.user.id;
    second_factor::count_try(&cx, user_id, &caller).await?;
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let stored = factors::totp(&transaction, user_id).await?;
    let stored = stored
        .filter(|totp| !totp.is_confirmed)
        .ok_or_else(no_totp)?;
    let secret = second_factor::open(&cx, stored.id, &stored.sealed)?;
    let step = totp::step_of(&secret, &code, now.as_second()).ok_or_else(problem::bad_code)?;
    if !factors::confirm(&transaction, stored.id, step, now).await? {
        return Err(problem::bad_code());
    }
    session::must_go_on(&transaction, &principal).await?;
    let (codes, macs) = recovery::generate(&cx, user_id)?;
    factors::replace_recovery_codes(&transaction, user_id, &macs, now).await?;
    if let Some(session_id) = principal.session_id {
        sessions::strengthen(&transaction, session_id, &["otp", "mfa"]).await?;
    }
    sessions::lower_others(&transaction, user_id, principal.session_id, now).await?;
    accounts::audit(&transaction, "auth.totp_enrolled", user_id, &json!({})).await?;
    notify::of_change(&cx, &transaction, &account.user, "auth/totp-added", &caller).await?;
    transaction.commit().await?;
    Ok(Private(Data(RecoveryCodes {
        recovery_codes: codes,
    })))
}

pub(crate) async fn remove(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
) -> Result<Private<Data<Done>>> {
    let account = own(&cx, &principal).await?;
    second_factor::may_change(&principal, account.has_totp)?;
    let transaction = cx.db().begin().await?;
    if !factors::remove_totp(&transaction, account.user.id).await? {
        return Err(no_totp());
    }
    accounts::audit(
        &transaction,
        "auth.totp_removed",
        account.user.id,
        &json!({}),
    )
    .await?;
    notify::of_change(
        &cx,
        &transaction,
        &account.user,
        "auth/totp-removed",
        &caller,
    )
    .await?;
    transaction.commit().await?;
    Ok(done("totp_removed"))
}

pub(crate) async fn recovery_codes(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
) -> Result<Private<Data<RecoveryCodes>>> {
    let account = own(&cx, &principal).await?;
    second_factor::may_change(&principal, account.has_totp)?;
    if !account.has_totp {
        return Err(no_totp());
    }
    let (user_id, now) = (account.user.id, cx.clock().now()?);
    let (codes, macs) = recovery::generate(&cx, user_id)?;
    let transaction = cx.db().begin().await?;
    factors::replace_recovery_codes(&transaction, user_id, &macs, now).await?;
    session::must_go_on(&transaction, &principal).await?;
    let action = "auth.recovery_codes_replaced";
    accounts::audit(&transaction, action, user_id, &json!({})).await?;
    let template = "auth/recovery-codes-replaced";
    notify::of_change(&cx, &transaction, &account.user, template, &caller).await?;
    transaction.commit().await?;
    Ok(Private(Data(RecoveryCodes {
        recovery_codes: codes,
    })))
}

/// The second factor of a sign-in: one of the three.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verification {
    /// From the answer to the first factor.
    pub flow_id: Uuid,
    /// A TOTP code.
    #[schema(max_length = 32)]
    pub code: Option<String>,
    /// A recovery code.
    #[schema(max_length = 64)]
    pub recovery_code: Option<String>,
    /// A passkey.
    pub passkey: Option<PasskeyProof>,
}

pub(crate) async fn verify(
    cx: Cx<Auth>,
    caller: Caller,
    Json(shown): Json<Verification>,
) -> Result<Private<Data<Tokens>>> {
    let factor = Factor::one_of(shown.code, shown.recovery_code, shown.passkey)?
        .ok_or_else(|| problem::second_factor_required(&["totp", "recovery", "passkey"]))?;
    let tokens = second_factor::finish(&cx, shown.flow_id, &factor, &caller).await?;
    Ok(Private(Data(tokens)))
}

async fn own(cx: &Cx<Auth>, principal: &Principal) -> Result<Account> {
    accounts::find_by_id(&cx.db(), principal.user()?)
        .await?
        .filter(|account| account.is_active)
        .ok_or_else(problem::session_ended)
}

fn no_totp() -> Error {
    Error::not_found(
        "TOTP_NOT_FOUND",
        "there is no authenticator app that this could be about: begin with POST /auth/mfa/totp/enroll",
    )
}
