//! `auth.signing_keys` and `auth.mac_keys`.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value};

use crate::keys::{Key, State};

/// Only one host at a time turns the keys.
pub(crate) async fn lock(db: &impl Queries) -> Result<()> {
    db.query(
        "select pg_advisory_xact_lock(hashtext('auth.signing_keys'))",
        &[],
    )
    .await?;
    Ok(())
}

/// The keys that sign, will sign, or still verify; the oldest first.
pub(crate) async fn signing_keys(db: &impl Queries) -> Result<Vec<Key>> {
    db.query(
        "select kid, algorithm, jwk, sealed, state, published_at, active_at, retired_at \
         from auth.signing_keys where state <> 'gone' order by published_at, kid",
        &[],
    )
    .await?
    .map(|row| {
        Ok(Key {
            kid: row.get("kid")?,
            algorithm: row.get("algorithm")?,
            jwk: row.get("jwk")?,
            sealed: row.get("sealed")?,
            state: State::read(row.get("state")?)?,
            published_at: row.get("published_at")?,
            active_at: row.get("active_at")?,
            retired_at: row.get("retired_at")?,
        })
    })
}

pub(crate) async fn publish(
    db: &impl Queries,
    kid: &str,
    algorithm: &str,
    jwk: &Value,
    sealed: &str,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "insert into auth.signing_keys (kid, algorithm, jwk, sealed, state, published_at) \
         values ($1, $2, $3, $4, 'next', $5)",
        &[&kid, &algorithm, jwk, &sealed, &now],
    )
    .await?;
    Ok(())
}

/// The waiting key signs from now on, the one before it only verifies.
pub(crate) async fn promote(db: &impl Queries, now: Timestamp) -> Result<()> {
    db.execute(
        "update auth.signing_keys set state = 'retiring', retired_at = $1 where state = 'active'",
        &[&now],
    )
    .await?;
    db.execute(
        "update auth.signing_keys set state = 'active', active_at = $1 where state = 'next'",
        &[&now],
    )
    .await?;
    Ok(())
}

/// Forgets the private parts of keys that were retired before `before`; which ones.
pub(crate) async fn bury(db: &impl Queries, before: Timestamp) -> Result<Vec<String>> {
    db.query(
        "update auth.signing_keys set state = 'gone', sealed = null where state = 'retiring' and retired_at < $1 \
         returning kid",
        &[&before],
    )
    .await?
    .map(|row| row.get(0))
}

/// Tells all hosts that the keys have changed, when the transaction commits.
pub(crate) async fn announce(db: &impl Queries) -> Result<()> {
    db.query("select pg_notify('auth', 'keys')", &[]).await?;
    Ok(())
}

/// The sealed MAC keys with their ids, oldest first.
pub(crate) async fn mac_keys(db: &impl Queries) -> Result<Vec<(i16, String)>> {
    db.query("select id, sealed from auth.mac_keys order by id", &[])
        .await?
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
}

pub(crate) async fn add_mac_key(db: &impl Queries, sealed: &str, now: Timestamp) -> Result<i16> {
    db.query_one(
        "insert into auth.mac_keys (sealed, created_at) values ($1, $2) returning id",
        &[&sealed, &now],
    )
    .await?
    .get(0)
}
