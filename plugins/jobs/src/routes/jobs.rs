//! Jobs.

use nself_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Jobs, audit,
    enqueue::{self, NewJob},
    error::JobError,
    queue::{self, Changed},
    reserved,
    store::{
        self,
        control::Shown,
        enqueue::Receipt,
        list::{Filter, Page},
    },
};

/// Why a job is ended.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Reason {
    /// A sentence for who looks at the job later.
    pub reason: Option<String>,
}

/// Which jobs come first.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Priority {
    /// 0 is first, 9 is last.
    #[schema(minimum = 0, maximum = 9)]
    pub priority: i16,
}

/// A job whose priority is another one now.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Reprioritised {
    /// The job.
    pub id: i64,
    /// Its priority.
    pub priority: i16,
}

pub(crate) async fn enqueue(
    cx: Cx<Jobs>,
    principal: Principal,
    Json(job): Json<NewJob>,
) -> Result<Created<Receipt>> {
    reserved::check(&principal, std::slice::from_ref(&job))?;
    enqueue::one(&cx, job).await.map(Created)
}

pub(crate) async fn enqueue_many(
    cx: Cx<Jobs>,
    principal: Principal,
    Json(jobs): Json<Vec<NewJob>>,
) -> Result<Created<Vec<Receipt>>> {
    reserved::check(&principal, &jobs)?;
    enqueue::many(&cx, &jobs).await.map(Created)
}

pub(crate) async fn list(cx: Cx<Jobs>, Query(filter): Query<Filter>) -> Result<Data<Page>> {
    const STATES: [&str; 7] = [
        "available",
        "scheduled",
        "running",
        "retryable",
        "completed",
        "cancelled",
        "discarded",
    ];
    if let Some(state) = filter.state.as_deref()
        && !STATES.contains(&state)
    {
        let message = format!("state: expected one of {}", STATES.join(", "));
        return Err(JobError::Option { message }.into());
    }
    store::list::page(&cx.db(), &filter).await.map(Data)
}

pub(crate) async fn show(cx: Cx<Jobs>, Path(id): Path<i64>) -> Result<Data<Shown>> {
    let shown = store::control::find(&cx.db(), id).await?;
    Ok(Data(shown.ok_or(JobError::Unknown { id })?))
}

pub(crate) async fn cancel(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(id): Path<i64>,
    Query(Reason { reason }): Query<Reason>,
) -> Result<Data<Changed>> {
    let tx = cx.db().begin().await?;
    let changed = queue::cancel(&tx, id, reason.as_deref()).await?;
    audit::of_job(&tx, &principal, "jobs.job_cancelled", id).await?;
    tx.commit().await?;
    Ok(Data(changed))
}

pub(crate) async fn retry(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(id): Path<i64>,
) -> Result<Data<Changed>> {
    let tx = cx.db().begin().await?;
    let changed = queue::retry(&tx, id).await?;
    audit::of_job(&tx, &principal, "jobs.job_retried", id).await?;
    tx.commit().await?;
    Ok(Data(changed))
}

pub(crate) async fn reprioritise(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(id): Path<i64>,
    Json(Priority { priority }): Json<Priority>,
) -> Result<Data<Reprioritised>> {
    if !(0..=9).contains(&priority) {
        let message = format!("priority: expected 0 (first) to 9, found {priority}");
        return Err(JobError::Option { message }.into());
    }
    let tx = cx.db().begin().await?;
    if !store::control::reprioritise(&tx, id, priority).await? {
        let shown = store::control::find(&tx, id).await?;
        let state = shown.ok_or(JobError::Unknown { id })?.state;
        let change = "given another priority";
        return Err(JobError::State { state, change }.into());
    }
    audit::of_job(&tx, &principal, "jobs.job_reprioritised", id).await?;
    tx.commit().await?;
    Ok(Data(Reprioritised { id, priority }))
}
