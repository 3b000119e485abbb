//! Addresses that get no mail.

use nself_plugin_api::{Result, Schema, jiff::Timestamp, prelude::*};
use serde::Serialize;

/// An address on the list.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Suppression {
    /// The address, lower case.
    pub address: String,
    /// `bounce` when a server said that there is no such mailbox, `manual` when an operator put it here.
    pub reason: String,
    /// What the server said, or the operator.
    pub detail: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// A page of the list in the order of the addresses, after `after`.
pub(crate) async fn page(
    db: &impl Queries,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Suppression>> {
    db.query(
        "select address, reason, detail, created_at from mail.suppressions \
         where $1::text is null or address > $1 order by address limit $2",
        &[&after, &limit],
    )
    .await?
    .map(read)
}

/// Puts an address on the list; what stands there then, which may be older.
pub(crate) async fn add(
    db: &impl Queries,
    address: &str,
    reason: &str,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<Suppression> {
    let row = db
        .query_one(
            "insert into mail.suppressions (address, reason, detail, created_at) values ($1, $2, $3, $4) \
             on conflict (address) do update set address = excluded.address \
             returning address, reason, detail, created_at",
            &[&address, &reason, &detail, &now],
        )
        .await?;
    read(&row)
}

/// Takes an address off the list; whether it was there.
pub(crate) async fn remove(db: &impl Queries, address: &str) -> Result<bool> {
    let changed = db
        .execute(
            "delete from mail.suppressions where address = $1",
            &[&address],
        )
        .await?;
    Ok(changed == 1)
}

fn read(row: &Row) -> Result<Suppression> {
    Ok(Suppression {
        address: row.get("address")?,
        reason: row.get("reason")?,
        detail: row.get("detail")?,
        created_at: row.get("created_at")?,
    })
}
