//! Discarded jobs: dead letters.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::{Deserialize, Serialize};

use crate::{
    Jobs, audit,
    error::JobError,
    store::{
        self,
        list::{Filter, Page},
    },
};

/// Jobs of one transaction.
const CHUNK: i32 = 1_000;
/// Most jobs of one request.
const JOBS_MAX: i64 = 100_000;

/// Which discarded jobs.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Which {
    /// Of that kind.
    pub kind: Option<String>,
    /// Of that queue.
    pub queue: Option<String>,
}

/// What became of them.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Retried {
    /// Jobs that are available again.
    pub retried: i64,
    /// There may be more that match: ask again.
    pub is_partial: bool,
}

pub(crate) async fn list(cx: Cx<Jobs>, Query(filter): Query<Filter>) -> Result<Data<Page>> {
    let filter = Filter {
        state: Some("discarded".to_owned()),
        ..filter
    };
    store::list::page(&cx.db(), &filter).await.map(Data)
}

pub(crate) async fn retry(
    cx: Cx<Jobs>,
    principal: Principal,
    Json(which): Json<Which>,
) -> Result<Data<Retried>> {
    let (kind, queue) = (which.kind.as_deref(), which.queue.as_deref());
    // What fails again meanwhile is not taken again.
    let before = store::control::now(&cx.db()).await?;
    let mut retried = 0;
    while retried < JOBS_MAX {
        let tx = cx.db().begin().await?;
        let moved = store::control::retry_dead(&tx, kind, queue, before, CHUNK).await?;
        let details = json!({"kind": kind, "queue": queue, "jobs": moved});
        if moved > 0 {
            audit::note(&tx, &principal, "jobs.dead_retried", "dead", details).await?;
        }
        tx.commit().await?;
        retried += moved;
        if moved < i64::from(CHUNK) {
            let is_partial = false;
            return Ok(Data(Retried {
                retried,
                is_partial,
            }));
        }
    }
    let is_partial = true;
    Ok(Data(Retried {
        retried,
        is_partial,
    }))
}

pub(crate) async fn remove(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(id): Path<i64>,
) -> Result<NoContent> {
    let tx = cx.db().begin().await?;
    if !store::control::forget_dead(&tx, id).await? {
        let shown = store::control::find(&tx, id).await?;
        let state = shown.ok_or(JobError::Unknown { id })?.state;
        let change = "removed";
        return Err(JobError::State { state, change }.into());
    }
    audit::note(
        &tx,
        &principal,
        "jobs.dead_removed",
        &id.to_string(),
        json!({}),
    )
    .await?;
    tx.commit().await?;
    Ok(NoContent)
}
