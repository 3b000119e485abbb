//! The audit log, through the doors that the host gives to plugins: append, and read what one wrote oneself.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value};
use serde::Serialize;
use uuid::Uuid;

/// An entry to be written.
pub(crate) struct New<'a> {
    /// Who did it: a person's id, or `operator/NAME`.
    pub(crate) actor: &'a str,
    pub(crate) action: &'static str,
    pub(crate) target: &'a str,
    pub(crate) details: &'a Value,
    pub(crate) family_id: Option<Uuid>,
}

/// Writes an entry in the caller's transaction.
pub(crate) async fn append(db: &impl Queries, new: &New<'_>) -> Result<()> {
    db.query(
        "select nself.audit($1, $2, $3, $4, $5)",
        &[
            &new.action,
            &new.target,
            new.details,
            &new.family_id,
            &new.actor,
        ],
    )
    .await?;
    Ok(())
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) person: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    pub(crate) family_id: Option<Uuid>,
    pub(crate) before: Option<(Timestamp, Uuid)>,
    pub(crate) limit: i32,
}

/// An entry that this plugin wrote.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Entry {
    /// Names it.
    pub id: Uuid,
    /// When it was written.
    pub at: Timestamp,
    /// Who did it: a person's id, or `operator/NAME`.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// The rest of it.
    pub details: Value,
    /// The family whose chain it stands in.
    pub family_id: Option<Uuid>,
}

/// The newest entries that pass the filter.
pub(crate) async fn read(db: &impl Queries, filter: &Filter<'_>) -> Result<Vec<Entry>> {
    let (before_at, before_id) = filter.before.unzip();
    db.query(
        "select * from nself.read_audit($1, $2, $3, $4, $5, $6)",
        &[
            &filter.person,
            &filter.action,
            &filter.family_id,
            &before_at,
            &before_id,
            &filter.limit,
        ],
    )
    .await?
    .map(|row| {
        Ok(Entry {
            id: row.get("id")?,
            at: row.get("at")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            target: row.get("target")?,
            details: row.get("details")?,
            family_id: row.get("family_id")?,
        })
    })
}
