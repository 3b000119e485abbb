//! What people and plugins do with jobs that are there.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};
use serde::Serialize;

use super::told::{self, Line};

/// A job as its owner sees it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Shown {
    /// Its id.
    pub id: i64,
    /// `available`, `scheduled`, `running`, `retryable`, `completed`, `cancelled` or `discarded`.
    pub state: String,
    /// What it is.
    pub kind: String,
    /// Where it waits.
    pub queue: String,
    /// 0 is first, 9 is last.
    pub priority: Option<i16>,
    /// Attempts that were begun.
    pub attempt: i16,
    /// Attempts before it is given up.
    pub attempts_max: Option<i16>,
    /// Whose it is.
    pub family_id: Option<Uuid>,
    /// Jobs with the same one share a limit.
    pub concurrency_key: Option<String>,
    /// Jobs with the same one share a rate.
    pub rate_key: Option<String>,
    /// Options, what the job was told of its cause (`scheduled_at`, `fired_at`, `previous`, `ended_batch`), and the errors of the
    /// attempts so far.
    pub meta: Option<Value>,
    /// Its input; not there for a large one of a job that has ended.
    pub payload: Option<Value>,
    /// What came of it.
    pub result: Option<Value>,
    /// Why it was discarded.
    pub error: Option<Value>,
    /// What its worker says of how far it is.
    pub progress: Option<Value>,
    /// When it is due, if it waits for a time.
    pub run_at: Option<Timestamp>,
    /// When the last attempt began.
    pub claimed_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it wrote down, the newest 100 lines.
    pub logs: Vec<Line>,
}

/// A job by its id.
pub(crate) async fn find(db: &impl Queries, job: i64) -> Result<Option<Shown>> {
    let row = db
        .query_opt(
            "select f.id, f.state, f.kind, q.name as queue, f.priority, f.attempt, f.attempts_max, f.family_id, f.concurrency_key, \
                 f.rate_key, f.meta || coalesce((select jsonb_build_object('previous', p.previous) from jobs.payloads p \
                     where p.id = f.id and p.previous is not null), '{}') as meta, \
                 coalesce(f.payload, (select p.body from jobs.payloads p where p.id = f.id)) as payload, f.result, f.error, \
                 coalesce(f.progress, (select p.progress from jobs.progress p where p.id = f.id)) as progress, f.run_at, f.claimed_at, f.finished_at \
             from jobs.find($1) f join jobs.queues q on q.id = f.queue",
            &[&job],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let logs = told::lines(db, job).await?;
    shown(&row, logs).map(Some)
}

fn shown(row: &Row, logs: Vec<Line>) -> Result<Shown> {
    Ok(Shown {
        id: row.get("id")?,
        state: row.get("state")?,
        kind: row.get("kind")?,
        queue: row.get("queue")?,
        priority: row.get("priority")?,
        attempt: row.get("attempt")?,
        attempts_max: row.get("attempts_max")?,
        family_id: row.get("family_id")?,
        concurrency_key: row.get("concurrency_key")?,
        rate_key: row.get("rate_key")?,
        meta: row.get("meta")?,
        payload: row.get("payload")?,
        result: row.get("result")?,
        error: row.get("error")?,
        progress: row.get("progress")?,
        run_at: row.get("run_at")?,
        claimed_at: row.get("claimed_at")?,
        finished_at: row.get("finished_at")?,
        logs,
    })
}

/// Ends a job; the state that it was in.
pub(crate) async fn cancel(
    db: &impl Queries,
    job: i64,
    reason: Option<&str>,
) -> Result<Option<String>> {
    db.query_one("select jobs.cancel($1, $2)", &[&job, &reason])
        .await?
        .get(0)
}

/// Makes a job available; the state that it is in now.
pub(crate) async fn retry(db: &impl Queries, job: i64) -> Result<Option<String>> {
    db.query_one("select jobs.retry($1)", &[&job]).await?.get(0)
}

/// Gives a job that has not begun another priority; whether there was one.
pub(crate) async fn reprioritise(db: &impl Queries, job: i64, priority: i16) -> Result<bool> {
    db.query_one("select jobs.reprioritise($1, $2)", &[&job, &priority])
        .await?
        .get(0)
}

/// Makes at most `jobs_max` discarded jobs available that were discarded before a time; how many.
pub(crate) async fn retry_dead(
    db: &impl Queries,
    kind: Option<&str>,
    queue: Option<&str>,
    before: Timestamp,
    jobs_max: i32,
) -> Result<i64> {
    db.query_one(
        "select jobs.retry_dead($1, case when $2::text is null then null \
             else coalesce((select q.id from jobs.queues q where q.name = $2::text), 0::smallint) end, $3, $4)",
        &[&kind, &queue, &before, &jobs_max],
    )
    .await?
    .get(0)
}

/// Removes a discarded job for good; whether there was one.
pub(crate) async fn forget_dead(db: &impl Queries, job: i64) -> Result<bool> {
    db.query_one("select jobs.forget_dead($1)", &[&job])
        .await?
        .get(0)
}

/// What the database's clock shows.
pub(crate) async fn now(db: &impl Queries) -> Result<Timestamp> {
    db.query_one("select clock_timestamp()", &[]).await?.get(0)
}

/// Makes room for what ends in the next days.
pub(crate) async fn make_partitions(db: &impl Queries) -> Result<()> {
    db.query("select jobs.make_partitions()", &[]).await?;
    Ok(())
}

/// Drops what is too old, at most some thousand rows; how much it was.
pub(crate) async fn prune(
    db: &impl Queries,
    finished_days: i32,
    discarded_days: i32,
) -> Result<i64> {
    db.query_one(
        "select jobs.prune($1, $2)",
        &[&finished_days, &discarded_days],
    )
    .await?
    .get(0)
}
