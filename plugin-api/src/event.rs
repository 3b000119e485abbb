//! Events as subscribers receive them.

use serde::{Deserialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// A CloudEvents 1.0 event from the log.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Unique; the same when the event is delivered again.
    pub id: String,
    /// Who emitted it.
    pub source: String,
    /// What happened, past tense: `family.member_joined`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to.
    #[serde(default)]
    pub subject: Option<String>,
    /// When.
    #[serde(default)]
    pub time: Option<jiff::Timestamp>,
    /// The tenant that it belongs to.
    #[serde(default, rename = "familyid")]
    pub family_id: Option<uuid::Uuid>,
    /// The fact itself.
    #[serde(default)]
    pub data: serde_json::Value,
}

impl Event {
    /// The data read as `T`.
    ///
    /// # Errors
    ///
    /// `EVENT_DATA` with what is wrong.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.data)
            .map_err(|error| Error::invalid("EVENT_DATA", format!("{}: {error}", self.kind)))
    }
}
