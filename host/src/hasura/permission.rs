//! What a role may do with a table, as Hasura writes it, from the policy's grants.

use serde_json::{Map, Value, json};

use super::catalog::Relation;
use crate::policy::{Grant, Operation, Policy, PolicyRole, Tabled, rules};

/// Most rows of one answer; aggregates count beyond it.
const ROWS_MAX: u32 = 200;

/// The permissions of an operation, one per role that may do it, in the order of the policy.
pub(super) fn all(
    policy: &Policy,
    table: &Tabled,
    relation: &Relation,
    operation: Operation,
) -> Vec<Value> {
    let roles = PolicyRole::ALL.into_iter();
    let permissions = roles.filter_map(|role| {
        let grants: Vec<&Grant> = policy.grants(table, operation, role).collect();
        let permission = match grants.as_slice() {
            [] => return None,
            grants => permission(policy, table, relation, operation, role, grants),
        };
        Some(json!({"role": role.name(), "permission": permission}))
    });
    permissions.collect()
}

fn permission(
    policy: &Policy,
    table: &Tabled,
    relation: &Relation,
    operation: Operation,
    role: PolicyRole,
    grants: &[&Grant],
) -> Value {
    let rows = rows(policy, table, operation, role, grants);
    match operation {
        Operation::Select => {
            let mut select = json!({
                "columns": shown(table, relation, grants),
                "filter": rows,
                "limit": ROWS_MAX,
                "allow_aggregations": true,
            });
            let computed = computed(table, grants);
            if !computed.is_empty() {
                select["computed_fields"] = computed.into();
            }
            select
        }
        Operation::Insert => {
            json!({"columns": table.columns.insert, "check": rows, "set": table.columns.preset})
        }
        // The row after the change is held against the rule as well: nothing is moved out of it.
        Operation::Update => {
            json!({"columns": table.columns.update, "filter": rows, "check": rows})
        }
        Operation::Delete => json!({"filter": rows}),
    }
}

fn rows(
    policy: &Policy,
    table: &Tabled,
    operation: Operation,
    role: PolicyRole,
    grants: &[&Grant],
) -> Map<String, Value> {
    let granted: Vec<_> = grants
        .iter()
        .map(|grant| policy.rule(&grant.rule))
        .collect();
    let granted = rules::any(&granted);
    let mut parts = vec![];
    if role != PolicyRole::User {
        parts.push(policy.rule(&table.rows));
    }
    if operation == Operation::Select {
        parts.push(policy.rule(&table.seen));
    }
    parts.push(&granted);
    rules::all(&parts)
}

/// What all of the grants show; a narrow one beside a wide one would otherwise widen to its rows.
fn shown(table: &Tabled, relation: &Relation, grants: &[&Grant]) -> Vec<String> {
    let columns = relation.columns.iter().map(|column| column.name.clone());
    let is_shown =
        |column: &String| !table.columns.hidden.contains(column) && is_granted(column, grants);
    columns.filter(is_shown).collect()
}

/// The computed fields that all of the grants show.
fn computed(table: &Tabled, grants: &[&Grant]) -> Vec<String> {
    let fields = table.computed.iter();
    fields
        .filter(|field| is_granted(field, grants))
        .cloned()
        .collect()
}

fn is_granted(name: &str, grants: &[&Grant]) -> bool {
    grants.iter().all(|grant| {
        let narrow = grant.columns.as_ref();
        narrow.is_none_or(|columns| columns.iter().any(|column| column == name))
    })
}
