//! Workflows that plugins have registered, and what became of them.

use nself_plugin_api::{prelude::*, serde_json::Value};
use serde::Deserialize;

/// Which one.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Which {
    pub namespace: String,
    pub name: String,
    pub version: String,
}

/// One that has not been looked at yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub plugin: String,
    pub source: String,
}

/// What is to be looked at; none when that has been done.
pub(crate) async fn pending(db: &impl Queries, which: &Which) -> Result<Option<Pending>> {
    let row = db
        .query_opt(
            "select r.plugin, r.source from orchestrator.registrations r \
             where r.namespace = $1 and r.name = $2 and r.version = $3 and r.status = 'pending'",
            &[&which.namespace, &which.name, &which.version],
        )
        .await?;
    row.map(|row| {
        Ok(Pending {
            plugin: row.get("plugin")?,
            source: row.get("source")?,
        })
    })
    .transpose()
}

/// Says what became of that text, and holds that until the transaction ends; false when somebody else has said it.
pub(crate) async fn settle(
    tx: &impl Queries,
    which: &Which,
    source: &str,
    problem: Option<Value>,
) -> Result<bool> {
    let settled = tx
        .execute(
            "update orchestrator.registrations r set status = case when $5::jsonb is null then 'kept' else 'refused' end, problem = $5 \
             where r.namespace = $1 and r.name = $2 and r.version = $3 and r.source = $4 and r.status = 'pending'",
            &[&which.namespace, &which.name, &which.version, &source, &problem],
        )
        .await?;
    Ok(settled == 1)
}
