//! What is known of kinds and queues.

use std::sync::Arc;

use nself_plugin_api::{capability::handlers::DeclaredJob, prelude::*};

/// What the engine has to know of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub kind: String,
    pub queue: i16,
    pub timeout_ms: i32,
    pub keep: String,
    pub is_announced: bool,
    /// Where its jobs are sent, and the sealed secret that signs them.
    pub endpoint: Option<(String, Vec<u8>)>,
}

/// All kinds that have a row.
pub(crate) async fn all(db: &impl Queries) -> Result<Vec<Known>> {
    db.query(
        "select kind, queue, timeout_ms, keep, is_announced, endpoint, endpoint_secret from jobs.kinds",
        &[],
    )
    .await?
    .map(|row| {
        let endpoint: Option<String> = row.get("endpoint")?;
        let secret: Option<Vec<u8>> = row.get("endpoint_secret")?;
        Ok(Known {
            kind: row.get("kind")?,
            queue: row.get("queue")?,
            timeout_ms: row.get("timeout_ms")?,
            keep: row.get("keep")?,
            is_announced: row.get("is_announced")?,
            endpoint: endpoint.zip(secret),
        })
    })
}

/// Writes down what a plugin declares of its kinds, where it differs from what stands there. An endpoint that a kind had before
/// is forgotten: its handler works it.
pub(crate) async fn declare(db: &impl Queries, plugin: &str, jobs: &[DeclaredJob]) -> Result<u64> {
    let kinds: Vec<&str> = jobs.iter().map(|job| &*job.kind).collect();
    let queues: Vec<&str> = jobs
        .iter()
        .map(|job| job.queue.as_deref().unwrap_or("default"))
        .collect();
    let attempts: Vec<i16> = jobs
        .iter()
        .map(|job| {
            job.attempts_max
                .and_then(|max| i16::try_from(max).ok())
                .unwrap_or(10)
        })
        .collect();
    let timeouts: Vec<i32> = jobs
        .iter()
        .map(|job| {
            job.timeout_ms
                .and_then(|ms| i32::try_from(ms).ok())
                .unwrap_or(300_000)
        })
        .collect();
    let keeps: Vec<&str> = jobs
        .iter()
        .map(|job| job.keep.map_or("all", |keep| keep.name()))
        .collect();
    db.execute(
        "insert into jobs.kinds as k (kind, queue, attempts_max, timeout_ms, keep, declared_by) \
         select d.kind, jobs.queue_id(d.queue), d.attempts_max, d.timeout_ms, d.keep, $6 \
         from unnest($1, $2, $3, $4, $5) as d (kind, queue, attempts_max, timeout_ms, keep) \
         on conflict (kind) do update set queue = excluded.queue, attempts_max = excluded.attempts_max, \
             timeout_ms = excluded.timeout_ms, keep = excluded.keep, declared_by = excluded.declared_by, endpoint = null, \
             endpoint_secret = null, updated_at = now() \
         where k.endpoint is not null or (k.queue, k.attempts_max, k.timeout_ms, k.keep, k.declared_by) \
             is distinct from (excluded.queue, excluded.attempts_max, excluded.timeout_ms, excluded.keep, excluded.declared_by)",
        &[&kinds, &queues, &attempts, &timeouts, &keeps, &plugin],
    )
    .await
}

/// All queues, and whether hosts work on them.
pub(crate) async fn queues(db: &impl Queries) -> Result<Vec<(i16, Arc<str>, bool)>> {
    db.query(
        "select id, name, worker = 'host' as is_for_hosts from jobs.queues order by id",
        &[],
    )
    .await?
    .map(|row| {
        let name = Arc::from(row.get::<&str>("name")?);
        Ok((row.get("id")?, name, row.get("is_for_hosts")?))
    })
}
