//! What happened to the tasks of an instance.

use nself_plugin_api::{Schema, jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};
use serde::Serialize;

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

/// Writes what happened, after the `before` rows that are there.
pub(crate) async fn write(
    tx: &impl Queries,
    instance: Uuid,
    before: i64,
    happened: &Value,
) -> Result<()> {
    tx.execute(
        "insert into orchestrator.history (instance_id, number, reference, name, position, status, attempt, input, output, error, started_at, at) \
         select $1, $2 + e.number, e.record ->> 'reference', e.record ->> 'name', e.record ->> 'position', e.record ->> 'status', \
             (e.record ->> 'attempt')::integer, e.record -> 'input', e.record -> 'output', e.record -> 'error', \
             (e.record ->> 'started_at')::timestamptz, (e.record ->> 'at')::timestamptz \
         from jsonb_array_elements($3::jsonb) with ordinality as e (record, number)",
        &[&instance, &before, happened],
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
         from orchestrator.history h where h.instance_id = $1 and h.number > $2 order by h.number limit $3",
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
