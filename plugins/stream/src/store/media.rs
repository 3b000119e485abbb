//! Media sessions: what decides and what writes are functions of the migration, here they get their values.

use std::time::Duration;

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde_json::Value;
use uuid::Uuid;

use crate::media::{Beat, Content, Known, Priority, Watcher};

/// A key that signs addresses, as it is stored.
pub(crate) struct Sealed {
    pub id: i16,
    pub key: Vec<u8>,
    /// Seconds since 1970.
    pub signs_at: i64,
}

/// Nobody else makes a key until the transaction ends.
pub(crate) async fn hold_keys(db: &impl Queries) -> Result<()> {
    let hold = "select pg_advisory_xact_lock(hashtext('stream.playback_keys'))";
    db.query(hold, &[]).await?;
    Ok(())
}

/// The keys that sign addresses, in the order in which they do.
pub(crate) async fn keys(db: &impl Queries) -> Result<Vec<Sealed>> {
    db.query(
        "select id, sealed, extract(epoch from signs_at)::bigint from stream.playback_keys order by signs_at, created_at",
        &[],
    )
    .await?
    .map(|row| {
        Ok(Sealed {
            id: row.get(0)?,
            key: row.get(1)?,
            signs_at: row.get(2)?,
        })
    })
}

/// Adds a key that signs after so many seconds, or at once instead of all others; its number, and when it signs.
pub(crate) async fn turn_key(
    db: &impl Queries,
    sealed: &[u8],
    after: Duration,
    actor: Option<&str>,
) -> Result<(i16, i64)> {
    let turn = "select id, signs_at from stream.turn_playback_key($1, $2, $3)";
    let seconds = after.as_secs_f64();
    let row = db.query_one(turn, &[&sealed, &seconds, &actor]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

/// Whether the newest key is older than that.
pub(crate) async fn is_key_older(db: &impl Queries, age: Duration) -> Result<bool> {
    let is_older = "select max(created_at) < clock_timestamp() - make_interval(secs => $1) from stream.playback_keys";
    db.query_one(is_older, &[&age.as_secs_f64()]).await?.get(0)
}

/// Drops those that have signed nothing for long.
pub(crate) async fn drop_keys(db: &impl Queries) -> Result<()> {
    db.query("select stream.drop_playback_keys()", &[]).await?;
    Ok(())
}

/// A session that is asked for.
pub(crate) struct New<'a> {
    pub watcher: &'a Watcher,
    pub content: Content,
    pub content_id: Uuid,
    pub priority: Priority,
    pub token_hash: &'a [u8],
    pub rules: &'a Value,
    /// What all hosts are told once it is admitted.
    pub told: &'a str,
}

/// What was decided: a session, or why there is none.
pub(crate) struct Decided {
    pub session_id: Option<Uuid>,
    pub refusal: Option<String>,
    /// What there may be at most, where there is too much.
    pub allowed: Option<i64>,
    /// What there is.
    pub taken: Option<i64>,
    /// Seconds.
    pub retry_after: Option<i64>,
    pub evicted: Vec<Uuid>,
    /// Those of them that were on the same device.
    pub replaced: Vec<Uuid>,
}

/// Decides, and does what follows from it, in one statement.
pub(crate) async fn admit(db: &impl Queries, new: &New<'_>) -> Result<Decided> {
    let row = db
        .query_one(
            "select session_id, refusal, allowed, taken, retry_after, evicted, replaced, \
                 case when session_id is not null then stream.tell($10) end \
             from stream.admit($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                &new.watcher.family_id,
                &new.watcher.user_id,
                &new.watcher.device_id,
                &new.watcher.sign_in_id,
                &new.content.name(),
                &new.content_id,
                &new.priority.name(),
                &new.token_hash,
                new.rules,
                &new.told,
            ],
        )
        .await?;
    Ok(Decided {
        session_id: row.get(0)?,
        refusal: row.get(1)?,
        allowed: row.get(2)?,
        taken: row.get(3)?,
        retry_after: row.get(4)?,
        evicted: row.get(5)?,
        replaced: row.get(6)?,
    })
}

/// A session as it is stored.
pub(crate) struct Found {
    pub known: Known,
    pub silence: Duration,
    pub end_reason: Option<String>,
}

/// A session whose content is still there.
pub(crate) async fn find(db: &impl Queries, id: Uuid) -> Result<Option<Found>> {
    let row = db
        .query_opt(
            "select family_id, user_id, device_id, sign_in_id, coalesce(media_item_id, live_event_id), token_hash, \
                 (extract(epoch from clock_timestamp() - seen_at) * 1000)::bigint, end_reason \
             from stream.sessions \
             where id = $1 and coalesce(media_item_id, live_event_id) is not null",
            &[&id],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let token_hash: &[u8] = row.get(5)?;
    let silence: i64 = row.get(6)?;
    Ok(Some(Found {
        known: Known {
            session_id: id,
            watcher: Watcher {
                family_id: row.get(0)?,
                user_id: row.get(1)?,
                device_id: row.get(2)?,
                sign_in_id: row.get(3)?,
            },
            content_id: row.get(4)?,
            token_hash: token_hash.try_into().map_err(Error::internal)?,
        },
        silence: Duration::from_millis(u64::try_from(silence).unwrap_or_default()),
        end_reason: row.get(7)?,
    }))
}

fn age_ms(beat: &Beat, now: Duration) -> i64 {
    let age = now.saturating_sub(beat.at).as_millis();
    i64::try_from(age).unwrap_or(i64::MAX)
}

/// Writes heartbeats; the sessions that took theirs.
pub(crate) async fn beat(
    db: &impl Queries,
    beats: &[Beat],
    now: Duration,
    timeout_seconds: i64,
) -> Result<Vec<Uuid>> {
    let ids: Vec<Uuid> = beats.iter().map(|beat| beat.session_id).collect();
    let ages: Vec<i64> = beats.iter().map(|beat| age_ms(beat, now)).collect();
    let states: Vec<&str> = beats.iter().map(|beat| beat.state.name()).collect();
    // An array has no nulls here: -1 says that nothing was said.
    let positions: Vec<i64> = beats
        .iter()
        .map(|beat| beat.position_ms.unwrap_or(-1))
        .collect();
    db.query(
        "select b from stream.beat($1, $2, $3, $4, $5) b",
        &[&ids, &ages, &states, &positions, &timeout_seconds],
    )
    .await?
    .map(|row| row.get(0))
}

/// Lets a silent session go on, if there is still a place for it.
pub(crate) async fn revive(
    db: &impl Queries,
    beat: &Beat,
    now: Duration,
    timeout_seconds: i64,
) -> Result<bool> {
    db.query_one(
        "select stream.revive($1, $2, $3, $4, $5)",
        &[
            &beat.session_id,
            &age_ms(beat, now),
            &beat.state.name(),
            &beat.position_ms,
            &timeout_seconds,
        ],
    )
    .await?
    .get(0)
}

/// Ends a session of a family; whether there was an open one.
pub(crate) async fn end(
    db: &impl Queries,
    family_id: Uuid,
    id: Uuid,
    reason: &str,
    actor: &str,
) -> Result<bool> {
    db.query_one(
        "select stream.end_one($1, $2, $3, $4)",
        &[&family_id, &id, &reason, &actor],
    )
    .await?
    .get(0)
}

/// A session that has ended.
pub(crate) struct Ended {
    pub id: Uuid,
    pub reason: String,
}

/// What a look at the sessions of all families finds.
pub(crate) struct Seen {
    pub is_open: bool,
    pub ended: Vec<Ended>,
}

/// Ends what may not go on; those that ended so long ago or later, and whether any is open.
pub(crate) async fn look(db: &impl Queries, is_with_quotas: bool, since: Duration) -> Result<Seen> {
    let seconds = since.as_secs_f64();
    let row = db
        .query_one(
            "select is_open, ids, reasons from stream.look_at_sessions($1, $2)",
            &[&is_with_quotas, &seconds],
        )
        .await?;
    let (ids, reasons): (Vec<Uuid>, Vec<String>) = (row.get(1)?, row.get(2)?);
    let ended = ids.into_iter().zip(reasons);
    Ok(Seen {
        is_open: row.get(0)?,
        ended: ended.map(|(id, reason)| Ended { id, reason }).collect(),
    })
}

/// A session as people see it.
#[derive(Debug, serde::Serialize, Schema)]
pub(crate) struct Shown {
    /// Names it.
    pub id: Uuid,
    /// The person, if it is one's.
    pub user_id: Option<Uuid>,
    /// The machine, if it is on one of the family.
    pub device_id: Option<Uuid>,
    /// `media` or `live`.
    pub content_kind: String,
    /// What is played.
    pub content_id: Option<Uuid>,
    /// `playing`, `paused` or `idle`, as its player said last.
    pub state: String,
    /// `normal` or `low`.
    pub priority: String,
    /// Where in the content, in milliseconds, as far as its player said.
    pub position_ms: Option<i64>,
    /// Whether it has a place: it was heard of within the time limit.
    pub is_active: bool,
    /// Since when.
    pub admitted_at: Timestamp,
    /// When it was heard of, as far as that is written.
    pub seen_at: Timestamp,
}

/// Open sessions of a family, the newest first; only those of one person or machine, where it is named.
pub(crate) async fn list(
    db: &impl Queries,
    family_id: Uuid,
    watcher_id: Option<Uuid>,
    timeout_seconds: i64,
    limit: i64,
) -> Result<Vec<Shown>> {
    db.query(
        "select id, user_id, device_id, case when live_event_id is null then 'media' else 'live' end, \
             coalesce(media_item_id, live_event_id), state, priority, position_ms, \
             seen_at > clock_timestamp() - $3 * interval '1 second', admitted_at, seen_at \
         from stream.sessions \
         where family_id = $1 and ended_at is null and ($2::uuid is null or coalesce(user_id, device_id) = $2) \
         order by admitted_at desc, id desc limit $4",
        &[&family_id, &watcher_id, &timeout_seconds, &limit],
    )
    .await?
    .map(|row| {
        Ok(Shown {
            id: row.get(0)?,
            user_id: row.get(1)?,
            device_id: row.get(2)?,
            content_kind: row.get(3)?,
            content_id: row.get(4)?,
            state: row.get(5)?,
            priority: row.get(6)?,
            position_ms: row.get(7)?,
            is_active: row.get(8)?,
            admitted_at: row.get(9)?,
            seen_at: row.get(10)?,
        })
    })
}

/// Drops what is old, a step of it; how much that was.
pub(crate) async fn prune(db: &impl Queries, step: i64) -> Result<i64> {
    db.query_one("select stream.prune_media($1)", &[&step])
        .await?
        .get(0)
}
