//! Batches.

use nself_plugin_api::{prelude::*, serde_json::json, uuid::Uuid};

use super::jobs::Reason;
use crate::{
    Jobs, audit, batch,
    error::JobError,
    reserved,
    store::{
        self,
        batches::{Batch, Filter, NewBatch, Page},
    },
};

pub(crate) async fn list(cx: Cx<Jobs>, Query(filter): Query<Filter>) -> Result<Data<Page>> {
    if let Some(state) = filter.state.as_deref()
        && !["open", "finished", "cancelled"].contains(&state)
    {
        let message = "state: expected open, finished or cancelled".to_owned();
        return Err(JobError::Option { message }.into());
    }
    store::batches::page(&cx.db(), &filter).await.map(Data)
}

pub(crate) async fn open(
    cx: Cx<Jobs>,
    principal: Principal,
    Json(new): Json<NewBatch>,
) -> Result<Created<Batch>> {
    reserved::check_batch(&principal, new.then.as_ref())?;
    batch::open(&cx.db(), &new).await.map(Created)
}

pub(crate) async fn show(cx: Cx<Jobs>, Path(id): Path<Uuid>) -> Result<Data<Batch>> {
    batch::show(&cx.db(), id).await.map(Data)
}

pub(crate) async fn seal(cx: Cx<Jobs>, Path(id): Path<Uuid>) -> Result<Data<Batch>> {
    batch::seal(&cx.db(), id).await.map(Data)
}

pub(crate) async fn cancel(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Query(Reason { reason }): Query<Reason>,
) -> Result<Data<Batch>> {
    let details = json!({"reason": reason});
    let ended = batch::cancel(&cx, id, reason.as_deref()).await?;
    audit::note(
        &cx.db(),
        &principal,
        "jobs.batch_cancelled",
        &id.to_string(),
        details,
    )
    .await?;
    Ok(Data(ended))
}
