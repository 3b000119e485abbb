//! What handlers tell of a job while they work it: lines, and how far they are.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value};
use serde::Serialize;

/// A line.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Line {
    /// When it was written.
    pub at: Timestamp,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What it says.
    pub message: String,
}

/// Adds a line; the newest 100 of a job are kept.
pub(crate) async fn write(db: &impl Queries, job: i64, level: &str, message: &str) -> Result<()> {
    db.query(
        "select jobs.write_log($1, $2, $3)",
        &[&job, &level, &message],
    )
    .await?;
    Ok(())
}

/// Says how far a job is.
pub(crate) async fn progress(db: &impl Queries, job: i64, progress: &Value) -> Result<()> {
    db.query("select jobs.write_progress($1, $2)", &[&job, progress])
        .await?;
    Ok(())
}

/// The lines of a job, the oldest first.
pub(crate) async fn lines(db: &impl Queries, job: i64) -> Result<Vec<Line>> {
    db.query(
        "select at, level, message from jobs.logs where id = $1 order by number",
        &[&job],
    )
    .await?
    .map(|row| {
        Ok(Line {
            at: row.get("at")?,
            level: row.get("level")?,
            message: row.get("message")?,
        })
    })
}
