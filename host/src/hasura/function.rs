//! SQL functions as root fields and as computed fields of tables: which there are says the policy, what they take the live schema.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    TableName,
    catalog::{Catalog, Function},
};
use crate::policy::{Operation, Policy, PolicyRole, Tabled};

/// The argument that Hasura fills with the caller's session variables, by its name in this house.
pub(super) const SESSION: &str = "hasura_session";

/// The functions that the policy names and that are there. They answer rows of a table, so that its permissions hold.
pub(super) fn all(policy: &Policy, catalog: &Catalog) -> Vec<Value> {
    let mut found: BTreeMap<TableName, Value> = BTreeMap::new();
    for tabled in policy.tables().values() {
        for name in &tabled.functions {
            let name = TableName::public(name);
            if let Some(function) = catalog.functions.get(&name) {
                found.insert(name.clone(), entry(policy, tabled, &name, function));
            }
        }
    }
    found.into_values().collect()
}

fn entry(policy: &Policy, tabled: &Tabled, name: &TableName, function: &Function) -> Value {
    let roles = PolicyRole::ALL.into_iter();
    let roles = roles.filter(|role| {
        policy
            .grants(tabled, Operation::Select, *role)
            .next()
            .is_some()
    });
    let permissions: Vec<Value> = roles.map(|role| json!({"role": role.name()})).collect();
    let mut entry = json!({"function": name.value(), "permissions": permissions});
    if function.takes_session() {
        entry["configuration"] = json!({"session_argument": SESSION});
    }
    if let Some(comment) = &function.comment {
        entry["comment"] = comment.as_str().into();
    }
    entry
}

/// The computed fields of a table of the shared model: `posts_reaction_count` is `reaction_count` of `posts`.
pub(super) fn computed(table: &TableName, tabled: &Tabled, catalog: &Catalog) -> Vec<Value> {
    let fields = tabled.computed.iter().filter_map(|field| {
        let name = TableName::public(&format!("{}_{field}", table.name));
        let function = catalog.functions.get(&name)?;
        let mut definition = json!({"function": name.value()});
        if function.takes_session() {
            definition["session_argument"] = SESSION.into();
        }
        let mut entry = json!({"name": field, "definition": definition});
        if let Some(comment) = &function.comment {
            entry["comment"] = comment.as_str().into();
        }
        Some(entry)
    });
    fields.collect()
}
