//! `auth.one_time`.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use uuid::Uuid;

use crate::one_time::{Subject, Used};

/// Puts a new one in the place of the one before. What was tried against that counts on until it would have run out; when
/// its tries are used up, nothing is replaced. Whether the new one is there.
pub(crate) async fn replace(
    db: &impl Queries,
    id: Uuid,
    subject: &Subject<'_>,
    mac: Option<&[u8]>,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "insert into auth.one_time as o (id, purpose, target, user_id, secret_mac, payload, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8) \
             on conflict (purpose, target) where consumed_at is null do update set \
               id = excluded.id, user_id = excluded.user_id, secret_mac = excluded.secret_mac, \
               payload = excluded.payload, created_at = excluded.created_at, expires_at = excluded.expires_at, \
               tries = case when o.expires_at > excluded.created_at then o.tries else 0 end \
             where o.tries < o.tries_max or o.expires_at <= excluded.created_at",
            &[
                &id,
                &subject.purpose.name(),
                &subject.target,
                &subject.user_id,
                &mac,
                &subject.payload,
                &now,
                &expires_at,
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// The one that is alive for a purpose and target.
pub(crate) async fn alive(db: &impl Queries, purpose: &str, target: &str) -> Result<Option<Uuid>> {
    let row = db
        .query_opt(
            "select id from auth.one_time where purpose = $1 and target = $2 and consumed_at is null",
            &[&purpose, &target],
        )
        .await?;
    row.map(|row| row.get("id")).transpose()
}

/// What came of a try.
pub(crate) enum Attempt {
    /// The secret was right, and is used up.
    Right(Used),
    /// It was wrong; whose it would have been.
    Wrong(Option<Uuid>),
    /// There is none that is alive.
    Gone,
}

/// Counts a try and, if the secret is right, uses it up: one statement, so of many at once each counts and at most one wins.
pub(crate) async fn attempt(
    db: &impl Queries,
    id: Uuid,
    purpose: &str,
    mac: &[u8],
    now: Timestamp,
) -> Result<Attempt> {
    let row = db
        .query_opt(
            "update auth.one_time set tries = tries + 1, \
               consumed_at = case when secret_mac = $3 then $4::timestamptz end \
             where id = $1 and purpose = $2 and consumed_at is null and expires_at > $4 and tries < tries_max \
             returning consumed_at is not null as is_right, id, target, user_id, payload",
            &[&id, &purpose, &mac, &now],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Attempt::Gone);
    };
    if !row.get::<bool>("is_right")? {
        return row.get("user_id").map(Attempt::Wrong);
    }
    read_used(&row).map(Attempt::Right)
}

/// A code that has come a second time.
pub(crate) struct Replayed {
    pub(crate) target: String,
    pub(crate) user_id: Option<Uuid>,
    /// The code, and the one that it came of.
    pub(crate) codes: Vec<Uuid>,
}

/// Marks a code that was used before, and the one that it came of. `None` for one that was not used, and for one that is
/// marked.
pub(crate) async fn mark_replayed(
    db: &impl Queries,
    id: Uuid,
    purpose: &str,
    mac: &[u8],
    now: Timestamp,
) -> Result<Option<Replayed>> {
    let row = db
        .query_opt(
            "update auth.one_time set replayed_at = $4 \
             where id = $1 and purpose = $2 and secret_mac = $3 and consumed_at is not null and replayed_at is null \
             returning target, user_id, (payload ->> 'begun_by')::uuid as begun_by",
            &[&id, &purpose, &mac, &now],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let begun_by = row.get::<Option<Uuid>>("begun_by")?;
    let codes: Vec<Uuid> = [id].into_iter().chain(begun_by).collect();
    db.execute(
        "update auth.one_time set replayed_at = $2 where id = any($1) and replayed_at is null",
        &[&codes, &now],
    )
    .await?;
    Ok(Some(Replayed {
        target: row.get("target")?,
        user_id: row.get("user_id")?,
        codes,
    }))
}

/// Whether a code has come a second time. Waits for whoever marks it at this moment.
pub(crate) async fn is_replayed(db: &impl Queries, id: Uuid) -> Result<bool> {
    let row = db
        .query_opt(
            "select replayed_at is not null from auth.one_time where id = $1 for share",
            &[&id],
        )
        .await?;
    row.map_or(Ok(false), |row| row.get(0))
}

/// Whose one is, while it is alive.
pub(crate) async fn owner(
    db: &impl Queries,
    id: Uuid,
    purpose: &str,
    now: Timestamp,
) -> Result<Option<Uuid>> {
    let row = db
        .query_opt(
            "select user_id from auth.one_time \
             where id = $1 and purpose = $2 and consumed_at is null and expires_at > $3",
            &[&id, &purpose, &now],
        )
        .await?;
    Ok(row.map(|row| row.get("user_id")).transpose()?.flatten())
}

/// Counts a try of one without a secret, while it has some left.
pub(crate) async fn count(
    db: &impl Queries,
    id: Uuid,
    purpose: &str,
    now: Timestamp,
) -> Result<Option<Used>> {
    let row = db
        .query_opt(
            "update auth.one_time set tries = tries + 1 \
             where id = $1 and purpose = $2 and consumed_at is null and expires_at > $3 and tries < tries_max \
             returning id, target, user_id, payload",
            &[&id, &purpose, &now],
        )
        .await?;
    row.as_ref().map(read_used).transpose()
}

/// Uses one without a secret up. It is deleted: whoever may ask for these without an account shall not fill the table.
pub(crate) async fn take(
    db: &impl Queries,
    id: Uuid,
    purpose: &str,
    now: Timestamp,
) -> Result<Option<Used>> {
    let row = db
        .query_opt(
            "delete from auth.one_time \
             where id = $1 and purpose = $2 and consumed_at is null and expires_at > $3 \
             returning id, target, user_id, payload",
            &[&id, &purpose, &now],
        )
        .await?;
    row.as_ref().map(read_used).transpose()
}

fn read_used(row: &Row) -> Result<Used> {
    Ok(Used {
        id: row.get("id")?,
        target: row.get("target")?,
        user_id: row.get("user_id")?,
        payload: row.get("payload")?,
    })
}

/// Ends whatever is alive for a person and purpose.
pub(crate) async fn cancel(
    db: &impl Queries,
    user_id: Uuid,
    purpose: &str,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "update auth.one_time set consumed_at = $3 where user_id = $1 and purpose = $2 and consumed_at is null",
        &[&user_id, &purpose, &now],
    )
    .await?;
    Ok(())
}

/// Forgets flows of a purpose that have run out: those that anybody can begin are not kept any longer.
pub(crate) async fn forget_flows(db: &impl Queries, purpose: &str, now: Timestamp) -> Result<u64> {
    db.execute(
        "delete from auth.one_time where id in (\
           select id from auth.one_time where purpose = $1 and consumed_at is null and expires_at < $2 limit 1000)",
        &[&purpose, &now],
    )
    .await
}

/// Forgets what ran out before then.
pub(crate) async fn forget(db: &impl Queries, before: Timestamp) -> Result<u64> {
    db.execute(
        "delete from auth.one_time where id in (\
           select id from auth.one_time where expires_at < $1 limit 1000)",
        &[&before],
    )
    .await
}
