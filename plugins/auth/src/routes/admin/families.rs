//! `/auth/admin/families`: what becomes of families whose owners cannot do it, or must not any more.

use nself_plugin_api::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::{actor, limit};
use crate::{
    Auth,
    family_end::{self, Exporter, KEPT_DAYS},
    routes::{Done, Private, done, family_end::lines},
    store::{
        admin::{self, Family},
        families, family_end as store,
    },
};

/// Which families.
#[derive(Deserialize, Schema)]
pub(crate) struct Search {
    /// Part of a name.
    pub query: Option<String>,
    /// Those that are deleted and not gone yet.
    pub deleted: Option<bool>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
    /// The last id of the page before.
    pub before: Option<Uuid>,
}

pub(crate) async fn list(
    cx: Cx<Auth>,
    Query(search): Query<Search>,
) -> Result<Private<Data<Vec<Family>>>> {
    let only = admin::Families {
        query: super::said(search.query.as_deref()),
        is_deleted: search.deleted,
        before: search.before,
        limit: limit(search.limit),
    };
    Ok(Private(Data(admin::families(&cx.db(), &only).await?)))
}

pub(crate) async fn export(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Response> {
    let exporter = Exporter {
        family_id: id,
        user_id: None,
        actor: actor(&principal),
    };
    let tx = cx.db().begin().await?;
    Ok(lines(family_end::export(tx, exporter).await?))
}

pub(crate) async fn delete(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    families::delete(&tx, id, &actor(&principal), now).await?;
    tx.commit().await?;
    Ok(done("deleted"))
}

pub(crate) async fn take_back(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    store::take_back(&cx.db(), id, &actor(&principal)).await?;
    Ok(done("taken_back"))
}

/// How much time there is to regret it.
#[derive(Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Purge {
    /// None: it does not matter when the family was deleted. That it was exported since does.
    pub now: bool,
}

pub(crate) async fn purge(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(purge): Json<Purge>,
) -> Result<Private<Data<Done>>> {
    let kept_days = if purge.now { 0 } else { KEPT_DAYS };
    family_end::purge(&cx, id, &actor(&principal), kept_days).await?;
    Ok(done("purged"))
}
