//! Enqueueing.

use nself_plugin_api::prelude::*;
use serde::Serialize;

use super::raw;
use crate::enqueue::NewJob;

/// What became of a new job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Schema)]
pub(crate) struct Receipt {
    /// The job; for a unique one whose key is taken, the one that has it.
    pub id: i64,
    /// `enqueued`, or `exists`, `replaced`, `merged` for a unique job whose key is taken.
    pub status: String,
}

/// Enqueues jobs in one transaction: all or none.
pub(crate) async fn submit_many(db: &impl Queries, jobs: &[&NewJob]) -> Result<Vec<Receipt>> {
    let kinds: Vec<&str> = jobs.iter().map(|job| &*job.kind).collect();
    let payloads = raw::list(jobs.iter().map(|job| job.payload()));
    let options = raw::list(jobs.iter().map(|job| job.options()));
    db.query(
        "select id, status from jobs.submit_many($1, $2, $3)",
        &[&kinds, &payloads, &options],
    )
    .await?
    .map(|row| {
        Ok(Receipt {
            id: row.get("id")?,
            status: row.get("status")?,
        })
    })
}
