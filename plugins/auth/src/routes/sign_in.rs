//! `/auth/login`, `/auth/refresh`, `/auth/revoke`, `/auth/logout`, `/auth/reauthenticate`.

use nself_plugin_api::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    caller::Caller,
    credentials::{self, check},
    problem,
    proof::SignedIn,
    session::{self, Tokens},
    store::{accounts, sessions},
    throttle::{self, Action},
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
    /// Any refresh token of the session, also an old one.
    #[schema(max_length = 200)]
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
        nself_plugin_api::serde_json::from_slice(&body)
            .map_err(|error| Error::bad_request("BODY_INVALID", format!("body: {error}")))?
    };
    let now = cx.clock().now()?;
    match (logout.all, principal.user_id) {
        (true, Some(user_id)) => {
            sessions::revoke_others(&cx.db(), user_id, None, "signed_out", now).await?;
        }
        _ => {
            let session: Vec<Uuid> = principal.session_id.into_iter().collect();
            session::end(&cx.db(), &session, "signed_out", now).await?;
        }
    }
    Ok(done("signed_out"))
}

/// A fresh proof.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reauthentication {
    /// The password.
    #[schema(max_length = 512)]
    pub password: String,
}

pub(crate) async fn reauthenticate(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(proof): Json<Reauthentication>,
) -> Result<Private<Data<Tokens>>> {
    let user_id = principal.user()?;
    let session_id = principal.session_id.ok_or_else(problem::session_ended)?;
    throttle::account(&cx, Action::SignIn, &user_id.to_string(), &caller, true).await?;
    let account = accounts::find_by_id(&cx.db(), user_id).await?;
    check(&cx, account, &proof.password).await?;
    let now = cx.clock().now()?;
    let until = now + session::minutes(cx.plugin().config.step_up_minutes);
    sessions::elevate(&cx.db(), session_id, until, now).await?;
    let (session, user) = sessions::read(&cx.db(), session_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    Ok(Private(Data(session::tokens(&cx, &session, user, now)?)))
}
