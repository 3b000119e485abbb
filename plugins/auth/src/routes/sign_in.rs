//! `/auth/login`, `/auth/refresh`, `/auth/revoke`, `/auth/logout`, `/auth/reauthenticate`.

use nself_plugin_api::{extract::misfit, prelude::*, serde_json::json};
use serde::Deserialize;
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    caller::Caller,
    credentials::{self, check},
    failed_proof::Way,
    passkey::PasskeyProof,
    problem,
    proof::SignedIn,
    second_factor::{self, Factor},
    session::{self, Tokens},
    store::{
        accounts,
        sessions::{self, End},
    },
    throttle::{self, Action, Tried},
};

/// Who signs in.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The address.
    #[schema(max_length = 320)]
    pub email: String,
    /// The password.
    #[schema(max_length = 512)]
    pub password: String,
    /// The family to act in; the last one without it.
    pub family_id: Option<Uuid>,
}

pub(crate) async fn login(
    cx: Cx<Auth>,
    caller: Caller,
    Json(login): Json<Login>,
) -> Result<Private<SignedIn>> {
    let signed_in =
        credentials::sign_in(&cx, &login.email, &login.password, login.family_id, &caller).await?;
    Ok(Private(signed_in))
}

/// Which session goes on.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    /// The last one that was given out.
    #[schema(max_length = 200)]
    pub refresh_token: String,
    /// Another family to act in.
    pub family_id: Option<Uuid>,
}

pub(crate) async fn refresh(
    cx: Cx<Auth>,
    caller: Caller,
    Json(refresh): Json<Refresh>,
) -> Result<Private<Data<Tokens>>> {
    let tokens = session::refresh(&cx, &refresh.refresh_token, refresh.family_id, &caller).await?;
    Ok(Private(Data(tokens)))
}

/// Which session ends.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    /// Any refresh token of the session, also an old one. What is none is answered the same.
    pub refresh_token: String,
}

/// Ends a session whatever it was, and says the same for one that is not there (RFC 7009, section 2.2).
pub(crate) async fn revoke(
    cx: Cx<Auth>,
    Json(revocation): Json<Revocation>,
) -> Result<Private<Data<Done>>> {
    session::end_by_token(&cx, &revocation.refresh_token).await?;
    Ok(done("revoked"))
}

/// How much ends.
#[derive(Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Logout {
    /// Everywhere, not only here.
    pub all: bool,
}

pub(crate) async fn logout(
    cx: Cx<Auth>,
    principal: Principal,
    Body(body): Body,
) -> Result<Private<Data<Done>>> {
    // Clients send nothing at all when there is nothing to say.
    let logout: Logout = if body.is_empty() {
        Logout::default()
    } else {
        nself_plugin_api::serde_json::from_slice(&body).map_err(|error| misfit(&error))?
    };
    let end = End::of("signed_out", cx.clock().now()?);
    if let Some(user_id) = principal.user_id.filter(|_| logout.all) {
        sessions::revoke_others(&cx.db(), user_id, None, end).await?;
    } else {
        let session: Vec<Uuid> = principal.session_id.into_iter().collect();
        session::end(&cx.db(), &session, end).await?;
    }
    Ok(done("signed_out"))
}

/// A fresh proof: the password, with the second factor where there is one; or a passkey alone, which is both.
#[derive(Default, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reauthentication {
    /// The password.
    #[schema(max_length = 512)]
    pub password: Option<String>,
    /// A TOTP code.
    #[schema(max_length = 32)]
    pub code: Option<String>,
    /// A recovery code.
    #[schema(max_length = 64)]
    pub recovery_code: Option<String>,
    /// A passkey.
    pub passkey: Option<PasskeyProof>,
}

/// What was shown, and how much it is worth.
struct Renewed {
    methods: Vec<&'static str>,
    aal: i16,
}

pub(crate) async fn reauthenticate(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(proof): Json<Reauthentication>,
) -> Result<Private<Data<Tokens>>> {
    let user_id = principal.user()?;
    let session_id = principal.session_id.ok_or_else(problem::session_ended)?;
    let renewed = prove_again(&cx, user_id, &caller, proof).await?;
    let now = cx.clock().now()?;
    let until = now + session::minutes(cx.plugin().config.step_up_minutes);
    let transaction = cx.db().begin().await?;
    let Renewed { methods, aal } = renewed;
    sessions::elevate(&transaction, session_id, until, now, &methods, aal).await?;
    let details = json!({"session_id": session_id, "methods": methods});
    accounts::audit(&transaction, "auth.reauthenticated", user_id, &details).await?;
    transaction.commit().await?;
    let (session, user) = sessions::read(&cx.db(), session_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    let tokens = session::tokens(&cx, &session, user, now).await?;
    Ok(Private(Data(tokens)))
}

async fn prove_again(
    cx: &Cx<Auth>,
    user_id: Uuid,
    caller: &Caller,
    proof: Reauthentication,
) -> Result<Renewed> {
    let tried = Tried::account(user_id, true);
    throttle::account(cx, Action::SignIn, &tried, caller).await?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .filter(|account| account.is_active)
        .ok_or_else(problem::session_ended)?;
    let has_second_factor = account.has_totp;
    let factor = Factor::one_of(proof.code, proof.recovery_code, proof.passkey)?;
    match (&proof.password, &factor) {
        (None, Some(Factor::Passkey(_))) => {}
        (Some(password), _) => {
            check(cx, Some(account), password, Way::Reauthentication, caller).await?;
        }
        (None, _) => return Err(problem::bad_credentials()),
    }
    let Some(factor) = factor else {
        if has_second_factor {
            let methods = second_factor::methods(&cx.db(), user_id).await?;
            return Err(problem::second_factor_required(&methods));
        }
        return Ok(Renewed {
            methods: vec!["pwd"],
            aal: 1,
        });
    };
    let method = second_factor::try_now(cx, user_id, &factor, caller).await?;
    let password = proof.password.is_some().then_some("pwd");
    Ok(Renewed {
        methods: password.into_iter().chain([method, "mfa"]).collect(),
        aal: 2,
    })
}
