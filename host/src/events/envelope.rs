//! An event as subscribers see it: CloudEvents 1.0 in its JSON format.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

/// A fact of the log. `familyid`, `traceparent` and `sequence` are extension attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// UUIDv7; the same at every delivery, so that a repeat can be told.
    pub id: Uuid,
    /// Who emitted it: `/plugins/<id>`, `/nself` or `/roles/<login>`.
    pub source: String,
    /// What happened: `family.member_joined`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// Address of the schema of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// The family that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub familyid: Option<Uuid>,
    /// W3C trace context of the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Its number in the log, a decimal text. Unique; not quite the order of delivery.
    pub sequence: String,
}

/// The columns that [`CloudEvent::from_row`] reads, of `nself.events e`.
pub(super) const COLUMNS: &str = "e.id, e.source, e.type, e.subject, e.time, e.data_schema, e.data, e.family_id, e.trace_parent, e.position";

impl CloudEvent {
    /// Reads a row with [`COLUMNS`].
    pub(super) fn from_row(row: &Row) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: row.get("id"),
            source: row.get("source"),
            kind: row.get("type"),
            subject: row.get("subject"),
            time: row.get("time"),
            datacontenttype: "application/json".to_owned(),
            dataschema: row.get("data_schema"),
            data: row.get("data"),
            familyid: row.get("family_id"),
            traceparent: row.get("trace_parent"),
            sequence: row.get::<_, i64>("position").to_string(),
        }
    }
}
