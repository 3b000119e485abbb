//! The SQL of a cursor's holder. Everything that it writes names its token and its time, so a holder that was replaced,
//! or could have been, writes nothing.

use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::envelope::{COLUMNS, CloudEvent};
use super::error::EventError;
use super::subscriber::Subscriber;

/// A place in the log: transaction number and number within the log, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) xid: u64,
    pub(super) position: i64,
}

/// What the log holds behind a cursor.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) events: Vec<(Place, CloudEvent)>,
    /// Failed deliveries of the first event.
    pub(super) attempts: u32,
    /// Every transaction with a smaller number has ended.
    pub(super) horizon: u64,
    /// Events that are committed and wait for older transactions to end.
    pub(super) has_unsafe: bool,
    /// Something that was put aside is asked for again.
    pub(super) has_retries: bool,
    /// The log goes on behind the cursor, with events that this subscriber wants or with others.
    pub(super) is_behind: bool,
}

/// A cursor that this replica holds.
#[derive(Debug, Clone)]
pub(super) struct Held<'a> {
    pub(super) pool: &'a Pool,
    pub(super) subscriber: &'a Subscriber,
    pub(super) token: i64,
}

impl Held<'_> {
    /// The next events that no later commit can come before.
    pub(super) async fn fetch(&self) -> Result<Batch, EventError> {
        let client = self.pool.get().await?;
        // One statement, so that the bound and the rows come from one snapshot.
        let sql = format!(
            "WITH held AS MATERIALIZED (
                 SELECT c.xid, c.position, c.attempts FROM nself.event_cursors c
                 WHERE c.subscriber = $1 AND c.lease_token = $2 AND c.lease_until > clock_timestamp()
             ), snapshot AS MATERIALIZED (
                 SELECT pg_snapshot_xmin(pg_current_snapshot()) AS horizon
             ), wanted AS MATERIALIZED (
                 SELECT array_agg(nself.like_pattern(t)) AS patterns FROM unnest($3::text[]) AS t
             ), newest AS MATERIALIZED (
                 SELECT e.xid, e.position FROM nself.events e ORDER BY e.xid DESC, e.position DESC LIMIT 1
             )
             SELECT s.horizon::text, coalesce(n.xid >= s.horizon, false) AS has_unsafe,
                 coalesce((n.xid, n.position) > (h.xid, h.position), false) AS is_behind, h.attempts, e.xid::text AS xid_text, {COLUMNS},
                 EXISTS (
                     SELECT FROM nself.event_failures f WHERE f.subscriber = $1 AND f.retry_requested_at IS NOT NULL
                 ) AS has_retries
             FROM held h
             CROSS JOIN snapshot s
             LEFT JOIN newest n ON true
             LEFT JOIN LATERAL (
                 SELECT e.* FROM nself.events e
                 WHERE (e.xid, e.position) > (h.xid, h.position) AND e.xid < s.horizon
                     AND e.type LIKE ANY ((SELECT w.patterns FROM wanted w)::text[])
                 ORDER BY e.xid, e.position
                 LIMIT $4
             ) AS e ON true
             ORDER BY e.xid, e.position"
        );
        let statement = client.prepare_cached(&sql).await?;
        let Subscriber {
            name,
            types,
            tuning,
            ..
        } = self.subscriber;
        let rows = client
            .query(
                &statement,
                &[name, &self.token, types, &i64::from(tuning.batch_max)],
            )
            .await?;
        let first = rows.first().ok_or_else(|| self.lost())?;
        Ok(Batch {
            attempts: u32::try_from(first.get::<_, i32>("attempts"))
                .expect("a count is not negative"),
            horizon: xid(first.get("horizon")),
            has_unsafe: first.get("has_unsafe"),
            has_retries: first.get("has_retries"),
            is_behind: first.get("is_behind"),
            events: rows.iter().filter_map(event).collect(),
        })
    }

    /// Prolongs the lease.
    pub(super) async fn renew(&self) -> Result<(), EventError> {
        let lease = self.subscriber.tuning.lease.as_secs_f64();
        self.write(
            "lease_until = clock_timestamp() + make_interval(secs => $3)",
            &[&lease],
        )
        .await
    }

    /// Moves the cursor: everything up to `place` is done.
    pub(super) async fn acknowledge(&self, place: Place) -> Result<(), EventError> {
        let set = "xid = $3::text::xid8, position = $4, attempts = 0, last_error = NULL, updated_at = clock_timestamp()";
        self.write(set, &[&place.xid.to_string(), &place.position])
            .await
    }

    /// Moves the cursor over events below `horizon` that this subscriber does not want, so that they can be pruned and
    /// are not looked at again.
    pub(super) async fn skip_unwanted(&self, horizon: u64) -> Result<(), EventError> {
        let client = self.pool.get().await?;
        let statement = client
            .prepare_cached(
                "UPDATE nself.event_cursors c
                 SET xid = last.xid, position = last.position, updated_at = clock_timestamp()
                 FROM (
                     SELECT e.xid, e.position FROM nself.events e WHERE e.xid < $3::text::xid8
                     ORDER BY e.xid DESC, e.position DESC LIMIT 1
                 ) AS last
                 WHERE c.subscriber = $1 AND c.lease_token = $2 AND c.lease_until > clock_timestamp()
                     AND (last.xid, last.position) > (c.xid, c.position)",
            )
            .await?;
        client
            .execute(
                &statement,
                &[&self.subscriber.name, &self.token, &horizon.to_string()],
            )
            .await?;
        Ok(())
    }

    /// Keeps the count of failed deliveries, so that a restart does not begin it anew.
    pub(super) async fn record_failure(
        &self,
        attempts: u32,
        error: &str,
    ) -> Result<(), EventError> {
        let set = "attempts = $3, last_error = $4, updated_at = clock_timestamp()";
        self.write(set, &[&count(attempts), &error]).await
    }

    /// Puts an event aside and moves the cursor over it, both or neither.
    pub(super) async fn bury(
        &self,
        place: Place,
        event: &CloudEvent,
        attempts: u32,
        error: &str,
    ) -> Result<(), EventError> {
        let client = self.pool.get().await?;
        let document = serde_json::to_value(event).expect("an envelope is plain JSON");
        let buried = client
            .execute(
                "WITH moved AS (
                     UPDATE nself.event_cursors
                     SET xid = $3::text::xid8, position = $4, attempts = 0, last_error = $8,
                         updated_at = clock_timestamp()
                     WHERE subscriber = $1 AND lease_token = $2 AND lease_until > clock_timestamp()
                     RETURNING subscriber
                 )
                 INSERT INTO nself.event_failures (subscriber, event_id, event, attempts, error)
                 SELECT subscriber, $5, $6, $7, $8 FROM moved
                 ON CONFLICT (subscriber, event_id) DO UPDATE SET
                     attempts = excluded.attempts, error = excluded.error, failed_at = clock_timestamp()",
                &[
                    &self.subscriber.name,
                    &self.token,
                    &place.xid.to_string(),
                    &place.position,
                    &event.id,
                    &document,
                    &count(attempts),
                    &error,
                ],
            )
            .await?;
        if buried == 0 {
            Err(self.lost())
        } else {
            Ok(())
        }
    }

    /// What was put aside and is asked for again, the oldest first.
    pub(super) async fn fetch_retries(&self) -> Result<Vec<CloudEvent>, EventError> {
        let client = self.pool.get().await?;
        let statement = client
            .prepare_cached(
                "SELECT event FROM nself.event_failures
                 WHERE subscriber = $1 AND retry_requested_at IS NOT NULL
                 ORDER BY failed_at LIMIT $2",
            )
            .await?;
        let limit = i64::from(self.subscriber.tuning.batch_max);
        let rows = client
            .query(&statement, &[&self.subscriber.name, &limit])
            .await?;
        let event =
            |row: &Row| serde_json::from_value(row.get(0)).expect("only envelopes are put aside");
        Ok(rows.iter().map(event).collect())
    }

    /// Ends a retry: the event is forgotten when it was handled, else it stays aside with the new error.
    pub(super) async fn finish_retry(
        &self,
        event: Uuid,
        outcome: Result<(), String>,
    ) -> Result<(), EventError> {
        let client = self.pool.get().await?;
        let key: [&(dyn ToSql + Sync); 2] = [&self.subscriber.name, &event];
        match outcome {
            Ok(()) => {
                client
                    .execute(
                        "DELETE FROM nself.event_failures WHERE subscriber = $1 AND event_id = $2",
                        &key,
                    )
                    .await?
            }
            Err(error) => {
                client
                    .execute(
                        "UPDATE nself.event_failures
                         SET attempts = attempts + 1, error = $3, failed_at = clock_timestamp(),
                             retry_requested_at = NULL
                         WHERE subscriber = $1 AND event_id = $2",
                        &[key[0], key[1], &error],
                    )
                    .await?
            }
        };
        Ok(())
    }

    /// Marks the reader as idle: from now on writers notify. Returns the first transaction number that sees the mark.
    pub(super) async fn mark(&self) -> Result<u64, EventError> {
        let client = self.pool.get().await?;
        let statement = client
            .prepare_cached(
                "INSERT INTO nself.event_waiters AS w (subscriber, patterns, until)
                 SELECT $1, array_agg(nself.like_pattern(t)), clock_timestamp() + make_interval(secs => $3)
                 FROM unnest($2::text[]) AS t
                 HAVING count(*) > 0
                 ON CONFLICT (subscriber) DO UPDATE SET patterns = excluded.patterns, until = excluded.until",
            )
            .await?;
        client
            .execute(
                &statement,
                &[
                    &self.subscriber.name,
                    &self.subscriber.types,
                    &self.mark_valid(),
                ],
            )
            .await?;
        // A statement of its own: its snapshot begins after the mark's commit.
        let statement = client
            .prepare_cached("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
            .await?;
        let row = client.query_one(&statement, &[]).await?;
        Ok(xid(row.get(0)))
    }

    /// Prolongs a mark that is in force; false when there is none any more.
    pub(super) async fn prolong_mark(&self) -> Result<bool, EventError> {
        let client = self.pool.get().await?;
        let statement = client
            .prepare_cached(
                "UPDATE nself.event_waiters SET until = clock_timestamp() + make_interval(secs => $2)
                 WHERE subscriber = $1 AND until > clock_timestamp()",
            )
            .await?;
        let prolonged = client
            .execute(&statement, &[&self.subscriber.name, &self.mark_valid()])
            .await?;
        Ok(prolonged > 0)
    }

    /// In seconds: beyond the next sweep, which prolongs it; a mark that outlives its reader only costs the writers.
    fn mark_valid(&self) -> f64 {
        self.subscriber.tuning.sweep.saturating_mul(3).as_secs_f64()
    }

    /// Takes the mark away: writers need not notify a reader that is busy.
    pub(super) async fn unmark(&self) -> Result<(), EventError> {
        let client = self.pool.get().await?;
        let statement = client
            .prepare_cached("DELETE FROM nself.event_waiters WHERE subscriber = $1")
            .await?;
        client.execute(&statement, &[&self.subscriber.name]).await?;
        Ok(())
    }

    /// Gives the lease back and wakes a replica that waits for it.
    pub(super) async fn release(&self) -> Result<(), EventError> {
        let client = self.pool.get().await?;
        client
            .execute(
                "WITH released AS (
                     UPDATE nself.event_cursors SET lease_until = NULL, lease_holder = NULL
                     WHERE subscriber = $1 AND lease_token = $2
                     RETURNING subscriber
                 ), mark AS (
                     DELETE FROM nself.event_waiters WHERE subscriber IN (SELECT subscriber FROM released)
                 )
                 SELECT pg_notify('nself_events', subscriber) FROM released",
                &[&self.subscriber.name, &self.token],
            )
            .await?;
        Ok(())
    }

    /// Writes `set` to the cursor; its parameters are numbered from 3.
    async fn write(&self, set: &str, values: &[&(dyn ToSql + Sync)]) -> Result<(), EventError> {
        let client = self.pool.get().await?;
        let sql = format!(
            "UPDATE nself.event_cursors SET {set}
             WHERE subscriber = $1 AND lease_token = $2 AND lease_until > clock_timestamp()"
        );
        let statement = client.prepare_cached(&sql).await?;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&self.subscriber.name, &self.token];
        parameters.extend(values);
        let written = client.execute(&statement, &parameters).await?;
        if written == 0 {
            Err(self.lost())
        } else {
            Ok(())
        }
    }

    pub(super) fn lost(&self) -> EventError {
        EventError::LeaseLost {
            subscriber: self.subscriber.name.clone(),
        }
    }
}

/// None for the row that stands for an empty batch.
fn event(row: &Row) -> Option<(Place, CloudEvent)> {
    let xid_text: Option<&str> = row.get("xid_text");
    xid_text.map(|text| {
        (
            Place {
                xid: xid(text),
                position: row.get("position"),
            },
            CloudEvent::from_row(row),
        )
    })
}

fn xid(text: &str) -> u64 {
    text.parse().expect("xid8 prints as a number of 64 bits")
}

fn count(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}
