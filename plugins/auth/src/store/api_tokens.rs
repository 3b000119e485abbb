//! `auth.api_tokens`.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value};
use uuid::Uuid;

use super::sessions::say_ended;

use crate::api_token::{ApiToken, Shown};

/// What a new token begins with.
pub(crate) struct New<'a> {
    /// A person; nobody for a service.
    pub(crate) user_id: Option<Uuid>,
    pub(crate) family_id: Option<Uuid>,
    pub(crate) name: &'a str,
    /// The beginning of the token, by which its owner knows it again.
    pub(crate) prefix: &'a str,
    pub(crate) mac: &'a [u8],
    pub(crate) scopes: &'a [String],
    pub(crate) now: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

/// How many living tokens a person has, or all services together. Whoever asks in a transaction is alone with the answer.
pub(crate) async fn count(db: &impl Queries, user_id: Option<Uuid>, now: Timestamp) -> Result<i64> {
    db.query(
        "select pg_advisory_xact_lock(hashtextextended('auth.api_tokens ' || coalesce($1::text, ''), 0))",
        &[&user_id],
    )
    .await?;
    db.query_one(
        "select count(*) from auth.api_tokens where user_id is not distinct from $1 and revoked_at is null \
         and (expires_at is null or expires_at > $2)",
        &[&user_id, &now],
    )
    .await?
    .get(0)
}

pub(crate) async fn insert(db: &impl Queries, new: &New<'_>) -> Result<Uuid> {
    db.query_one(
        "insert into auth.api_tokens (user_id, family_id, name, prefix, token_mac, scopes, created_at, expires_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning id",
        &[
            &new.user_id,
            &new.family_id,
            &new.name,
            &new.prefix,
            &new.mac,
            &new.scopes,
            &new.now,
            &new.expires_at,
        ],
    )
    .await?
    .get(0)
}

/// The living token with one of these MACs.
pub(crate) async fn find(
    db: &impl Queries,
    macs: &[Vec<u8>],
    now: Timestamp,
) -> Result<Option<ApiToken>> {
    let row = db
        .query_opt(
            "select id, user_id, family_id, scopes, created_at, expires_at from auth.api_tokens \
             where token_mac = any($1) and revoked_at is null and (expires_at is null or expires_at > $2)",
            &[&macs, &now],
        )
        .await?;
    row.map(|row| {
        Ok(ApiToken {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            family_id: row.get("family_id")?,
            scopes: row.get("scopes")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
        })
    })
    .transpose()
}

/// Notes that a token was used.
pub(crate) async fn touch(db: &impl Queries, id: Uuid, now: Timestamp) -> Result<()> {
    db.execute(
        "update auth.api_tokens set used_at = $2 where id = $1",
        &[&id, &now],
    )
    .await?;
    Ok(())
}

/// Says that a session was exchanged for a token.
pub(crate) async fn bind(db: &impl Queries, session: Uuid, token: Uuid) -> Result<()> {
    db.execute(
        "update auth.sessions set api_token_id = $2 where id = $1",
        &[&session, &token],
    )
    .await?;
    Ok(())
}

/// A person's living tokens, or the services'; the newest first.
pub(crate) async fn list(
    db: &impl Queries,
    user_id: Option<Uuid>,
    now: Timestamp,
) -> Result<Vec<Shown>> {
    db.query(
        "select id, family_id, name, prefix, scopes, created_at, expires_at, used_at from auth.api_tokens \
         where user_id is not distinct from $1 and revoked_at is null \
         and (expires_at is null or expires_at > $2) order by id desc",
        &[&user_id, &now],
    )
    .await?
    .map(|row| {
        Ok(Shown {
            id: row.get("id")?,
            name: row.get("name")?,
            prefix: row.get("prefix")?,
            family_id: row.get("family_id")?,
            scopes: row.get("scopes")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            last_used_at: row.get("used_at")?,
        })
    })
}

/// Ends a token of a person's, or a service, with every session that was exchanged for it, and tells all hosts; whether
/// there was one. A service's own tokens name it as their session, so it is told as one.
pub(crate) async fn revoke(
    db: &impl Queries,
    user_id: Option<Uuid>,
    id: Uuid,
    now: Timestamp,
) -> Result<bool> {
    let ended = db
        .query(
            concat!(
                "with token as (\
                   update auth.api_tokens set revoked_at = $3 \
                   where id = $1 and user_id is not distinct from $2 and revoked_at is null returning id), \
                 ended as (\
                   update auth.sessions s set revoked_at = $3, revoked_why = 'token_revoked' from token t \
                   where s.api_token_id = t.id and s.revoked_at is null returning s.*), \
                 said as materialized (",
                say_ended!("null::text"),
                ") select pg_notify('auth', 'revoked ' || id), (select count(*) from said) from token"
            ),
            &[&id, &user_id, &now],
        )
        .await?;
    Ok(!ended.is_empty())
}

/// Ends all tokens of a person. Their sessions are the caller's matter.
pub(crate) async fn revoke_all(db: &impl Queries, user_id: Uuid, now: Timestamp) -> Result<()> {
    db.query(
        "with ended as (\
           update auth.api_tokens set revoked_at = $2 where user_id = $1 and revoked_at is null returning id) \
         select nself.audit('auth.token_revoked', id::text, jsonb_build_object('user_id', $1::text), null, $1::text) \
         from ended",
        &[&user_id, &now],
    )
    .await?;
    Ok(())
}

/// Ends the tokens that a person had made for one family, with the sessions that were exchanged for them, and tells all
/// hosts. `actor` is who ended the membership, or suspended it.
pub(crate) async fn revoke_in_family(
    db: &impl Queries,
    user_id: Uuid,
    family_id: Uuid,
    actor: Uuid,
    now: Timestamp,
) -> Result<()> {
    db.query(
        concat!(
            "with tokens as (\
               update auth.api_tokens set revoked_at = $3 \
               where user_id = $1 and family_id = $2 and revoked_at is null returning id), \
             ended as (\
               update auth.sessions s set revoked_at = $3, revoked_why = 'token_revoked' from tokens t \
               where s.api_token_id = t.id and s.revoked_at is null returning s.*), \
             said as materialized (",
            say_ended!("null::text"),
            "), told as materialized (select count(*) as ended from said) \
             select nself.audit('auth.token_revoked', id::text, jsonb_build_object('user_id', $1::text), $2, $4), ended \
             from told, tokens"
        ),
        &[&user_id, &family_id, &now, &actor.to_string()],
    )
    .await?;
    Ok(())
}

/// An entry of the audit log about a token.
pub(crate) async fn audit(
    db: &impl Queries,
    action: &str,
    id: Uuid,
    details: &Value,
    actor: &str,
) -> Result<()> {
    db.query(
        "select nself.audit($1, $2, $3, null, $4)",
        &[&action, &id.to_string(), details, &actor],
    )
    .await?;
    Ok(())
}

/// Whether a token is neither revoked nor past its end.
pub(crate) async fn is_alive(db: &impl Queries, id: Uuid, now: Timestamp) -> Result<bool> {
    db.query_one(
        "select exists (select from auth.api_tokens where id = $1 and revoked_at is null \
         and (expires_at is null or expires_at > $2))",
        &[&id, &now],
    )
    .await?
    .get(0)
}

/// Forgets tokens that ended before then, at most so many at once.
pub(crate) async fn forget(db: &impl Queries, before: Timestamp, step: i64) -> Result<u64> {
    db.execute(
        "delete from auth.api_tokens where id in (\
           select id from auth.api_tokens where expires_at < $1 or revoked_at < $1 limit $2)",
        &[&before, &step],
    )
    .await
}
