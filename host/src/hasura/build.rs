//! The document from its sources.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    DATABASE_VARIABLE, LISTS, SOURCE, TableName,
    brought::Brought,
    catalog::{Catalog, Relation},
    function, kept, permission,
    relationship::{self, Relationships},
};
use crate::policy::{Operation, Policy, Tabled};

/// Makes the document. Tables and functions of the policy that are not there are left out; [`check`](super::check) tells of
/// them. Of what is `written` already it keeps what only the project can say.
pub fn build(
    policy: &Policy,
    catalog: &Catalog,
    brought: &Brought,
    written: Option<&Value>,
) -> Value {
    let fragments = &brought.fragments;
    let shared = policy.tables().keys().map(|name| TableName::public(name));
    let plugins = fragments.iter().map(|fragment| fragment.table.clone());
    let tracked: BTreeSet<TableName> = shared
        .chain(plugins)
        .filter(|table| catalog.tables.contains_key(table))
        .collect();
    let relationships = relationship::all(catalog, &tracked);
    let mut entries: BTreeMap<TableName, Value> = BTreeMap::new();
    for (name, tabled) in policy.tables() {
        let table = TableName::public(name);
        if let Some(relation) = catalog.tables.get(&table) {
            let own = relationships.get(&table);
            let mut entry = entry(policy, &table, tabled, relation, own);
            let computed = function::computed(&table, tabled, catalog);
            if !computed.is_empty() {
                entry["computed_fields"] = computed.into();
            }
            entries.insert(table.clone(), entry);
        }
    }
    for fragment in fragments {
        let mut entry = fragment.entry.clone();
        entry["table"] = fragment.table.value();
        relate(&mut entry, relationships.get(&fragment.table));
        entries.insert(fragment.table.clone(), entry);
    }
    let functions = function::all(policy, catalog);
    let mut document = document(&entries.into_values().collect::<Vec<_>>(), &functions);
    document["actions"] = json!(brought.actions.list);
    document["custom_types"] = brought.actions.types.value();
    if let Some(written) = written {
        kept::keep(&mut document, written);
    }
    document
}

fn document(tables: &[Value], functions: &[Value]) -> Value {
    let mut document = json!({
        "version": 3,
        "sources": [{
            "name": SOURCE,
            "kind": "postgres",
            "configuration": {"connection_info": {
                "database_url": {"from_env": DATABASE_VARIABLE},
                "isolation_level": "read-committed",
                "use_prepared_statements": true,
            }},
            "tables": tables,
            "functions": functions,
        }],
    });
    for list in LISTS {
        document[list] = json!([]);
    }
    document
}

fn entry(
    policy: &Policy,
    table: &TableName,
    tabled: &Tabled,
    relation: &Relation,
    relationships: Option<&Relationships>,
) -> Value {
    let mut entry = json!({"table": table.value()});
    if let Some(comment) = &relation.comment {
        entry["configuration"] = json!({"comment": comment});
    }
    relate(&mut entry, relationships);
    for operation in Operation::ALL {
        let permissions = permission::all(policy, tabled, relation, operation);
        if !permissions.is_empty() {
            entry[format!("{}_permissions", operation.name())] = permissions.into();
        }
    }
    entry
}

/// What the entry says itself stays.
fn relate(entry: &mut Value, relationships: Option<&Relationships>) {
    let Some(Relationships { object, array }) = relationships else {
        return;
    };
    for (key, found) in [
        ("object_relationships", object),
        ("array_relationships", array),
    ] {
        if found.is_empty() || !entry[key].is_null() {
            continue;
        }
        let list = found
            .iter()
            .map(|(name, using)| json!({"name": name, "using": using}));
        entry[key] = list.collect();
    }
    drop_nulls(entry);
}

/// Asking for a key that is not there leaves a null behind.
fn drop_nulls(entry: &mut Value) {
    if let Value::Object(map) = entry {
        let kept = std::mem::take(map)
            .into_iter()
            .filter(|(_, value)| !value.is_null());
        *map = kept.collect::<Map<_, _>>();
    }
}
