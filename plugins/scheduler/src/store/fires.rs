//! What was fired.

use nself_plugin_api::{jiff::Timestamp, prelude::*, uuid::Uuid};
use serde::Serialize;

/// A fire as its owner sees it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Fire {
    /// The time that the schedule names.
    pub scheduled_at: Timestamp,
    /// `time`, `manual` or `backfill`.
    pub origin: String,
    /// When it was fired, or decided about.
    pub fired_at: Timestamp,
    /// How much later than it should have been, jitter not counted.
    pub late_ms: Option<i64>,
    /// `fired`, `waiting` or `skipped` because of the run before it, or `failed`.
    pub outcome: String,
    /// The job that it became.
    pub job_id: Option<i64>,
    /// Why its target could not be reached.
    pub error: Option<String>,
}

/// Fires of a schedule before a time, newest first.
pub(crate) async fn list(
    db: &impl Queries,
    schedule: Uuid,
    before: Option<Timestamp>,
    limit: i64,
) -> Result<Vec<Fire>> {
    db.query(
        "select nominal_at, origin, fired_at, late_ms, outcome, job_id, error from scheduler.fires \
         where schedule_id = $1 and ($2::timestamptz is null or nominal_at < $2) order by nominal_at desc limit $3",
        &[&schedule, &before, &limit],
    )
    .await?
    .map(|row| {
        Ok(Fire {
            scheduled_at: row.get("nominal_at")?,
            origin: row.get("origin")?,
            fired_at: row.get("fired_at")?,
            late_ms: row.get("late_ms")?,
            outcome: row.get("outcome")?,
            job_id: row.get("job_id")?,
            error: row.get("error")?,
        })
    })
}

/// Times of a schedule in a window that have been fired.
pub(crate) async fn nominals(
    db: &impl Queries,
    schedule: Uuid,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Timestamp>> {
    db.query(
        "select nominal_at from scheduler.fires where schedule_id = $1 and nominal_at between $2 and $3 order by nominal_at",
        &[&schedule, &from, &to],
    )
    .await?
    .map(|row| row.get(0))
}

/// Deletes some thousand fires that are too old, and one-off events that are over; how many.
pub(crate) async fn prune(db: &impl Queries, days: i32) -> Result<u64> {
    let fires = db
        .execute(
            "delete from scheduler.fires f where f.ctid = any (array( \
                 select o.ctid from scheduler.fires o where o.fired_at < clock_timestamp() - make_interval(days => $1) \
                     and o.outcome <> 'waiting' limit 10000))",
            &[&days],
        )
        .await?;
    let events = db
        .execute(
            "delete from scheduler.schedules s where s.id = any (array( \
                 select o.id from scheduler.schedules o where o.owner = 'event' and o.next_at is null and o.waiting_at is null \
                     and coalesce(o.last_fired_at, o.created_at) < clock_timestamp() - make_interval(days => $1) limit 1000))",
            &[&days],
        )
        .await?;
    Ok(fires + events)
}
