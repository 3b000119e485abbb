//! Kinds as operators see and make them: those whose jobs are sent to an endpoint.

use nself_plugin_api::{
    capability::{
        audit::{Entry, append_in},
        db::Typed,
    },
    jiff::Timestamp,
    postgres_types::Type,
    prelude::*,
    serde_json::{Value, json},
};
use serde::Serialize;

/// Who declares a kind that no plugin does.
pub(crate) const OPERATOR: &str = "operator";

/// A kind of job.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct KindShown {
    /// What it is.
    pub kind: String,
    /// Where its jobs wait when they do not say.
    pub queue: String,
    /// Attempts before one is given up.
    pub attempts_max: i16,
    /// Seconds for one attempt.
    pub timeout: f64,
    /// Which finished jobs stay: `none`, `failed` or `all`.
    pub keep: String,
    /// Whether completed jobs are told to the event log.
    pub announce: bool,
    /// How attempts follow each other.
    pub retry: Option<Value>,
    /// Where its jobs are sent, for a kind that no plugin works.
    pub endpoint: Option<String>,
    /// The plugin that declares it, or `operator`.
    pub declared_by: String,
    /// When this changed last.
    pub updated_at: Timestamp,
}

const SHOWN: &str = "select k.kind, q.name as queue, k.attempts_max, k.timeout_ms / 1000.0::double precision as timeout, k.keep, \
     k.is_announced, k.retry, k.endpoint, k.declared_by, k.updated_at \
     from jobs.kinds k join jobs.queues q on q.id = k.queue where $1::text is null or k.kind = $1 order by k.kind";

/// All kinds that have a row, or the one.
pub(crate) async fn shown(db: &impl Queries, kind: Option<&str>) -> Result<Vec<KindShown>> {
    db.query(SHOWN, &[&kind]).await?.map(|row| {
        Ok(KindShown {
            kind: row.get("kind")?,
            queue: row.get("queue")?,
            attempts_max: row.get("attempts_max")?,
            timeout: row.get("timeout")?,
            keep: row.get("keep")?,
            announce: row.get("is_announced")?,
            retry: row.get("retry")?,
            endpoint: row.get("endpoint")?,
            declared_by: row.get("declared_by")?,
            updated_at: row.get("updated_at")?,
        })
    })
}

/// The sealed secret of a kind's endpoint, held until the transaction ends.
pub(crate) async fn lock_secret(tx: &impl Queries, kind: &str) -> Result<Option<Vec<u8>>> {
    let row = tx
        .query_opt(
            "select endpoint_secret from jobs.kinds where kind = $1 for update",
            &[&kind],
        )
        .await?;
    row.map_or(Ok(None), |row| row.get(0))
}

/// A kind with an endpoint, as it is written.
pub(crate) struct NewEndpoint<'a> {
    pub kind: &'a str,
    pub queue: &'a str,
    pub attempts_max: i16,
    pub timeout_ms: i32,
    pub keep: &'a str,
    pub announce: bool,
    pub retry: Option<&'a Value>,
    pub endpoint: &'a str,
    pub sealed_secret: &'a [u8],
}

/// Writes a kind and tells all hosts.
pub(crate) async fn put(tx: &impl Queries, new: &NewEndpoint<'_>) -> Result<()> {
    let retry = Typed(new.retry, Type::JSONB);
    tx.query("select jobs.retry_delay($1, 1, null)", &[&retry])
        .await?;
    tx.execute(
        "insert into jobs.kinds (kind, queue, attempts_max, timeout_ms, keep, is_announced, retry, endpoint, endpoint_secret, declared_by) \
         values ($1, jobs.queue_id($2), $3, $4, $5, $6, $7, $8, $9, $10) \
         on conflict (kind) do update set queue = excluded.queue, attempts_max = excluded.attempts_max, \
             timeout_ms = excluded.timeout_ms, keep = excluded.keep, is_announced = excluded.is_announced, retry = excluded.retry, \
             endpoint = excluded.endpoint, endpoint_secret = excluded.endpoint_secret, declared_by = excluded.declared_by, \
             updated_at = now()",
        &[
            &new.kind,
            &new.queue,
            &new.attempts_max,
            &new.timeout_ms,
            &new.keep,
            &new.announce,
            &retry,
            &new.endpoint,
            &new.sealed_secret,
            &OPERATOR,
        ],
    )
    .await?;
    tell(tx).await
}

/// Deletes a kind and tells all hosts; whether there was one.
pub(crate) async fn remove(tx: &impl Queries, kind: &str) -> Result<bool> {
    let gone = tx
        .execute("delete from jobs.kinds where kind = $1", &[&kind])
        .await?;
    tell(tx).await?;
    Ok(gone > 0)
}

async fn tell(tx: &impl Queries) -> Result<()> {
    tx.query("select pg_notify($1, 'kinds')", &[&super::hosts::CHANNEL])
        .await?;
    Ok(())
}

/// Says in the audit log who changed a kind. Of an endpoint's address only `origin`: the rest of it may be a secret.
pub(crate) async fn audit(
    tx: &impl Queries,
    action: &str,
    kind: &str,
    origin: Option<&str>,
    actor: &str,
) -> Result<()> {
    append_in(
        tx,
        Entry {
            action,
            target: kind,
            details: json!({ "endpoint": origin }),
            family_id: None,
            actor: Some(actor),
        },
    )
    .await
}
