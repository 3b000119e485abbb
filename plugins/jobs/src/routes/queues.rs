//! Queues.

use std::time::Duration;

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::{Deserialize, Serialize};

use crate::{
    Jobs, audit, drain,
    error::{JobError, refused},
    store::{
        self,
        queues::{Queue, Settings},
    },
};

/// Why a queue is paused.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pause {
    /// A sentence for who wonders later.
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// How a queue is drained.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Drain {
    /// A sentence for who wonders later.
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    /// How long to wait until nothing runs; 10 when it is not said.
    #[schema(minimum = 0, maximum = 60)]
    pub wait_seconds: Option<u32>,
}

/// Longest time that a caller waits for a queue to drain.
const WAIT_SECONDS_MAX: u32 = 60;
/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// The reason, where it is one of those that the schema allows.
fn fitting(reason: Option<&str>) -> Result<Option<&str>> {
    if reason.is_some_and(|reason| reason.chars().count() > REASON_MAX) {
        let message = format!("reason: more than {REASON_MAX} characters");
        return Err(Error::invalid("BODY_INVALID", message));
    }
    Ok(reason)
}

/// What a drained queue still does.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Drained {
    /// The queue.
    pub queue: String,
    /// Jobs that still run: 0 when it is drained. None begins any more.
    pub running: i64,
}

pub(crate) async fn list(cx: Cx<Jobs>) -> Result<Data<Vec<Queue>>> {
    store::queues::all(&cx.db(), None).await.map(Data)
}

pub(crate) async fn show(cx: Cx<Jobs>, Path(name): Path<String>) -> Result<Data<Queue>> {
    one(&cx.db(), name).await.map(Data)
}

pub(super) async fn one(db: &impl Queries, name: String) -> Result<Queue> {
    let found = store::queues::all(db, Some(&name)).await?;
    let queue = found.into_iter().next();
    Ok(queue.ok_or(JobError::UnknownQueue { name })?)
}

pub(crate) async fn set(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(name): Path<String>,
    Json(settings): Json<Settings>,
) -> Result<Data<Queue>> {
    let tx = cx.db().begin().await?;
    store::queues::set(&tx, &name, &settings)
        .await
        .map_err(refused)?;
    let details = json!(settings);
    audit::note(&tx, &principal, "jobs.queue_limited", &name, details).await?;
    let queue = one(&tx, name).await?;
    tx.commit().await?;
    Ok(Data(queue))
}

pub(crate) async fn pause(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(name): Path<String>,
    Json(Pause { reason }): Json<Pause>,
) -> Result<Data<Queue>> {
    let reason = fitting(reason.as_deref())?;
    drain::pause(&cx, &principal, &name, reason).await?;
    one(&cx.db(), name).await.map(Data)
}

pub(crate) async fn resume(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Data<Queue>> {
    let tx = cx.db().begin().await?;
    if !store::queues::resume(&tx, &name).await? {
        return Err(JobError::UnknownQueue { name }.into());
    }
    audit::note(&tx, &principal, "jobs.queue_resumed", &name, json!({})).await?;
    let queue = one(&tx, name).await?;
    tx.commit().await?;
    Ok(Data(queue))
}

pub(crate) async fn drain(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(name): Path<String>,
    Json(wanted): Json<Drain>,
) -> Result<Data<Drained>> {
    let reason = fitting(wanted.reason.as_deref())?;
    let wait_seconds = wanted.wait_seconds.unwrap_or(10);
    if wait_seconds > WAIT_SECONDS_MAX {
        let message = format!("wait_seconds: more than {WAIT_SECONDS_MAX}");
        return Err(Error::invalid("BODY_INVALID", message));
    }
    drain::pause(&cx, &principal, &name, reason).await?;
    let patience = Duration::from_secs(wait_seconds.into());
    let running = drain::wait(&cx, &name, patience).await?;
    let queue = name;
    Ok(Data(Drained { queue, running }))
}
