//! `/auth/passkeys`: made, used, listed, renamed, removed.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::Deserialize;
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth, account,
    caller::Caller,
    notify,
    passkey::{self, Begun, PasskeyProof, Shown},
    problem, second_factor,
    session::Tokens,
    store::{
        accounts::{self, Account},
        passkeys as store,
    },
    throttle::{self, Action},
    webauthn::{AuthenticationResponse, RegistrationResponse},
};

/// Most characters of a passkey's name.
const NAME_MAX: usize = 100;

pub(crate) async fn begin_registration(
    cx: Cx<Auth>,
    principal: Principal,
) -> Result<Private<Data<Begun>>> {
    let account = own(&cx, &principal).await?;
    second_factor::may_change(&principal, account.has_totp)?;
    Ok(Private(Data(
        passkey::begin_registration(&cx, &account.user).await?,
    )))
}

/// A passkey that a browser has made.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// From the answer of `options`.
    pub flow_id: Uuid,
    /// As its owner calls it.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub name: String,
    /// What the browser answered: `RegistrationResponseJSON`.
    pub credential: RegistrationResponse,
}

pub(crate) async fn finish_registration(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(registration): Json<Registration>,
) -> Result<Private<Created<Shown>>> {
    let account = own(&cx, &principal).await?;
    second_factor::may_change(&principal, account.has_totp)?;
    let name = named(&registration.name)?;
    let Registration {
        flow_id,
        credential,
        ..
    } = registration;
    let holder = (&principal, &account.user);
    let shown =
        passkey::finish_registration(&cx, holder, flow_id, &name, &credential, &caller).await?;
    Ok(Private(Created(shown)))
}

/// A challenge for whoever has a passkey here. What is sent along, such as an address, changes nothing: the authenticator
/// says whose passkey it is, and an answer that depended on an address would tell whether it has an account.
pub(crate) async fn begin_login(cx: Cx<Auth>, caller: Caller) -> Result<Private<Data<Begun>>> {
    throttle::address(&cx, Action::SignIn, &caller).await?;
    Ok(Private(Data(passkey::begin_login(&cx).await?)))
}

/// A passkey that signs in.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// From the answer of `options`.
    pub flow_id: Uuid,
    /// What the browser answered: `AuthenticationResponseJSON`.
    pub credential: AuthenticationResponse,
    /// The family to act in; the last one without it.
    pub family_id: Option<Uuid>,
}

pub(crate) async fn finish_login(
    cx: Cx<Auth>,
    caller: Caller,
    Json(login): Json<Login>,
) -> Result<Private<Data<Tokens>>> {
    throttle::address(&cx, Action::SignIn, &caller).await?;
    let proof = PasskeyProof {
        flow_id: login.flow_id,
        credential: login.credential,
    };
    let tokens = passkey::sign_in(&cx, &proof, login.family_id, &caller).await?;
    Ok(Private(Data(tokens)))
}

pub(crate) async fn list(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Vec<Shown>>>> {
    let passkeys = store::list(&cx.db(), principal.user()?).await?;
    Ok(Private(Data(passkeys)))
}

pub(crate) async fn show(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Shown>>> {
    let found = store::find_own(&cx.db(), principal.user()?, id).await?;
    found
        .map(|shown| Private(Data(shown)))
        .ok_or_else(problem::no_passkey)
}

/// Another name.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// As its owner calls it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
}

pub(crate) async fn rename(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(change): Json<Change>,
) -> Result<Private<Data<Shown>>> {
    let (user_id, name) = (principal.user()?, accepted(&change.name)?);
    let transaction = cx.db().begin().await?;
    let renamed = store::rename(&transaction, user_id, id, &name)
        .await?
        .ok_or_else(problem::no_passkey)?;
    let details = json!({"passkey_id": id});
    accounts::audit(&transaction, "auth.passkey_renamed", user_id, &details).await?;
    transaction.commit().await?;
    Ok(Private(Data(renamed)))
}

pub(crate) async fn remove(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let account = own(&cx, &principal).await?;
    second_factor::may_change(&principal, account.has_totp)?;
    let transaction = cx.db().begin().await?;
    if !store::remove(&transaction, account.user.id, id).await? {
        return Err(problem::no_passkey());
    }
    let details = json!({"passkey_id": id});
    accounts::audit(
        &transaction,
        "auth.passkey_removed",
        account.user.id,
        &details,
    )
    .await?;
    notify::of_change(
        &cx,
        &transaction,
        &account.user,
        "auth/passkey-removed",
        &caller,
    )
    .await?;
    transaction.commit().await?;
    Ok(done("passkey_removed"))
}

/// What a new one is called.
pub(super) fn named(wish: &str) -> Result<String> {
    match wish.trim() {
        "" => Ok("Passkey".to_owned()),
        name => accepted(name),
    }
}

fn accepted(name: &str) -> Result<String> {
    let name = account::display_name(name)?;
    if name.is_empty() || name.chars().count() > NAME_MAX {
        return Err(Error::invalid(
            "PASSKEY_NAME",
            format!("name: expected 1 to {NAME_MAX} characters"),
        ));
    }
    Ok(name)
}

async fn own(cx: &Cx<Auth>, principal: &Principal) -> Result<Account> {
    accounts::find_by_id(&cx.db(), principal.user()?)
        .await?
        .filter(|account| account.is_active)
        .ok_or_else(problem::session_ended)
}
