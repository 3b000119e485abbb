//! What jobs write down.

use nself_plugin_api::{prelude::*, uuid::Uuid};

/// Adds lines to those of a job.
pub(crate) async fn append(
    db: &impl Queries,
    job: i64,
    levels: &[&str],
    messages: &[&str],
) -> Result<()> {
    db.query(
        "select jobs.append_logs($1, $2, $3)",
        &[&job, &levels, &messages],
    )
    .await?;
    Ok(())
}

/// Adds lines to those of the job of a lease; whether it is still held.
pub(crate) async fn append_fetched(
    db: &impl Queries,
    lease: Uuid,
    levels: &[&str],
    messages: &[String],
) -> Result<bool> {
    db.query_one(
        "select jobs.append_fetched_logs($1, $2, $3)",
        &[&lease, &levels, &messages],
    )
    .await?
    .get(0)
}
