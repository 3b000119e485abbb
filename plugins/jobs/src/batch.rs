//! Batches: opened, filled by the option `batch` of jobs, sealed, and ended all at once when somebody wants that.

use nself_plugin_api::{prelude::*, uuid::Uuid};

use crate::{
    Jobs,
    error::{JobError, refused},
    store::{
        self,
        batches::{Batch, NewBatch},
    },
};

/// Jobs of one transaction while a batch is ended.
const CHUNK: i32 = 500;

/// Makes a batch.
pub(crate) async fn open(db: &impl Queries, batch: &NewBatch) -> Result<Batch> {
    let id = store::batches::open(db, batch).await.map_err(refused)?;
    show(db, id).await
}

/// A batch.
pub(crate) async fn show(db: &impl Queries, id: Uuid) -> Result<Batch> {
    let found = store::batches::find(db, id).await?;
    Ok(found.ok_or(JobError::UnknownBatch { id })?)
}

/// Lets it take no more jobs.
pub(crate) async fn seal(db: &impl Queries, id: Uuid) -> Result<Batch> {
    if !store::batches::seal(db, id).await.map_err(refused)? {
        return Err(JobError::UnknownBatch { id }.into());
    }
    show(db, id).await
}

/// Ends all its jobs: those that wait at once, those that run when their workers let them.
pub(crate) async fn cancel(cx: &Cx<Jobs>, id: Uuid, reason: Option<&str>) -> Result<Batch> {
    let mut left = i32::MAX;
    loop {
        let told = store::batches::cancel(&cx.db(), id, reason, CHUNK)
            .await
            .map_err(refused)?;
        if told.is_none() {
            return Err(JobError::UnknownBatch { id }.into());
        }
        let batch = show(&cx.db(), id).await?;
        // What is left runs: it was told, and is told again as long as others end.
        if batch.pending == 0 || batch.pending >= left {
            return Ok(batch);
        }
        left = batch.pending;
    }
}
