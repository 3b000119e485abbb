//! Second factors in `auth.credentials`: TOTP and recovery codes.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use uuid::Uuid;

/// A TOTP secret.
pub(crate) struct Totp {
    pub(crate) id: Uuid,
    /// Sealed for its id.
    pub(crate) sealed: String,
    pub(crate) is_confirmed: bool,
}

/// What somebody has to show beside a password.
pub(crate) struct Enrolled {
    /// Since when there is a TOTP that was confirmed.
    pub(crate) totp_since: Option<Timestamp>,
    pub(crate) totp_used_at: Option<Timestamp>,
    pub(crate) recovery_codes: i64,
    pub(crate) passkeys: i64,
}

pub(crate) async fn enrolled(db: &impl Queries, user_id: Uuid) -> Result<Enrolled> {
    let row = db
        .query_one(
            "select max(confirmed_at) filter (where kind = 'totp') as totp_since, \
             max(used_at) filter (where kind = 'totp') as totp_used_at, \
             count(*) filter (where kind = 'recovery') as recovery_codes, \
             (select count(*) from auth.passkeys where user_id = $1) as passkeys \
             from auth.credentials where user_id = $1",
            &[&user_id],
        )
        .await?;
    Ok(Enrolled {
        totp_since: row.get("totp_since")?,
        totp_used_at: row.get("totp_used_at")?,
        recovery_codes: row.get("recovery_codes")?,
        passkeys: row.get("passkeys")?,
    })
}

/// Begins an enrolment, in the place of one that was never confirmed; false when there is one that was.
pub(crate) async fn enroll(
    db: &impl Queries,
    user_id: Uuid,
    id: Uuid,
    sealed: &str,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "insert into auth.credentials as c (id, user_id, kind, secret, created_at) \
             values ($2, $1, 'totp', $3, $4) \
             on conflict (user_id) where kind = 'totp' do update set \
               id = excluded.id, secret = excluded.secret, last_step = 0, created_at = excluded.created_at \
             where c.confirmed_at is null",
            &[&user_id, &id, &sealed, &now],
        )
        .await?;
    Ok(changed == 1)
}

pub(crate) async fn totp(db: &impl Queries, user_id: Uuid) -> Result<Option<Totp>> {
    let row = db
        .query_opt(
            "select id, secret, confirmed_at is not null as is_confirmed from auth.credentials \
             where user_id = $1 and kind = 'totp'",
            &[&user_id],
        )
        .await?;
    row.map(|row| {
        Ok(Totp {
            id: row.get("id")?,
            sealed: row.get("secret")?,
            is_confirmed: row.get("is_confirmed")?,
        })
    })
    .transpose()
}

/// From now on it is asked for; false when it was confirmed or replaced meanwhile.
pub(crate) async fn confirm(
    db: &impl Queries,
    id: Uuid,
    step: i64,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "update auth.credentials set confirmed_at = $3, used_at = $3, last_step = $2 \
             where id = $1 and confirmed_at is null",
            &[&id, &step, &now],
        )
        .await?;
    Ok(changed == 1)
}

/// Uses up a step and all before it; false when it was used before. One statement, so of many with one code one wins.
pub(crate) async fn use_step(
    db: &impl Queries,
    id: Uuid,
    step: i64,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "update auth.credentials set last_step = $2, used_at = $3 \
             where id = $1 and last_step < $2 and confirmed_at is not null",
            &[&id, &step, &now],
        )
        .await?;
    Ok(changed == 1)
}

/// Takes the TOTP away, and with it the codes that stand for it; false when there is none.
pub(crate) async fn remove_totp(db: &impl Queries, user_id: Uuid) -> Result<bool> {
    let removed = db
        .execute(
            "delete from auth.credentials where user_id = $1 and kind = 'totp'",
            &[&user_id],
        )
        .await?;
    db.execute(
        "delete from auth.credentials where user_id = $1 and kind = 'recovery'",
        &[&user_id],
    )
    .await?;
    Ok(removed == 1)
}

/// A new set of recovery codes in the place of the old one.
pub(crate) async fn replace_recovery_codes(
    db: &impl Queries,
    user_id: Uuid,
    codes: &[String],
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "delete from auth.credentials where user_id = $1 and kind = 'recovery'",
        &[&user_id],
    )
    .await?;
    db.execute(
        "insert into auth.credentials (user_id, kind, secret, created_at, confirmed_at) \
         select $1, 'recovery', code, $3, $3 from unnest($2::text[]) as code",
        &[&user_id, &codes, &now],
    )
    .await?;
    Ok(())
}

/// Uses a recovery code up; false when there is none such.
pub(crate) async fn use_recovery_code(
    db: &impl Queries,
    user_id: Uuid,
    candidates: &[String],
) -> Result<bool> {
    let removed = db
        .execute(
            "delete from auth.credentials where user_id = $1 and kind = 'recovery' and secret = any($2)",
            &[&user_id, &candidates],
        )
        .await?;
    Ok(removed == 1)
}
