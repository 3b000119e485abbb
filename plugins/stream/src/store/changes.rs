//! Tables whose changes are published.

use std::collections::BTreeMap;

use nself_plugin_api::prelude::*;
use serde_json::{Value, json};

use crate::{
    channel::Namespaces,
    config::{Table, Who},
};

/// Writes down what is told of which tables, for the triggers that do.
pub(crate) async fn write_tables(
    db: &impl Queries,
    tables: &BTreeMap<String, Table>,
    namespaces: &Namespaces,
) -> Result<()> {
    let roles = |table: &Table| {
        let mut named = namespaces
            .all()
            .filter(|(name, _)| *name == table.namespace);
        let who = named.next().map(|(_, rules)| &*rules.subscribe);
        let names = who.unwrap_or_default().iter().copied().map(Who::name);
        names.collect::<Vec<_>>()
    };
    let all: Vec<Value> = tables
        .iter()
        .map(|(name, table)| {
            json!({
                "name": name,
                "namespace": table.namespace,
                "columns": table.columns,
                "roles": roles(table),
                "audience": table.audience,
            })
        })
        .collect();
    db.query("select stream.write_tables($1)", &[&Value::from(all)])
        .await?;
    Ok(())
}
