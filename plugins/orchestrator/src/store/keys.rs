//! The pairs that commands are signed with.

use nself_plugin_api::{prelude::*, serde_json::Value};

/// One that signs.
#[derive(Debug)]
pub(crate) struct Key {
    pub id: String,
    pub sealed: String,
}

/// The one that signs new commands.
pub(crate) async fn newest(db: &impl Queries) -> Result<Option<Key>> {
    let row = db
        .query_opt(
            "select k.id, k.sealed_key from orchestrator.signing_keys k order by k.created_at desc, k.id limit 1",
            &[],
        )
        .await?;
    row.map(|row| {
        Ok(Key {
            id: row.get("id")?,
            sealed: row.get("sealed_key")?,
        })
    })
    .transpose()
}

/// Keeps the first pair; the one that is kept, which is another host's when that was quicker.
pub(crate) async fn first(db: &impl Queries, jwk: &Value, sealed: &str) -> Result<Key> {
    db.execute(
        "insert into orchestrator.signing_keys (id, public_jwk, sealed_key) values ('commands-1', $1, $2) on conflict do nothing",
        &[jwk, &sealed],
    )
    .await?;
    let key = newest(db).await?;
    key.ok_or_else(|| Error::new(500, "INTERNAL", "something went wrong on our side"))
}

/// The public halves, each under its id.
pub(crate) async fn public(db: &impl Queries) -> Result<Vec<Value>> {
    db.query(
        "select k.public_jwk || jsonb_build_object('kid', k.id, 'use', 'sig') as jwk from orchestrator.signing_keys k order by k.created_at desc, k.id",
        &[],
    )
    .await?
    .map(|row| row.get("jwk"))
}
