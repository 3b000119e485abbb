//! `auth.identities`: people as other places know them.

use std::collections::HashMap;

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::Serialize;
use uuid::Uuid;

use crate::provider::Profile;

/// A person elsewhere, as the owner of the account sees it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Identity {
    /// Names it when it is to be unlinked.
    pub id: Uuid,
    /// The place, by its name in the configuration.
    pub provider: String,
    /// The address there, as it was at the last sign-in.
    pub email: Option<String>,
    /// When it was linked.
    pub created_at: Timestamp,
    /// When somebody last signed in with it.
    pub used_at: Option<Timestamp>,
}

fn read(row: &Row) -> Result<Identity> {
    Ok(Identity {
        id: row.get("id")?,
        provider: row.get("provider")?,
        email: row.get("email")?,
        created_at: row.get("created_at")?,
        used_at: row.get("used_at")?,
    })
}

/// Whose account it is, with what the place says today. The account's own address stays as it is.
pub(crate) async fn used(
    db: &impl Queries,
    profile: &Profile,
    now: Timestamp,
) -> Result<Option<Uuid>> {
    let row = db
        .query_opt(
            "update auth.identities set used_at = $5, email = $3, is_email_verified = $4 \
             where issuer = $1 and subject = $2 returning user_id",
            &[
                &profile.issuer,
                &profile.subject,
                &profile.email,
                &profile.is_email_verified,
                &now,
            ],
        )
        .await?;
    row.map(|row| row.get("user_id")).transpose()
}

/// Links a person elsewhere to an account; false when that person is linked already.
pub(crate) async fn insert(
    db: &impl Queries,
    user_id: Uuid,
    provider: &str,
    profile: &Profile,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "insert into auth.identities \
               (user_id, provider, issuer, subject, email, is_email_verified, created_at, used_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $7) on conflict (issuer, subject) do nothing",
            &[
                &user_id,
                &provider,
                &profile.issuer,
                &profile.subject,
                &profile.email,
                &profile.is_email_verified,
                &now,
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// The link of that person to that account.
pub(crate) async fn find(
    db: &impl Queries,
    profile: &Profile,
    user_id: Uuid,
) -> Result<Option<Identity>> {
    let row = db
        .query_opt(
            "select id, provider, email, created_at, used_at from auth.identities \
             where issuer = $1 and subject = $2 and user_id = $3",
            &[&profile.issuer, &profile.subject, &user_id],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn list(db: &impl Queries, user_id: Uuid) -> Result<Vec<Identity>> {
    db.query(
        "select id, provider, email, created_at, used_at from auth.identities \
         where user_id = $1 order by created_at, id",
        &[&user_id],
    )
    .await?
    .map(read)
}

/// A new person, with an address only when it is proved: an address that is not would stand in its owner's way. `None`
/// when somebody else has just taken the address.
pub(crate) async fn insert_person(
    db: &impl Queries,
    email: Option<&str>,
    display_name: &str,
    locale: &str,
    now: Timestamp,
) -> Result<Option<Uuid>> {
    let row = db
        .query_opt(
            "insert into public.users (email, email_verified_at, display_name, locale) \
             values ($1, case when $1::text is not null then $4::timestamptz end, $2, $3) \
             on conflict (email) do nothing returning id",
            &[&email, &display_name, &locale, &now],
        )
        .await?;
    row.map(|row| row.get("id")).transpose()
}

/// Says in the log of events and in the audit log that somebody has an account now.
pub(crate) async fn announce(db: &impl Queries, user_id: Uuid) -> Result<()> {
    db.query(
        "select nself.audit('auth.signed_up', $1::text, '{}', null, $1::text), \
         nself.emit_event('auth.user_created', $1::text, jsonb_build_object('user_id', $1::text))",
        &[&user_id.to_string()],
    )
    .await?;
    Ok(())
}

/// An account that somebody can sign in to is not an anonymous one any more.
pub(crate) async fn settle(db: &impl Queries, user_id: Uuid) -> Result<()> {
    db.execute(
        "update public.users set is_anonymous = false where id = $1 and is_anonymous",
        &[&user_id],
    )
    .await?;
    Ok(())
}

/// Whether a family waits for somebody with this address.
pub(crate) async fn is_invited(db: &impl Queries, email: &str, now: Timestamp) -> Result<bool> {
    let row = db
        .query_one(
            "select exists (select from auth.invitations \
             where email = $1 and revoked_at is null and expires_at > $2 and uses < uses_max)",
            &[&email, &now],
        )
        .await?;
    row.get(0)
}

/// What became of an unlinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unlinked {
    /// It is gone.
    Done,
    /// There is no such link of this account.
    Unknown,
    /// There is no other way into the account.
    Last,
}

/// Unlinks, unless nobody could sign in to the account any more: without an address that a link or code can be mailed to,
/// or that a password belongs to, without a passkey, and without a link to another of the `usable` places. The account's
/// row is locked, so of two that go at the same time one sees that the other is gone.
pub(crate) async fn remove(
    db: &impl Queries,
    user_id: Uuid,
    id: Uuid,
    usable: &[&str],
) -> Result<Unlinked> {
    db.query(
        "select from public.users where id = $1 for update",
        &[&user_id],
    )
    .await?;
    let row = db
        .query_opt(
            "select u.email_verified_at is not null \
               or (u.email is not null and exists (\
                 select from auth.credentials c where c.user_id = u.id and c.kind = 'password')) \
               or exists (select from auth.passkeys p where p.user_id = u.id) \
               or exists (select from auth.identities o \
                 where o.user_id = u.id and o.id <> i.id and o.provider = any($3)) \
             from auth.identities i join public.users u on u.id = i.user_id where i.id = $2 and u.id = $1",
            &[&user_id, &id, &usable],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Unlinked::Unknown);
    };
    if !row.get::<bool>(0)? {
        return Ok(Unlinked::Last);
    }
    db.execute("delete from auth.identities where id = $1", &[&id])
        .await?;
    Ok(Unlinked::Done)
}

/// How many people each place is linked to.
pub(crate) async fn by_issuer(db: &impl Queries) -> Result<HashMap<String, i64>> {
    let counts = "select issuer, count(*) from auth.identities group by issuer";
    let rows = db.query(counts, &[]).await?;
    let counts = rows.map(|row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counts.into_iter().collect())
}
