//! The SQL of the reading side that needs no lease.

use std::time::Duration;

use deadpool_postgres::Pool;
use uuid::Uuid;

use super::error::EventError;
use super::subscriber::{StartAt, Subscriber};

/// Makes the cursor of `subscriber` when it has none, and keeps its types for the status.
pub(super) async fn register(pool: &Pool, subscriber: &Subscriber) -> Result<(), EventError> {
    let client = pool.get().await?;
    // A cursor names a row that it is done with, never "now": the database may come back from a dump with other
    // transaction numbers, and `nself.rebase_events` then needs the row's place.
    let statement = client
        .prepare_cached(
            "INSERT INTO nself.event_cursors AS c (subscriber, types, xid, position)
             SELECT $1, $2, coalesce(done.xid, '0'), coalesce(done.position, 0)
             FROM (SELECT) AS one
             LEFT JOIN (
                 SELECT e.xid, e.position FROM nself.events e
                 WHERE $3 AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
                 ORDER BY e.xid DESC, e.position DESC LIMIT 1
             ) AS done ON true
             ON CONFLICT (subscriber) DO UPDATE SET types = excluded.types WHERE c.types <> excluded.types",
        )
        .await?;
    client
        .execute(
            &statement,
            &[
                &subscriber.name,
                &subscriber.types,
                &(subscriber.start_at == StartAt::Now),
            ],
        )
        .await?;
    client.execute("SELECT nself.rebase_events()", &[]).await?;
    Ok(())
}

/// Takes the lease when nobody holds it, and returns its token.
pub(super) async fn acquire(
    pool: &Pool,
    subscriber: &str,
    holder: Uuid,
    lease: Duration,
) -> Result<Option<i64>, EventError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "UPDATE nself.event_cursors
             SET lease_token = lease_token + 1, lease_holder = $2,
                 lease_until = clock_timestamp() + make_interval(secs => $3)
             WHERE subscriber = $1 AND coalesce(lease_until <= clock_timestamp(), true)
             RETURNING lease_token",
        )
        .await?;
    let row = client
        .query_opt(
            &statement,
            &[&subscriber, &holder.to_string(), &lease.as_secs_f64()],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Deletes the cursor and the mark of a subscriber.
pub(super) async fn forget(pool: &Pool, subscriber: &str) -> Result<(), EventError> {
    let client = pool.get().await?;
    client
        .execute(
            "WITH mark AS (DELETE FROM nself.event_waiters WHERE subscriber = $1)
             DELETE FROM nself.event_cursors WHERE subscriber = $1",
            &[&subscriber],
        )
        .await?;
    Ok(())
}

pub(super) async fn retry_failures(
    pool: &Pool,
    subscriber: &str,
    event: Option<Uuid>,
) -> Result<u64, EventError> {
    let client = pool.get().await?;
    let row = client
        .query_one(
            "SELECT nself.retry_failures($1, $2)",
            &[&subscriber, &event],
        )
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).expect("a count is not negative"))
}

/// Rows per statement of [`prune`]: each is a transaction of its own, and none holds locks for long.
const PRUNE_ROWS_MAX: i32 = 10_000;

pub(super) async fn prune(pool: &Pool, older_than: Duration) -> Result<u64, EventError> {
    let client = pool.get().await?;
    let sql = "SELECT nself.prune_events(make_interval(secs => $1), $2)";
    let mut total = 0;
    loop {
        let pruned: i64 = client
            .query_one(sql, &[&older_than.as_secs_f64(), &PRUNE_ROWS_MAX])
            .await?
            .get(0);
        total += u64::try_from(pruned).expect("a count is not negative");
        if pruned < i64::from(PRUNE_ROWS_MAX) {
            return Ok(total);
        }
    }
}
