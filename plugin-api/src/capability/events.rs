//! Events: facts in the host's log, emitted through a SQL function, so that an event exists exactly when its cause commits.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::db::{Db, Queries};
use crate::{cx::Handles, error::Result};

/// Emits into the event log. Inside a transaction use [`emit_in`].
pub struct Events<'a>(pub(crate) &'a Arc<Handles>);

/// A fact, past tense.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// Its type: `family.member_joined`.
    pub kind: &'a str,
    /// What it happened to.
    pub subject: &'a str,
    /// The fact.
    pub data: Value,
    /// The family that it belongs to.
    pub family_id: Option<Uuid>,
}

impl Events<'_> {
    /// Emits in a transaction of its own; the event's id.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn emit(&self, event: NewEvent<'_>) -> Result<Uuid> {
        emit_in(&Db(self.0), event).await
    }
}

/// Emits in the caller's transaction; the event's id.
///
/// # Errors
///
/// Those of the database.
pub async fn emit_in(queries: &impl Queries, event: NewEvent<'_>) -> Result<Uuid> {
    queries
        .query_one(
            "select nself.emit_event($1, $2, $3, $4)",
            &[&event.kind, &event.subject, &event.data, &event.family_id],
        )
        .await?
        .get(0)
}
