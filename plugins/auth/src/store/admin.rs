//! Accounts, sessions and machines as an operator sees them.

use std::collections::HashMap;

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::Serialize;
use uuid::Uuid;

use super::sessions::say_ended;

/// An account in a list.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Listed {
    /// Stays for good.
    pub id: Uuid,
    /// Lower case; a child may have none, a deleted account has none.
    pub email: Option<String>,
    /// Whether somebody at that address has said that it is theirs, or an operator has.
    pub is_email_verified: bool,
    /// As others see it.
    pub display_name: String,
    /// `human`, `child` or `service`.
    pub kind: String,
    /// `active`, `suspended` or `deleted`.
    pub status: String,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When somebody last signed in, as far back as sessions are kept.
    pub signed_in_at: Option<Timestamp>,
}

/// Which accounts are wanted.
#[derive(Debug, Default)]
pub(crate) struct Filter<'a> {
    /// Part of an address or a name.
    pub(crate) text: Option<&'a str>,
    pub(crate) status: Option<&'a str>,
    /// Ids grow with time, so the newest come first.
    pub(crate) before: Option<Uuid>,
    pub(crate) id: Option<Uuid>,
    pub(crate) limit: i64,
}

pub(crate) async fn users(db: &impl Queries, filter: &Filter<'_>) -> Result<Vec<Listed>> {
    db.query(
        "select u.id, u.email, u.email_verified_at is not null as is_email_verified, u.display_name, u.kind, u.status, \
           u.created_at, (select max(s.created_at) from auth.sessions s where s.user_id = u.id) as signed_in_at \
         from public.users u where ($1::text is null or position(lower($1) in u.email) > 0 \
             or position(lower($1) in lower(u.display_name)) > 0) \
           and ($2::text is null or u.status = $2) and ($3::uuid is null or u.id < $3) \
           and ($4::uuid is null or u.id = $4) order by u.id desc limit $5",
        &[
            &filter.text,
            &filter.status,
            &filter.before,
            &filter.id,
            &filter.limit,
        ],
    )
    .await?
    .map(|row| {
        Ok(Listed {
            id: row.get("id")?,
            email: row.get("email")?,
            is_email_verified: row.get("is_email_verified")?,
            display_name: row.get("display_name")?,
            kind: row.get("kind")?,
            status: row.get("status")?,
            created_at: row.get("created_at")?,
            signed_in_at: row.get("signed_in_at")?,
        })
    })
}

/// How somebody can sign in.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Factors {
    /// Whether there is a password.
    pub has_password: bool,
    /// Whether a code of an authenticator is asked for.
    pub has_totp: bool,
    /// Recovery codes that are left.
    pub recovery_codes: i64,
    /// Passkeys.
    pub passkeys: i64,
    /// Other issuers that know the person.
    pub providers: Vec<String>,
    /// Tokens for scripts.
    pub api_tokens: i64,
    /// Living sessions.
    pub sessions: i64,
}

/// Addresses of accounts, as far as they have one.
pub(crate) async fn addresses(db: &impl Queries, ids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
    let known = "select id, email::text from public.users where id = any($1) and email is not null";
    let rows = db.query(known, &[&ids]).await?;
    let known = rows.map(|row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(known.into_iter().collect())
}

pub(crate) async fn factors(db: &impl Queries, user_id: Uuid, now: Timestamp) -> Result<Factors> {
    let row = db
        .query_one(
            "select exists (select from auth.credentials where user_id = $1 and kind = 'password') as has_password, \
               exists (select from auth.credentials \
                 where user_id = $1 and kind = 'totp' and confirmed_at is not null) as has_totp, \
               (select count(*) from auth.credentials \
                 where user_id = $1 and kind = 'recovery' and used_at is null) as recovery_codes, \
               (select count(*) from auth.passkeys where user_id = $1) as passkeys, \
               array(select distinct provider from auth.identities where user_id = $1 order by provider) as providers, \
               (select count(*) from auth.api_tokens where user_id = $1 and revoked_at is null) as api_tokens, \
               (select count(*) from auth.sessions where user_id = $1 and revoked_at is null \
                 and idle_expiry > $2 and absolute_expiry > $2) as sessions",
            &[&user_id, &now],
        )
        .await?;
    Ok(Factors {
        has_password: row.get("has_password")?,
        has_totp: row.get("has_totp")?,
        recovery_codes: row.get("recovery_codes")?,
        passkeys: row.get("passkeys")?,
        providers: row.get("providers")?,
        api_tokens: row.get("api_tokens")?,
        sessions: row.get("sessions")?,
    })
}

/// Suspends or activates; whether that is news. A deleted account stays what it is.
pub(crate) async fn set_status(db: &impl Queries, user_id: Uuid, status: &str) -> Result<bool> {
    let changed = db
        .execute(
            "update public.users set status = $2 where id = $1 and status not in ('deleted', $2)",
            &[&user_id, &status],
        )
        .await?;
    Ok(changed == 1)
}

/// A living session.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Session {
    /// Names it when it is to be ended.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Option<Uuid>,
    /// Their address.
    pub email: Option<String>,
    /// The machine whose it is.
    pub device_id: Option<Uuid>,
    /// The family that it acts in.
    pub family_id: Option<Uuid>,
    /// The app, as it named itself.
    pub client: Option<String>,
    /// The browser or system, as it named itself.
    pub user_agent: Option<String>,
    /// Where it was last used from.
    pub ip: Option<String>,
    /// How it was proved.
    pub amr: Vec<String>,
    /// When somebody signed in.
    pub created_at: Timestamp,
    /// When its tokens were last renewed.
    pub last_used_at: Timestamp,
}

pub(crate) async fn sessions(
    db: &impl Queries,
    user_id: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Session>> {
    db.query(
        "select s.id, s.user_id, u.email, s.device_id, s.family_id, s.client, s.user_agent, host(s.ip) as ip, s.amr, \
           s.created_at, s.rotated_at from auth.sessions s left join public.users u on u.id = s.user_id \
         where s.revoked_at is null and s.idle_expiry > $4 and s.absolute_expiry > $4 \
           and ($1::uuid is null or s.user_id = $1) and ($2::uuid is null or s.id < $2) order by s.id desc limit $3",
        &[&user_id, &before, &limit, &now],
    )
    .await?
    .map(|row| {
        Ok(Session {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            email: row.get("email")?,
            device_id: row.get("device_id")?,
            family_id: row.get("family_id")?,
            client: row.get("client")?,
            user_agent: row.get("user_agent")?,
            ip: row.get("ip")?,
            amr: row.get("amr")?,
            created_at: row.get("created_at")?,
            last_used_at: row.get("rotated_at")?,
        })
    })
}

/// Whether a session lives.
pub(crate) async fn is_alive(db: &impl Queries, id: Uuid) -> Result<bool> {
    let row = db
        .query_opt(
            "select from auth.sessions where id = $1 and revoked_at is null",
            &[&id],
        )
        .await?;
    Ok(row.is_some())
}

/// A family, as an operator sees it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Family {
    /// Names it.
    pub id: Uuid,
    /// As its members call it.
    pub name: String,
    /// Who is in it, those who are suspended included.
    pub members: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is deleted.
    pub deleted_at: Option<Timestamp>,
    /// When it was last exported.
    pub exported_at: Option<Timestamp>,
}

/// Which families are wanted.
pub(crate) struct Families<'a> {
    pub(crate) query: Option<&'a str>,
    pub(crate) is_deleted: Option<bool>,
    pub(crate) before: Option<Uuid>,
    pub(crate) limit: i64,
}

pub(crate) async fn families(db: &impl Queries, only: &Families<'_>) -> Result<Vec<Family>> {
    db.query(
        "select f.id, f.name, f.created_at, f.deleted_at, \
           (select count(*) from public.family_members m \
             where m.family_id = f.id and m.status in ('active', 'suspended')) as members, \
           (select max(e.exported_at) from public.family_exports e where e.family_id = f.id) as exported_at \
         from public.families f \
         where ($1::text is null or strpos(lower(f.name), lower($1)) > 0) \
           and ($2::boolean is null or (f.deleted_at is not null) = $2) \
           and ($3::uuid is null or f.id < $3) order by f.id desc limit $4",
        &[&only.query, &only.is_deleted, &only.before, &only.limit],
    )
    .await?
    .map(|row| {
        Ok(Family {
            id: row.get("id")?,
            name: row.get("name")?,
            members: row.get("members")?,
            created_at: row.get("created_at")?,
            deleted_at: row.get("deleted_at")?,
            exported_at: row.get("exported_at")?,
        })
    })
}

/// A paired machine.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Device {
    /// Names it when it is to be taken off.
    pub id: Uuid,
    /// Its family.
    pub family_id: Uuid,
    /// As the family calls it.
    pub name: String,
    /// `tv`, `box`, `phone` and so on.
    pub kind: String,
    /// When it was paired.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// Since when it may do nothing any more.
    pub revoked_at: Option<Timestamp>,
}

pub(crate) async fn devices(
    db: &impl Queries,
    family_id: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Device>> {
    db.query(
        "select id, family_id, name, kind, created_at, last_seen_at, revoked_at from public.devices \
         where ($1::uuid is null or family_id = $1) and ($2::uuid is null or id < $2) order by id desc limit $3",
        &[&family_id, &before, &limit],
    )
    .await?
    .map(|row| {
        Ok(Device {
            id: row.get("id")?,
            family_id: row.get("family_id")?,
            name: row.get("name")?,
            kind: row.get("kind")?,
            created_at: row.get("created_at")?,
            last_seen_at: row.get("last_seen_at")?,
            revoked_at: row.get("revoked_at")?,
        })
    })
}

/// Takes a machine off and ends what it is signed in to; its family, if there was such a machine.
pub(crate) async fn revoke_device(
    db: &impl Queries,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<Uuid>> {
    let row = db
        .query_opt(
            "update public.devices set revoked_at = $2 where id = $1 and revoked_at is null returning family_id",
            &[&id, &now],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    db.query(
        concat!(
            "with ended as (\
               update auth.sessions set revoked_at = $2, revoked_why = 'device_revoked' \
               where device_id = $1 and revoked_at is null returning *) ",
            say_ended!("null::text")
        ),
        &[&id, &now],
    )
    .await?;
    row.get("family_id").map(Some)
}
