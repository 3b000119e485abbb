//! `DELETE /auth/me` and `/auth/me/export`: leaving, and taking one's data along.

use nself_plugin_api::{prelude::*, serde_json::Value};

use super::{Done, Private, done};
use crate::{
    Auth,
    caller::Caller,
    erasure, problem,
    store::{
        audit::{self, New},
        export,
    },
};

/// Everything but secrets. It is written down who took it: a thief's copy is seen.
pub(crate) async fn export(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Value>>> {
    let user_id = principal.user()?;
    let document = export::document(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    let id = user_id.to_string();
    let entry = New {
        actor: &id,
        action: "auth.account_exported",
        target: &id,
        details: &nself_plugin_api::serde_json::json!({"session_id": principal.session_id}),
        family_id: None,
    };
    audit::append(&cx.db(), &entry).await?;
    Ok(Private(Data(document)))
}

pub(crate) async fn delete(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
) -> Result<Private<Data<Done>>> {
    let user_id = principal.user()?;
    if !principal.elevated {
        return Err(problem::step_up());
    }
    let erased = erasure::erase(&cx, user_id, &user_id.to_string(), &caller).await?;
    erased.then_some(()).ok_or_else(problem::session_ended)?;
    Ok(done("account_deleted"))
}
