//! `/auth/admin/lockouts`: who was turned away, and an end to it.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

use super::{actor, no_user};
use crate::{
    Auth,
    lockout::{self, Lockout},
    routes::{Done, Private, done},
    store::accounts,
};

pub(crate) async fn list(cx: Cx<Auth>) -> Result<Private<Data<Vec<Lockout>>>> {
    Ok(Private(Data(lockout::all(&cx).await?)))
}

pub(crate) async fn lift(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let account = accounts::find_by_id(&cx.db(), id).await?;
    let user = account.ok_or_else(no_user)?.user;
    lockout::lift(&cx, &user, &actor(&principal)).await?;
    Ok(done("lockout_lifted"))
}
