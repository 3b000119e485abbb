//! Mails that were asked for in transactions of other plugins, by the SQL function `mail.post`, until they are written.

use nself_plugin_api::{
    Result, capability::db::Transaction, prelude::*, serde_json::Value, uuid::Uuid,
};

/// A mail that was asked for.
pub(crate) struct Posted {
    pub id: Uuid,
    pub letter: Value,
}

/// Takes some out, the oldest first. They are gone when the transaction commits, and still there when it does not.
pub(crate) async fn take(transaction: &Transaction, limit: usize) -> Result<Vec<Posted>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    transaction
        .query(
            "with taken as (delete from mail.letters where id in (\
               select id from mail.letters order by id limit $1 for update skip locked) returning id, letter) \
             select id, letter from taken order by id",
            &[&limit],
        )
        .await?
        .map(|row| {
            Ok(Posted {
                id: row.get("id")?,
                letter: row.get("letter")?,
            })
        })
}

/// Whether any mail was asked for and is not written yet.
pub(crate) async fn are_waiting(db: &impl Queries) -> Result<bool> {
    let sql = "select exists (select from mail.letters)";
    db.query_one(sql, &[]).await?.get(0)
}
