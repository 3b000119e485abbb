//! `/auth/families`: the families of a person.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::Deserialize;
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    caller::Caller,
    family::{self, Family},
    policy::Power,
    problem,
    refresh::RefreshToken,
    session::{self, Tokens},
    store::{
        families::{self, Deed},
        sessions,
    },
};

/// A family's own description.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    /// As its members call it.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
}

pub(crate) async fn list(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Vec<Family>>>> {
    let families = families::list(&cx.db(), principal.user()?).await?;
    Ok(Private(Data(families)))
}

pub(crate) async fn create(
    cx: Cx<Auth>,
    principal: Principal,
    Json(Named { name }): Json<Named>,
) -> Result<Private<Created<Family>>> {
    let user_id = principal.user()?;
    let name = family::name(&name)?;
    let tx = cx.db().begin().await?;
    families::may_join_another(&tx, user_id).await?;
    let family = families::create(&tx, &name, user_id).await?;
    tx.commit().await?;
    Ok(Private(Created(family)))
}

pub(crate) async fn show(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Family>>> {
    let me = families::enter(&cx.db(), principal.user()?, id).await?;
    Ok(Private(Data(families::find(&cx.db(), &me).await?)))
}

pub(crate) async fn rename(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(Named { name }): Json<Named>,
) -> Result<Private<Data<Family>>> {
    let name = family::name(&name)?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    me.must(&cx, Power::ChangeSettings)?;
    families::rename(&tx, id, &name).await?;
    let deed = Deed {
        action: "family.renamed",
        family_id: id,
        target: id,
        details: json!({"from": me.family_name, "to": name}),
        actor: me.user_id,
    };
    families::audit(&tx, &deed).await?;
    let family = families::find(&tx, &me).await?;
    tx.commit().await?;
    Ok(Private(Data(family)))
}

pub(crate) async fn delete(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    me.must(&cx, Power::DeleteFamily)?;
    if !principal.elevated {
        return Err(problem::step_up());
    }
    families::delete(&tx, id, &me.user_id.to_string(), now).await?;
    tx.commit().await?;
    Ok(done("deleted"))
}

/// The session that is to act in the family.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    /// The caller's own, the last one that was given out.
    #[schema(max_length = 200)]
    pub refresh_token: String,
}

pub(crate) async fn switch(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(Switch { refresh_token }): Json<Switch>,
) -> Result<Private<Data<Tokens>>> {
    principal.user()?;
    // Of the session that asks: somebody else's refresh token is no way to act as them here.
    let session = RefreshToken::read(&refresh_token, &cx.plugin().keys.macs);
    if session.map(|token| token.session) != principal.session_id {
        return Err(problem::bad_refresh());
    }
    let tokens = session::refresh(&cx, &refresh_token, Some(id), &caller).await?;
    Ok(Private(Data(tokens)))
}

/// Who is to own the family.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transfer {
    /// A member of it.
    pub member_id: Uuid,
}

/// Hands the family over: another member owns it, who did so administers it.
pub(crate) async fn transfer(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(Transfer { member_id }): Json<Transfer>,
) -> Result<Private<Data<Family>>> {
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    let heir = families::member(&tx, id, member_id).await?;
    me.must(&cx, Power::ChangeRoles)?;
    if !principal.elevated {
        return Err(problem::step_up());
    }
    if heir.id == me.member_id || heir.status != family::Status::Active {
        return Err(problem::no_member(member_id));
    }
    if heir.is_child_account() {
        return Err(problem::child_account());
    }
    families::transfer(&tx, &me, heir.id).await?;
    sessions::outdate(&tx, heir.user_id, id, now).await?;
    sessions::outdate(&tx, me.user_id, id, now).await?;
    let family = families::find(&tx, &me).await?;
    families::commit(tx).await?;
    Ok(Private(Data(family)))
}
