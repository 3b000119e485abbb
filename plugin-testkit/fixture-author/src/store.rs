//! All SQL of the plugin, which has no table: it calls the functions that come with `orchestrator.workflows/1`.

use nself_plugin_api::{prelude::*, serde_json::Value};

pub(crate) async fn register(
    db: &impl Queries,
    name: &str,
    version: &str,
    definition: &str,
) -> Result<String> {
    let sql = "select orchestrator.register($1, $2, $3)";
    db.query_one(sql, &[&name, &version, &definition])
        .await?
        .get(0)
}

pub(crate) async fn registration(
    db: &impl Queries,
    name: &str,
    version: &str,
) -> Result<Option<Value>> {
    let sql = "select orchestrator.registration($1, $2)";
    db.query_one(sql, &[&name, &version]).await?.get(0)
}
