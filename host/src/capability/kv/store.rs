//! The store in Postgres: every operation is one statement on the unlogged table `nself.kv` (`db/nself/0005_kv.up.sql`).
//!
//! An expired row is as good as absent from the moment it expires; [`TableStore::sweep`] only gives its room back.
//! `now()` is the statement's start, so a statement that waited for a row sees a time that is a little old. That errs on
//! the safe side: no bucket gets tokens for time that has not passed.

use deadpool_postgres::Pool;
use tokio_postgres::{Row, error::SqlState, types::ToSql};

use super::{Bucket, Key, KvError};

const GET: &str = "
SELECT value FROM nself.kv
WHERE plugin = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > now())";

const SET: &str = "
INSERT INTO nself.kv (plugin, key, value, expires_at)
VALUES ($1, $2, $3, CASE WHEN $4::int8 <> 0 THEN now() + $4::int8 * interval '1 ms' END)
ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";

const DELETE: &str = "
DELETE FROM nself.kv WHERE plugin = $1 AND key = $2
RETURNING expires_at IS NULL OR expires_at > now()";

/// No row when the value is no number, as Redis reads one. `encode` shows bytes that are no ASCII as what no number has.
const INCREMENT: &str = r"
INSERT INTO nself.kv AS kv (plugin, key, value, expires_at)
VALUES ($1, $2, convert_to($3::int8::text, 'UTF8'), CASE WHEN $4::int8 <> 0 THEN now() + $4::int8 * interval '1 ms' END)
ON CONFLICT (plugin, key) DO UPDATE SET (value, expires_at) = (
    SELECT CASE WHEN expired THEN excluded.value
                ELSE convert_to((encode(kv.value, 'escape')::int8 + $3::int8)::text, 'UTF8') END,
           CASE WHEN expired THEN excluded.expires_at ELSE kv.expires_at END
    FROM (SELECT coalesce(kv.expires_at <= now(), false) AS expired) AS row)
WHERE kv.expires_at <= now() OR encode(kv.value, 'escape') ~ '^(0|-?[1-9][0-9]{0,18})$'
RETURNING encode(value, 'escape')::int8";

const EXPIRE: &str = "
UPDATE nself.kv SET expires_at = CASE WHEN $3::int8 <> 0 THEN now() + $3::int8 * interval '1 ms' END
WHERE plugin = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > now())
RETURNING true";

const CREATE: &str = "
INSERT INTO nself.kv AS kv (plugin, key, value, expires_at)
VALUES ($1, $2, $3, CASE WHEN $4::int8 <> 0 THEN now() + $4::int8 * interval '1 ms' END)
ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
WHERE kv.expires_at <= now()
RETURNING true";

const REPLACE: &str = "
UPDATE nself.kv SET value = $3, expires_at = CASE WHEN $4::int8 <> 0 THEN now() + $4::int8 * interval '1 ms' END
WHERE plugin = $1 AND key = $2 AND value = $5 AND (expires_at IS NULL OR expires_at > now())
RETURNING true";

const REMOVE: &str = "
DELETE FROM nself.kv
WHERE plugin = $1 AND key = $2 AND value = $3 AND (expires_at IS NULL OR expires_at > now())
RETURNING true";

/// `$3` capacity, `$4` microseconds to fill up, `$5` cost. The stored text is a [`Bucket`]'s with the decision behind it:
/// RETURNING sees only the new row. A refusal leaves `expires_at` as it is (the bucket is full no later for it), so no
/// index changes and Postgres prunes the old version by itself.
const TAKE: &str = "
INSERT INTO nself.kv AS kv (plugin, key, value, expires_at)
SELECT $1, $2, convert_to(format('b %s %s 1', $3::float8 - $5::float8, now_us), 'UTF8'),
       now() + ceil($5::float8 * $4::float8 / $3::float8) * interval '1 us'
FROM (SELECT (extract(epoch FROM now()) * 1000000)::int8 AS now_us) AS clock
ON CONFLICT (plugin, key) DO UPDATE SET (value, expires_at) = (
    SELECT convert_to(format('b %s %s %s', left_over, at_us, allowed::int), 'UTF8'),
           CASE WHEN allowed
                THEN now() + (at_us - now_us + ceil(($3::float8 - left_over) * $4::float8 / $3::float8)) * interval '1 us'
                ELSE kv.expires_at END
    FROM (SELECT (extract(epoch FROM now()) * 1000000)::int8 AS now_us) AS clock,
         LATERAL (SELECT CASE WHEN kv.expires_at <= now() THEN ARRAY['b', $3::float8::text, now_us::text]
                              ELSE string_to_array(encode(kv.value, 'escape'), ' ') END AS words) AS state,
         LATERAL (SELECT words[2]::float8 AS was, words[3]::int8 AS was_us,
                         greatest(now_us, words[3]::int8) AS at_us) AS stored,
         LATERAL (SELECT least($3::float8, was + (at_us - was_us) * $3::float8 / $4::float8) AS tokens) AS refilled,
         LATERAL (SELECT tokens >= $5::float8 AS allowed,
                         CASE WHEN tokens >= $5::float8 THEN tokens - $5::float8 ELSE tokens END AS left_over) AS decided)
WHERE kv.expires_at <= now() OR substring(kv.value FROM 1 FOR 2) = 'b '::bytea
RETURNING encode(value, 'escape')";

const SWEEP: &str = "
DELETE FROM nself.kv WHERE (plugin, key) IN (
    SELECT plugin, key FROM nself.kv WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)";

/// A pool of the host whose role may use `nself.kv`.
#[derive(Debug)]
pub struct TableStore {
    pool: Pool,
}

impl TableStore {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self
            .row(GET, &[&key.plugin(), &key.name()])
            .await?
            .map(|row| row.get(0)))
    }

    pub(super) async fn set(&self, key: &Key, value: &[u8], ttl_ms: i64) -> Result<(), KvError> {
        self.row(SET, &[&key.plugin(), &key.name(), &value, &ttl_ms])
            .await
            .map(drop)
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<bool, KvError> {
        Ok(self
            .row(DELETE, &[&key.plugin(), &key.name()])
            .await?
            .is_some_and(|row| row.get(0)))
    }

    pub(super) async fn increment(&self, key: &Key, by: i64, ttl_ms: i64) -> Result<i64, KvError> {
        match self
            .row(INCREMENT, &[&key.plugin(), &key.name(), &by, &ttl_ms])
            .await
        {
            Err(KvError::Table(error))
                if error.code() == Some(&SqlState::NUMERIC_VALUE_OUT_OF_RANGE) =>
            {
                Err(KvError::NotANumber)
            }
            row => Ok(row?.ok_or(KvError::NotANumber)?.get(0)),
        }
    }

    pub(super) async fn expire(&self, key: &Key, ttl_ms: i64) -> Result<bool, KvError> {
        Ok(self
            .row(EXPIRE, &[&key.plugin(), &key.name(), &ttl_ms])
            .await?
            .is_some())
    }

    pub(super) async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl_ms: i64,
    ) -> Result<bool, KvError> {
        let (plugin, name) = (key.plugin(), key.name());
        let row = match (expected, value) {
            (None, None) => return Ok(self.get(key).await?.is_none()),
            (None, Some(value)) => self.row(CREATE, &[&plugin, &name, &value, &ttl_ms]).await?,
            (Some(expected), Some(value)) => {
                self.row(REPLACE, &[&plugin, &name, &value, &ttl_ms, &expected])
                    .await?
            }
            (Some(expected), None) => self.row(REMOVE, &[&plugin, &name, &expected]).await?,
        };
        Ok(row.is_some())
    }

    /// Whether the tokens were there, and how many are left.
    pub(super) async fn take(&self, key: &Key, bucket: Bucket) -> Result<(bool, f64), KvError> {
        let params: [&(dyn ToSql + Sync); 5] = [
            &key.plugin(),
            &key.name(),
            &bucket.capacity(),
            &bucket.period_us(),
            &bucket.cost(),
        ];
        let row = match self.row(TAKE, &params).await {
            Err(KvError::Table(error))
                if error.code() == Some(&SqlState::INVALID_TEXT_REPRESENTATION) =>
            {
                return Err(KvError::NotABucket);
            }
            row => row?.ok_or(KvError::NotABucket)?,
        };
        parse(row.get(0)).ok_or(KvError::Answer("the state of a bucket"))
    }

    pub(super) async fn sweep(&self, limit: u32) -> Result<u64, KvError> {
        let client = self.pool.get().await.map_err(KvError::Pool)?;
        let sweep = client.prepare_cached(SWEEP).await.map_err(KvError::Table)?;
        client
            .execute(&sweep, &[&i64::from(limit)])
            .await
            .map_err(KvError::Table)
    }

    /// Runs a statement that touches one row at most, prepared once per connection.
    async fn row(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, KvError> {
        let client = self.pool.get().await.map_err(KvError::Pool)?;
        let statement = client.prepare_cached(sql).await.map_err(KvError::Table)?;
        client
            .query_opt(&statement, params)
            .await
            .map_err(KvError::Table)
    }
}

/// `b <tokens> <at> <allowed>`.
fn parse(state: &str) -> Option<(bool, f64)> {
    let mut words = state.split(' ').skip(1);
    let tokens = words.next()?.parse().ok()?;
    Some((words.nth(1)? == "1", tokens))
}
