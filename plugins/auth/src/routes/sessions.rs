//! `/auth/sessions`: where one is signed in.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    session::Shown,
    store::sessions::{self, End},
};

pub(crate) async fn list(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Vec<Shown>>>> {
    let now = cx.clock().now()?;
    let user_id = principal.user()?;
    let sessions = sessions::list(&cx.db(), user_id, principal.session_id, now).await?;
    Ok(Private(Data(sessions)))
}

pub(crate) async fn end(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    if sessions::revoke_own(&cx.db(), principal.user()?, id, End::of("signed_out", now)).await? {
        Ok(done("signed_out"))
    } else {
        Err(Error::not_found(
            "SESSION_NOT_FOUND",
            "there is no such session of yours",
        ))
    }
}
