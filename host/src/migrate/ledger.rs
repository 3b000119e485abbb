//! `nself.migrations`: which steps are applied, and the one lock under which that changes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_postgres::{Client, Error, GenericClient};

use super::error::MigrateError;
use super::plan::{Applied, checksum};
use super::runner::{Observer, Progress};
use crate::plugin::manifest::Migration;

/// "nself_mg" in ASCII: the advisory lock of every migration run in a database.
pub(super) const LOCK_KEY: i64 = 0x6e73_656c_665f_6d67;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(500);

/// A row of `nself.migrations`.
#[derive(Debug, Clone)]
pub(super) struct AppliedStep {
    pub(super) name: String,
    pub(super) checksum: String,
    /// None while a step without transaction has begun and not ended.
    pub(super) applied_at: Option<Timestamp>,
    pub(super) duration_ms: Option<i64>,
    pub(super) host_version: String,
}

/// Waits for the lock, at most `patience`.
pub(super) async fn lock(
    client: &Client,
    patience: Duration,
    observer: &Observer,
) -> Result<(), MigrateError> {
    let begun = Instant::now();
    let mut pause = LOCK_PAUSE;
    // Tried again and again instead of waited for: a waiting statement keeps a snapshot, and the lock's holder may be
    // in a CREATE INDEX CONCURRENTLY, which waits for all older snapshots. Each would wait for the other.
    while !try_lock(client)
        .await
        .map_err(MigrateError::database("take the lock for migrations"))?
    {
        let holder = holder(client).await.map_err(MigrateError::database(
            "see who holds the lock for migrations",
        ))?;
        if begun.elapsed() + pause > patience {
            return Err(MigrateError::Locked {
                holder,
                waited: begun.elapsed(),
            });
        }
        observer.tell(&Progress::Waiting { holder });
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOCK_PAUSE_MAX);
    }
    Ok(())
}

/// Gives the lock back. Losing the connection does that too, so a failure here changes nothing.
pub(super) async fn unlock(client: &Client) {
    if let Err(error) = client
        .execute("SELECT pg_advisory_unlock($1)", &[&LOCK_KEY])
        .await
    {
        tracing::debug!(%error, "the migration lock ends with its session");
    }
}

async fn try_lock(client: &Client) -> Result<bool, Error> {
    Ok(client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK_KEY])
        .await?
        .get(0))
}

async fn holder(client: &Client) -> Result<Option<i32>, Error> {
    let row = client
        .query_opt(
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND d.datname = current_database()
                 AND (l.classid::bigint << 32) | l.objid::bigint = $1",
            &[&LOCK_KEY],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Makes schema and table when they are missing. Under the lock: two at once would collide in the catalog.
pub(super) async fn bootstrap(client: &Client) -> Result<(), MigrateError> {
    if exists(client).await? {
        return Ok(());
    }
    client
        .batch_execute(
            "BEGIN;
             CREATE SCHEMA IF NOT EXISTS nself;
             CREATE TABLE nself.migrations (
                 owner text NOT NULL,
                 number integer NOT NULL,
                 name text NOT NULL,
                 -- sha256 of the up text, hex.
                 checksum text NOT NULL,
                 -- Null while a step without transaction has begun and not ended.
                 applied_at timestamptz,
                 duration_ms bigint,
                 host_version text NOT NULL,
                 CONSTRAINT migrations_pkey PRIMARY KEY (owner, number),
                 CONSTRAINT migrations_number_check CHECK (number > 0)
             );
             COMMIT",
        )
        .await
        .map_err(MigrateError::database(
            "make nself.migrations: the database login needs CREATE on the database",
        ))
}

async fn exists(client: &Client) -> Result<bool, MigrateError> {
    client
        .query_one("SELECT to_regclass('nself.migrations') IS NOT NULL", &[])
        .await
        .map(|row| row.get(0))
        .map_err(MigrateError::database("look for nself.migrations"))
}

/// The applied steps of `owner`; none in a database that was never migrated.
pub(super) async fn applied(client: &Client, owner: &str) -> Result<Applied, MigrateError> {
    if exists(client).await? {
        read(client, owner).await
    } else {
        Ok(Applied::new())
    }
}

/// The same in a database of which is known that it has the table.
pub(super) async fn read(client: &Client, owner: &str) -> Result<Applied, MigrateError> {
    let rows = client
        .query(
            "SELECT number, name, checksum, applied_at, duration_ms, host_version
             FROM nself.migrations WHERE owner = $1",
            &[&owner],
        )
        .await
        .map_err(MigrateError::database("read nself.migrations"))?;
    let entry = |row: tokio_postgres::Row| {
        let number =
            u32::try_from(row.get::<_, i32>(0)).expect("a constraint keeps numbers positive");
        let applied = AppliedStep {
            name: row.get(1),
            checksum: row.get(2),
            applied_at: row.get(3),
            duration_ms: row.get(4),
            host_version: row.get(5),
        };
        (number, applied)
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// Records that a step is applied, or with no `duration` that it has begun.
pub(super) async fn record(
    client: &impl GenericClient,
    owner: &str,
    step: &Migration,
    duration: Option<Duration>,
) -> Result<(), Error> {
    let duration_ms =
        duration.map(|duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
    client
        .execute(
            "INSERT INTO nself.migrations AS m (owner, number, name, checksum, applied_at, duration_ms, host_version)
             VALUES ($1, $2, $3, $4, CASE WHEN $5::bigint IS NOT NULL THEN clock_timestamp() END, $5, $6)
             ON CONFLICT (owner, number) DO UPDATE SET
                 name = excluded.name, checksum = excluded.checksum, applied_at = excluded.applied_at,
                 duration_ms = excluded.duration_ms, host_version = excluded.host_version",
            &[&owner, &number(step), &step.name, &checksum(step), &duration_ms, &env!("CARGO_PKG_VERSION")],
        )
        .await
        .map(drop)
}

/// Takes the new text of an edited step as the applied one.
pub(super) async fn accept(client: &Client, owner: &str, step: &Migration) -> Result<(), Error> {
    client
        .execute(
            "UPDATE nself.migrations SET name = $3, checksum = $4 WHERE owner = $1 AND number = $2",
            &[&owner, &number(step), &step.name, &checksum(step)],
        )
        .await
        .map(drop)
}

/// Forgets a step that was taken back.
pub(super) async fn forget(
    client: &impl GenericClient,
    owner: &str,
    step: &Migration,
) -> Result<(), Error> {
    client
        .execute(
            "DELETE FROM nself.migrations WHERE owner = $1 AND number = $2",
            &[&owner, &number(step)],
        )
        .await
        .map(drop)
}

fn number(step: &Migration) -> i32 {
    i32::try_from(step.number).expect("nobody writes two billion steps")
}
