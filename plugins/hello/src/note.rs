//! A note, as it is stored and as it crosses in JSON.

use nself_plugin_api::{Error, Result, Schema, jiff::Timestamp, uuid::Uuid};
use serde::{Deserialize, Serialize};

/// A note of a family.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Note {
    /// UUIDv7: ascending in time.
    pub id: Uuid,
    /// What it is about.
    pub title: String,
    /// What it says.
    pub body: String,
    /// Who wrote it.
    pub created_by: Option<Uuid>,
    /// When.
    pub created_at: Timestamp,
    /// When it was last rewritten.
    pub updated_at: Timestamp,
}

/// What a client sends to write or rewrite a note.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    /// What it is about.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// What it says.
    #[serde(default)]
    #[schema(max_length = 20000)]
    pub body: String,
}

/// Which page of the notes.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// The last id of the page before.
    pub before: Option<Uuid>,
}

impl Draft {
    /// Refuses what the table would refuse, with words for the caller.
    pub(crate) fn check(&self) -> Result<()> {
        if self.title.is_empty() || self.title.chars().count() > 200 {
            return Err(Error::invalid(
                "NOTE_TITLE",
                "title: expected 1 to 200 characters",
            ));
        }
        if self.body.chars().count() > 20_000 {
            return Err(Error::invalid(
                "NOTE_BODY",
                "body: expected at most 20000 characters",
            ));
        }
        Ok(())
    }
}
