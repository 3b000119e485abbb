//! `/auth/admin/sessions`.

use nself_plugin_api::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::{actor, limit};
use crate::{
    Auth,
    routes::{Done, Private, done},
    session,
    store::{
        admin::{self, Session},
        sessions::End,
    },
};

/// Which sessions.
#[derive(Deserialize, Schema)]
pub(crate) struct Search {
    /// Whose.
    pub user: Option<Uuid>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
    /// The last id of the page before.
    pub before: Option<Uuid>,
}

pub(crate) async fn list(
    cx: Cx<Auth>,
    Query(search): Query<Search>,
) -> Result<Private<Data<Vec<Session>>>> {
    let now = cx.clock().now()?;
    let (db, limit) = (cx.db(), limit(search.limit));
    let sessions = admin::sessions(&db, search.user, search.before, limit, now).await?;
    Ok(Private(Data(sessions)))
}

pub(crate) async fn end(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    if !admin::is_alive(&transaction, id).await? {
        return Err(Error::not_found(
            "SESSION_NOT_FOUND",
            "there is no such session, or it has ended",
        ));
    }
    let actor = actor(&principal);
    session::end(&transaction, &[id], End::of("operator", now).by(&actor)).await?;
    transaction.commit().await?;
    Ok(done("signed_out"))
}
