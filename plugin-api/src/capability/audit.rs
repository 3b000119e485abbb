//! The audit log: append-only and hash-chained, through a SQL function, so that an entry commits with what it tells of.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::db::{Db, Queries};
use crate::{cx::Handles, error::Result};

/// Appends to the audit log. Inside a transaction use [`append_in`].
pub struct Audit<'a>(pub(crate) &'a Arc<Handles>);

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What was done, such as `family.role_changed`.
    pub action: &'a str,
    /// To what.
    pub target: &'a str,
    /// Facts; no secrets.
    pub details: Value,
    /// The family that it belongs to.
    pub family_id: Option<Uuid>,
    /// Who did it.
    pub actor: Option<&'a str>,
}

impl Audit<'_> {
    /// Appends an entry in a transaction of its own.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn append(&self, entry: Entry<'_>) -> Result<()> {
        append_in(&Db(self.0), entry).await
    }
}

/// Appends an entry in the caller's transaction: it is there exactly when the transaction commits.
///
/// # Errors
///
/// Those of the database.
pub async fn append_in(queries: &impl Queries, entry: Entry<'_>) -> Result<()> {
    queries
        .query(
            "select nself.audit($1, $2, $3, $4, $5)",
            &[
                &entry.action,
                &entry.target,
                &entry.details,
                &entry.family_id,
                &entry.actor,
            ],
        )
        .await?;
    Ok(())
}
