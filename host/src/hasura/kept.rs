//! What only the project can say, and `build` therefore leaves as it is written: event triggers and remote relationships of
//! tables, and the lists that nothing here makes. All else is made anew.

use serde_json::{Value, json};

use super::{TableName, tables};

/// Lists of the document that are the project's own.
const LISTS: [&str; 5] = [
    "allowlist",
    "cron_triggers",
    "query_collections",
    "remote_schemas",
    "rest_endpoints",
];

/// Takes it over from what is written into a fresh document.
pub(super) fn keep(document: &mut Value, written: &Value) {
    for list in LISTS {
        if written[list].is_array() {
            document[list] = written[list].clone();
        }
    }
    let fresh = document["sources"][0]["tables"].as_array_mut();
    for entry in fresh.into_iter().flatten() {
        let Some(table) = TableName::read(&entry["table"]) else {
            continue;
        };
        let is_same = |other: &&Value| TableName::read(&other["table"]).as_ref() == Some(&table);
        if let Some(other) = tables(written).iter().find(is_same) {
            add(entry, other, "event_triggers", |name| {
                !is_of_plugin(&table, name)
            });
            add(entry, other, "remote_relationships", |_| true);
        }
    }
}

/// Whether a plugin's fragment says what this trigger of its table does: those of the project have other names.
pub(super) fn is_of_plugin(table: &TableName, trigger: &str) -> bool {
    let plugin = table.schema.replace('-', "_");
    table.schema != "public" && trigger.starts_with(&format!("{plugin}_"))
}

/// Adds the items of a list that are kept, unless there is one of that name.
fn add(entry: &mut Value, written: &Value, list: &str, is_kept: impl Fn(&str) -> bool) {
    let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
    let mut items: Vec<Value> = entry
        .get(list)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for item in written[list].as_array().into_iter().flatten() {
        if is_kept(&name(item)) && !items.iter().any(|own| name(own) == name(item)) {
            items.push(item.clone());
        }
    }
    if !items.is_empty() {
        entry[list] = json!(items);
    }
}
