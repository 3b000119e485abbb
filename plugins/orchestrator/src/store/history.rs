//! What happened to the tasks of an instance.

use nself_plugin_api::{
    Schema,
    jiff::Timestamp,
    prelude::*,
    serde_json::{self, Value, json},
    uuid::Uuid,
};
use serde::Serialize;

use crate::{engine::TaskRecord, outcome::storable};

/// One thing that happened.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct Happened {
    /// Its place in the history, from 1.
    pub number: i64,
    /// The task, as a JSON pointer into the definition.
    pub reference: String,
    /// Its name.
    pub name: String,
    /// Where it ran, with iterations.
    pub position: String,
    /// `started`, `completed`, `skipped`, `faulted`, `retried` or `cancelled`.
    pub status: String,
    /// The attempt, from 1.
    pub attempt: i32,
    /// What came in.
    pub input: Option<Value>,
    /// What went out.
    pub output: Option<Value>,
    /// What went wrong.
    pub error: Option<Value>,
    /// When it started.
    pub started_at: Timestamp,
    /// When this happened.
    pub at: Timestamp,
}

/// What happened as it is kept.
///
/// # Errors
///
/// When it does not become JSON.
pub(crate) fn text(records: &[TaskRecord]) -> Result<String> {
    let text = serde_json::to_string(records).map_err(Error::internal)?;
    if !text.contains("\\u0000") {
        return Ok(text);
    }
    // Postgres takes it, and gives none of it back as text.
    serde_json::to_string(&storable(json!(records))).map_err(Error::internal)
}

/// Writes what happened, after the `before` rows that are there.
pub(crate) async fn write(
    tx: &impl Queries,
    instance: Uuid,
    before: i64,
    amount: usize,
    records: &str,
) -> Result<()> {
    let last = before + i64::try_from(amount).unwrap_or(i64::MAX);
    tx.execute(
        "insert into orchestrator.history_parts (instance_id, before, last, records) values ($1, $2, $3, $4::text::json)",
        &[&instance, &before, &last, &records],
    )
    .await?;
    Ok(())
}

/// A page of what happened, in order.
pub(crate) async fn list(
    db: &impl Queries,
    instance: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<Happened>> {
    db.query(
        "select h.number, h.reference, h.name, h.position, h.status, h.attempt, h.input, h.output, h.error, h.started_at, h.at \
         from orchestrator.history h where h.instance_id = $1 and h.last > $2 and h.number > $2 order by h.last, h.number limit $3",
        &[&instance, &after, &limit],
    )
    .await?
    .map(|row| {
        Ok(Happened {
            number: row.get("number")?,
            reference: row.get("reference")?,
            name: row.get("name")?,
            position: row.get("position")?,
            status: row.get("status")?,
            attempt: row.get("attempt")?,
            input: row.get("input")?,
            output: row.get("output")?,
            error: row.get("error")?,
            started_at: row.get("started_at")?,
            at: row.get("at")?,
        })
    })
}

/// What happened last to each task of an instance, by its reference.
pub(crate) async fn statuses(db: &impl Queries, instance: Uuid) -> Result<Vec<(String, String)>> {
    db.query(
        "select distinct on (h.reference) h.reference, h.status from orchestrator.history h \
         where h.instance_id = $1 order by h.reference, h.number desc",
        &[&instance],
    )
    .await?
    .map(|row| Ok((row.get("reference")?, row.get("status")?)))
}
