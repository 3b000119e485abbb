//! Queues: their limits, and what is in them.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::{Deserialize, Serialize};

use crate::error::JobError;

/// How far jobs are counted: see `jobs.queue_stats`.
pub(crate) const COUNTED_TO: i32 = 10_000;

/// How many jobs may start.
#[derive(Debug, Clone, Deserialize, Serialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    /// Starts in a second, on average.
    pub per_second: f64,
    /// Starts that may come at once, after a pause.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub burst: i32,
    /// `queue` for all of it, or `key`: each rate key of its jobs has a rate of its own.
    #[serde(default = "by_queue")]
    pub by: String,
}

fn one() -> i32 {
    1
}

fn by_queue() -> String {
    "queue".to_owned()
}

/// What is set of a queue. All of it is set: what is not given has no limit.
#[derive(Debug, Deserialize, Serialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// `host` for plugins and endpoints, `pull` for workers that fetch.
    pub worker: String,
    /// Most jobs that run at a time, over all hosts.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub running_max: Option<i32>,
    /// The same for each concurrency key.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub running_per_key_max: Option<i32>,
    /// How many start.
    pub rate: Option<Rate>,
}

/// Most of anything that is set.
const MOST: i32 = 1_000_000;

/// Only what the schemas allow is kept.
pub(crate) fn within(name: &str, amount: Option<i32>, least: i32) -> Result<()> {
    if amount.is_some_and(|amount| !(least..=MOST).contains(&amount)) {
        let message = format!("{name}: expected {least} to {MOST}");
        return Err(JobError::Option { message }.into());
    }
    Ok(())
}

impl Settings {
    fn check(&self) -> Result<()> {
        within("running_max", self.running_max, 0)?;
        within("running_per_key_max", self.running_per_key_max, 1)?;
        within("burst", self.rate.as_ref().map(|rate| rate.burst), 1)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            worker: "host".to_owned(),
            running_max: None,
            running_per_key_max: None,
            rate: None,
        }
    }
}

/// A queue and what is in it. Numbers of jobs are counted to 10,000: that number is "at least".
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Queue {
    /// Its name.
    pub name: String,
    /// Who works on it.
    pub worker: String,
    /// May run now.
    pub available: i64,
    /// Wait for their time.
    pub scheduled: i64,
    /// Have failed, and wait for their next attempt.
    pub retryable: i64,
    /// Run, or were claimed by a host and are about to.
    pub running: i64,
    /// Were given up.
    pub discarded: i64,
    /// Since when the oldest available one is enqueued, in seconds; a wanted delay counts.
    pub oldest_seconds: Option<f64>,
    /// Most that run at a time.
    pub running_max: Option<i32>,
    /// Most of each concurrency key.
    pub running_per_key_max: Option<i32>,
    /// How many start.
    pub rate: Option<Rate>,
    /// Since when nothing begins.
    pub paused_at: Option<Timestamp>,
    /// Who said so.
    pub paused_by: Option<String>,
    /// And why.
    pub pause_reason: Option<String>,
}

/// All queues, or the one of that name.
pub(crate) async fn all(db: &impl Queries, only: Option<&str>) -> Result<Vec<Queue>> {
    db.query(
        "select q.name, q.worker, s.available, s.scheduled, s.retryable, s.running, s.discarded, \
             extract(epoch from greatest(clock_timestamp() - s.oldest_at, interval '0'))::double precision as oldest_seconds, \
             q.running_max, q.running_per_key_max, q.rate_per_second, q.rate_burst, q.rate_by, q.paused_at, q.paused_by, q.pause_reason \
         from jobs.queue_stats($1, $2) s join jobs.queues q on q.id = s.id order by q.name",
        &[&COUNTED_TO, &only],
    )
    .await?
    .map(queue)
}

fn queue(row: &Row) -> Result<Queue> {
    let per_second: Option<f64> = row.get("rate_per_second")?;
    let rate = match per_second {
        Some(per_second) => Some(Rate {
            per_second,
            burst: row.get("rate_burst")?,
            by: row.get("rate_by")?,
        }),
        None => None,
    };
    Ok(Queue {
        name: row.get("name")?,
        worker: row.get("worker")?,
        available: row.get("available")?,
        scheduled: row.get("scheduled")?,
        retryable: row.get("retryable")?,
        running: row.get("running")?,
        discarded: row.get("discarded")?,
        oldest_seconds: row.get("oldest_seconds")?,
        running_max: row.get("running_max")?,
        running_per_key_max: row.get("running_per_key_max")?,
        rate,
        paused_at: row.get("paused_at")?,
        paused_by: row.get("paused_by")?,
        pause_reason: row.get("pause_reason")?,
    })
}

/// Who works on a queue, which nobody else changes until the transaction ends; none when there is no such queue.
pub(crate) async fn lock(tx: &impl Queries, name: &str) -> Result<Option<String>> {
    tx.query_one("select (jobs.lock_queue($1)).worker", &[&name])
        .await?
        .get(0)
}

/// Sets limits; whether the queue is new.
pub(crate) async fn set(db: &impl Queries, name: &str, settings: &Settings) -> Result<bool> {
    settings.check()?;
    let rate = settings.rate.as_ref();
    db.query_one(
        "select jobs.set_queue($1, $2, $3, $4, $5, $6, $7)",
        &[
            &name,
            &settings.worker,
            &settings.running_max,
            &settings.running_per_key_max,
            &rate.map(|rate| rate.per_second),
            &rate.map_or(1, |rate| rate.burst),
            &rate.map_or("queue", |rate| &*rate.by),
        ],
    )
    .await?
    .get(0)
}

/// Nothing of it begins any more; whether there is such a queue.
pub(crate) async fn pause(
    db: &impl Queries,
    name: &str,
    by: &str,
    reason: Option<&str>,
) -> Result<bool> {
    db.query_one(
        "select jobs.pause_queue($1, $2, $3)",
        &[&name, &by, &reason],
    )
    .await?
    .get(0)
}

/// Its jobs begin again; whether there is such a queue.
pub(crate) async fn resume(db: &impl Queries, name: &str) -> Result<bool> {
    db.query_one("select jobs.resume_queue($1)", &[&name])
        .await?
        .get(0)
}

/// Jobs of a queue that run.
pub(crate) async fn running(db: &impl Queries, name: &str) -> Result<i64> {
    db.query_one(
        "select coalesce((select jobs.running_in(q.id) from jobs.queues q where q.name = $1), 0)",
        &[&name],
    )
    .await?
    .get(0)
}
