//! All SQL of the plugin.

use nself_plugin_api::{prelude::*, uuid::Uuid};

/// An attempt begins; its number.
pub(crate) async fn begin(
    db: &impl Queries,
    replica: Uuid,
    job: &JobRun,
    key: &str,
) -> Result<i64> {
    db.query_one(
        "insert into ledger.runs (job_id, attempt, host, process, key) values ($1, $2, $3, $4, $5) returning number",
        &[&job.id, &attempt(job), &replica, &process(), &key],
    )
    .await?
    .get(0)
}

/// It is done.
pub(crate) async fn end(db: &impl Queries, number: i64) -> Result<()> {
    db.execute(
        "update ledger.runs set ended_at = clock_timestamp() where number = $1",
        &[&number],
    )
    .await?;
    Ok(())
}

/// An attempt that is done where it begins.
pub(crate) async fn note(db: &impl Queries, replica: Uuid, job: &JobRun, key: &str) -> Result<()> {
    db.execute(
        "insert into ledger.runs (job_id, attempt, host, process, key, ended_at) values ($1, $2, $3, $4, $5, clock_timestamp())",
        &[&job.id, &attempt(job), &replica, &process(), &key],
    )
    .await?;
    Ok(())
}

fn attempt(job: &JobRun) -> i32 {
    i32::try_from(job.attempt).unwrap_or(i32::MAX)
}

fn process() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(i32::MAX)
}
