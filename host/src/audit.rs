//! The audit log: append-only, hash-chained.
//!
//! The log itself is SQL (`db/nself/0004_audit.up.sql`), so that plugins, Hasura and psql write it in the transaction of
//! what they audit. This is the host's own way to append, and the way to read and verify.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::{Error, GenericClient, Row};
use uuid::Uuid;

/// What to append.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What was done, in words joined by dots: `plugin.enabled`.
    pub action: String,
    /// What it was done to: `plugin/notes`.
    pub target: String,
    /// A JSON object of at most 64 KiB; no secrets.
    pub details: Value,
    /// The family that it concerns; it decides the stream.
    pub family_id: Option<Uuid>,
    /// Who asked for it; the session's user, else the login, when it is not said.
    pub actor: Option<String>,
}

impl Entry {
    /// An entry of the stream `system` without details.
    pub fn new(action: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            target: target.into(),
            details: json!({}),
            family_id: None,
            actor: None,
        }
    }
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `system`, or the id of a family.
    pub stream: String,
    /// Place in the stream, from 1 without gaps.
    pub sequence: i64,
    /// Its id.
    pub id: Uuid,
    /// When it was appended.
    pub at: Timestamp,
    /// Which login appended it: `/nself`, `/plugins/<id>` or `/roles/<login>`.
    pub source: String,
    /// Who asked for it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// More about it.
    pub details: Value,
    /// The family that it concerns.
    pub family_id: Option<Uuid>,
}

/// The first broken place of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Which stream.
    pub stream: String,
    /// Which place in it.
    pub sequence: i64,
    /// What is wrong there.
    pub problem: String,
}

/// Which entries to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only those of one family.
    pub family_id: Option<Uuid>,
    /// Only those before this moment, to turn pages.
    pub before: Option<Timestamp>,
    /// How many at most; 100 by default.
    pub limit: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            family_id: None,
            before: None,
            limit: 100,
        }
    }
}

/// Appends an entry, in the transaction of `client` when that is one, and returns its id.
///
/// The stream stays locked until the transaction ends: append last, and into several families in a fixed order.
pub async fn append(client: &impl GenericClient, entry: &Entry) -> Result<Uuid, Error> {
    let Entry {
        action,
        target,
        details,
        family_id,
        actor,
    } = entry;
    let row = client
        .query_one(
            "SELECT nself.audit($1, $2, $3, $4, $5)",
            &[action, target, details, family_id, actor],
        )
        .await?;
    Ok(row.get(0))
}

/// The first broken place of `stream`, or of each stream; none when the chains are whole. Reads the whole stream.
pub async fn verify(
    client: &impl GenericClient,
    stream: Option<&str>,
) -> Result<Vec<Broken>, Error> {
    let rows = client
        .query(
            "SELECT stream, sequence, problem FROM nself.verify_audit($1)",
            &[&stream],
        )
        .await?;
    let broken = |row: &Row| Broken {
        stream: row.get(0),
        sequence: row.get(1),
        problem: row.get(2),
    };
    Ok(rows.iter().map(broken).collect())
}

/// The newest entries first.
pub async fn tail(client: &impl GenericClient, filter: &Filter) -> Result<Vec<Record>, Error> {
    let rows = client
        .query(
            "SELECT stream, sequence, id, at, source, actor, action, target, details, family_id
             FROM nself.audit_log
             WHERE ($1::uuid IS NULL OR stream = $1::text) AND ($2::timestamptz IS NULL OR at < $2)
             ORDER BY at DESC, sequence DESC
             LIMIT $3",
            &[&filter.family_id, &filter.before, &i64::from(filter.limit)],
        )
        .await?;
    Ok(rows.iter().map(record).collect())
}

fn record(row: &Row) -> Record {
    Record {
        stream: row.get("stream"),
        sequence: row.get("sequence"),
        id: row.get("id"),
        at: row.get("at"),
        source: row.get("source"),
        actor: row.get("actor"),
        action: row.get("action"),
        target: row.get("target"),
        details: row.get("details"),
        family_id: row.get("family_id"),
    }
}
