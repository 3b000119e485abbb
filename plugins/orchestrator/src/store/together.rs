//! What is written for many runs by one statement, and so by one commit.

use nself_plugin_api::{
    capability::db::Typed, jiff::Timestamp, postgres_types::Type, prelude::*, serde_json::Value,
    uuid::Uuid,
};

/// A run that has come to its end before it was written down.
#[derive(Debug)]
pub(crate) struct Ended {
    pub id: Uuid,
    pub definition_id: Uuid,
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub family_id: Option<Uuid>,
    pub input: Value,
    pub key: Option<String>,
    pub created_by: String,
    /// Whether the audit log tells of it.
    pub is_audited: bool,
    pub status: &'static str,
    pub output: Option<Value>,
    pub error: Option<Value>,
    /// What is needed to take it back to the task that failed.
    pub state: Option<Vec<u8>>,
    /// Rows of its history, and these as JSON.
    pub records: i64,
    pub history: String,
}

/// When a run was made, and when it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub created_at: Timestamp,
    pub ended_at: Timestamp,
}

/// Keeps runs that have ended. Left out are those whose key has a run already, and those whose definition is removed.
pub(crate) async fn keep(db: &impl Queries, all: &[&Ended]) -> Result<Vec<(Uuid, Times)>> {
    fn list<T>(all: &[&Ended], field: impl Fn(&Ended) -> T) -> Vec<T> {
        all.iter().map(|one| field(one)).collect()
    }
    let text = |field: fn(&Ended) -> &str| all.iter().map(|one| field(one)).collect::<Vec<&str>>();
    let id = list(all, |one| one.id);
    let definition = list(all, |one| one.definition_id);
    let families = Typed(list(all, |one| one.family_id), Type::UUID_ARRAY);
    let inputs = Typed(
        all.iter().map(|one| &one.input).collect::<Vec<_>>(),
        Type::JSONB_ARRAY,
    );
    let keys = Typed(list(all, |one| one.key.clone()), Type::TEXT_ARRAY);
    let outputs = Typed(list(all, |one| one.output.clone()), Type::JSONB_ARRAY);
    let errors = Typed(list(all, |one| one.error.clone()), Type::JSONB_ARRAY);
    let states = Typed(list(all, |one| one.state.clone()), Type::BYTEA_ARRAY);
    db.query(
        "select k.id, k.created_at, k.ended_at from orchestrator.keep_ended($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) k",
        &[
            &id,
            &definition,
            &text(|one| &one.namespace),
            &text(|one| &one.name),
            &text(|one| &one.version),
            &families,
            &inputs,
            &keys,
            &text(|one| &one.created_by),
            &list(all, |one| one.is_audited),
            &text(|one| one.status),
            &outputs,
            &errors,
            &states,
            &list(all, |one| one.records),
            &text(|one| &one.history),
        ],
    )
    .await?
    .map(|row| {
        let times = Times {
            created_at: row.get("created_at")?,
            ended_at: row.get("ended_at")?,
        };
        Ok((row.get("id")?, times))
    })
}

/// A run that has made a request, and makes another one next.
#[derive(Debug)]
pub(crate) struct Step {
    pub id: Uuid,
    /// As it was when the request was made: whoever has changed the run since has changed this.
    pub epoch: i64,
    pub state: Vec<u8>,
    /// The need that is met, and the one that comes next.
    pub met: i64,
    pub next: i64,
    /// The job that looks after both.
    pub job: i64,
    /// Rows of its history before, rows that come to it, and these as JSON.
    pub before: i64,
    pub records: i64,
    pub history: String,
}

/// Keeps steps; the runs that are a step further. Left out are those that somebody else has changed, changes now, or wants to rest
/// or to end: they take the long way.
pub(crate) async fn step(db: &impl Queries, host: Uuid, all: &[&Step]) -> Result<Vec<Uuid>> {
    fn list<T>(all: &[&Step], field: impl Fn(&Step) -> T) -> Vec<T> {
        all.iter().map(|one| field(one)).collect()
    }
    let states: Vec<&[u8]> = all.iter().map(|one| &*one.state).collect();
    let histories: Vec<&str> = all.iter().map(|one| &*one.history).collect();
    db.query(
        "select s.id from orchestrator.keep_steps($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) s",
        &[
            &list(all, |one| one.id),
            &list(all, |one| one.epoch),
            &states,
            &list(all, |one| one.met),
            &list(all, |one| one.next),
            &list(all, |one| one.job),
            &list(all, |one| one.before),
            &list(all, |one| one.records),
            &histories,
            &host,
        ],
    )
    .await?
    .map(|row| row.get("id"))
}
