//! The audit log: append-only, hash-chained.
//!
//! The log itself is SQL (`db/nself/0004_audit.up.sql`), so that plugins, Hasura and psql write it in the transaction of
//! what they audit. This is the host's own way to append, and the way to read and verify.
//!
//! [`export`] writes entries as JSON Lines, [`archive`] reads such a file back and proves it, [`months`] closes months and
//! puts old ones away, [`witness`] keeps the ends of the chains elsewhere, [`routes`] shows a family its own log.

pub mod archive;
pub mod export;
pub mod months;
pub mod routes;
pub mod witness;

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
    /// An entry that belongs to no family, without details.
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
    /// The id of a family, or `system-0` to `system-f`.
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

impl From<&Row> for Broken {
    fn from(row: &Row) -> Self {
        Self {
            stream: row.get(0),
            sequence: row.get(1),
            problem: row.get(2),
        }
    }
}

/// Which entries to read; all of them by default, a hundred at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only those of one stream.
    pub stream: Option<String>,
    /// Only those whose action is this; `*` stands for anything: `family.*`.
    pub action: Option<String>,
    /// Only those that somebody did.
    pub actor: Option<String>,
    /// Only those that were done to something.
    pub target: Option<String>,
    /// Only those at this moment or later.
    pub since: Option<Timestamp>,
    /// Only those before this moment.
    pub until: Option<Timestamp>,
    /// Only those before this place of their stream, to turn pages.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            stream: None,
            action: None,
            actor: None,
            target: None,
            since: None,
            until: None,
            before: None,
            limit: 100,
        }
    }
}

impl Filter {
    /// Those of one family.
    pub fn of_family(family: Uuid) -> Self {
        Self {
            stream: Some(family.to_string()),
            ..Self::default()
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

/// Appends what an operator did by the command line with the database as a whole. One whose first steps are still to come has no log.
pub(crate) async fn append_command(
    client: &impl GenericClient,
    action: &str,
    details: Value,
) -> Result<(), Error> {
    let there = "SELECT to_regprocedure('nself.verify_audit(text)') IS NOT NULL";
    if client.query_one(there, &[]).await?.get(0) {
        let entry = Entry {
            details,
            actor: Some("cli".to_owned()),
            ..Entry::new(action, "database")
        };
        append(client, &entry).await?;
    }
    Ok(())
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
    Ok(rows.iter().map(Broken::from).collect())
}

/// The newest entries first.
pub async fn tail(client: &impl GenericClient, filter: &Filter) -> Result<Vec<Record>, Error> {
    let Filter {
        stream,
        action,
        actor,
        target,
        since,
        until,
        before,
        limit,
    } = filter;
    // One stream is walked by its key, all of them by time.
    let order = if stream.is_some() {
        "a.sequence DESC"
    } else {
        "a.at DESC, a.id DESC"
    };
    let query = format!(
        "SELECT stream, sequence, id, at, source, actor, action, target, details, family_id
         FROM nself.audit_log a
         WHERE ($1::text IS NULL OR a.stream = $1) AND ($2::text IS NULL OR a.action LIKE nself.like_pattern($2))
             AND ($3::text IS NULL OR a.actor = $3) AND ($4::text IS NULL OR a.target = $4)
             AND ($5::timestamptz IS NULL OR a.at >= $5) AND ($6::timestamptz IS NULL OR a.at < $6)
             AND ($7::bigint IS NULL OR a.sequence < $7)
         ORDER BY {order} LIMIT $8"
    );
    let rows = client
        .query(
            &query,
            &[
                stream,
                action,
                actor,
                target,
                since,
                until,
                before,
                &i64::from(*limit),
            ],
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
