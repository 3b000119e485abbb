//! `auth.passkeys`.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use uuid::Uuid;

use crate::{
    passkey::Shown,
    webauthn::{Assertion, Known, Registered},
};

/// Only one registration of a person at a time counts how many there are.
pub(crate) async fn lock(db: &impl Queries, user_id: Uuid) -> Result<()> {
    let key = format!("auth.passkeys/{user_id}");
    db.query(
        "select pg_advisory_xact_lock(hashtextextended($1, 0))",
        &[&key],
    )
    .await?;
    Ok(())
}

/// Ids and transports of a person's credentials.
pub(crate) async fn descriptors(
    db: &impl Queries,
    user_id: Uuid,
) -> Result<Vec<(Vec<u8>, Vec<String>)>> {
    db.query(
        "select credential_id, transports from auth.passkeys where user_id = $1 order by created_at, id",
        &[&user_id],
    )
    .await?
    .map(|row| Ok((row.get("credential_id")?, row.get("transports")?)))
}

fn read_shown(row: &Row) -> Result<Shown> {
    Ok(Shown {
        id: row.get("id")?,
        name: row.get("name")?,
        aaguid: row.get("aaguid")?,
        is_backed_up: row.get("is_backed_up")?,
        transports: row.get("transports")?,
        created_at: row.get("created_at")?,
        last_used_at: row.get("used_at")?,
    })
}

/// Keeps a credential; `None` when it is known already.
pub(crate) async fn insert(
    db: &impl Queries,
    user_id: Uuid,
    name: &str,
    transports: &[&str],
    registered: &Registered,
    now: Timestamp,
) -> Result<Option<Shown>> {
    let row = db
        .query_opt(
            "insert into auth.passkeys (user_id, credential_id, public_key, name, sign_count, transports, aaguid, \
               is_backup_eligible, is_backed_up, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (credential_id) do nothing returning *",
            &[
                &user_id,
                &registered.credential_id,
                &registered.public_key,
                &name,
                &i64::from(registered.sign_count),
                &transports,
                &registered.aaguid,
                &registered.is_backup_eligible,
                &registered.is_backed_up,
                &now,
            ],
        )
        .await?;
    row.as_ref().map(read_shown).transpose()
}

/// A credential by the id that authenticators know it by. Nobody else uses it until the transaction ends: two uses at once
/// would both see the old counter.
pub(crate) async fn find(db: &impl Queries, credential_id: &[u8]) -> Result<Option<(Uuid, Known)>> {
    let row = db
        .query_opt(
            "select id, user_id, public_key, sign_count, is_backup_eligible from auth.passkeys \
             where credential_id = $1 for update",
            &[&credential_id],
        )
        .await?;
    row.map(|row| {
        let sign_count: i64 = row.get("sign_count")?;
        let known = Known {
            user_id: row.get("user_id")?,
            public_key: row.get("public_key")?,
            sign_count: u32::try_from(sign_count).map_err(Error::internal)?,
            is_backup_eligible: row.get("is_backup_eligible")?,
        };
        Ok((row.get("id")?, known))
    })
    .transpose()
}

/// Remembers a use. The counter never goes back: a copy that is behind stays behind.
pub(crate) async fn used(
    db: &impl Queries,
    id: Uuid,
    assertion: &Assertion,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "update auth.passkeys set sign_count = greatest(sign_count, $2), is_backed_up = $3, used_at = $4 where id = $1",
        &[
            &id,
            &i64::from(assertion.sign_count),
            &assertion.is_backed_up,
            &now,
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn list(db: &impl Queries, user_id: Uuid) -> Result<Vec<Shown>> {
    db.query(
        "select * from auth.passkeys where user_id = $1 order by created_at, id",
        &[&user_id],
    )
    .await?
    .map(read_shown)
}

/// One of a person's own; `None` for what is not there or somebody else's.
pub(crate) async fn find_own(db: &impl Queries, user_id: Uuid, id: Uuid) -> Result<Option<Shown>> {
    let row = db
        .query_opt(
            "select * from auth.passkeys where user_id = $1 and id = $2",
            &[&user_id, &id],
        )
        .await?;
    row.as_ref().map(read_shown).transpose()
}

pub(crate) async fn rename(
    db: &impl Queries,
    user_id: Uuid,
    id: Uuid,
    name: &str,
) -> Result<Option<Shown>> {
    let row = db
        .query_opt(
            "update auth.passkeys set name = $3 where user_id = $1 and id = $2 returning *",
            &[&user_id, &id, &name],
        )
        .await?;
    row.as_ref().map(read_shown).transpose()
}

pub(crate) async fn remove(db: &impl Queries, user_id: Uuid, id: Uuid) -> Result<bool> {
    let removed = db
        .execute(
            "delete from auth.passkeys where user_id = $1 and id = $2",
            &[&user_id, &id],
        )
        .await?;
    Ok(removed == 1)
}
