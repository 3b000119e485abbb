//! `/auth/admin/devices`.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::Deserialize;
use uuid::Uuid;

use super::{actor, limit};
use crate::{
    Auth,
    routes::{Done, Private, done},
    store::{
        admin::{self, Device},
        audit::{self, New},
    },
};

/// Which machines.
#[derive(Deserialize, Schema)]
pub(crate) struct Search {
    /// Of this family.
    pub family: Option<Uuid>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
    /// The last id of the page before.
    pub before: Option<Uuid>,
}

pub(crate) async fn list(
    cx: Cx<Auth>,
    Query(search): Query<Search>,
) -> Result<Private<Data<Vec<Device>>>> {
    let limit = limit(search.limit);
    let devices = admin::devices(&cx.db(), search.family, search.before, limit).await?;
    Ok(Private(Data(devices)))
}

pub(crate) async fn revoke(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let family_id = admin::revoke_device(&transaction, id, now)
        .await?
        .ok_or_else(|| {
            Error::not_found(
                "DEVICE_NOT_FOUND",
                "there is no such machine, or it was taken off",
            )
        })?;
    let entry = New {
        actor: &actor(&principal),
        action: "auth.device_revoked",
        target: &id.to_string(),
        details: &json!({}),
        family_id: Some(family_id),
    };
    audit::append(&transaction, &entry).await?;
    transaction.commit().await?;
    Ok(done("device_revoked"))
}
