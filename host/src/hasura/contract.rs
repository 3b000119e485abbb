//! `docs/graphql.md`: what apps can ask of the GraphQL endpoint, role by role, from the document.

use std::fmt::Write as _;

use serde_json::Value;

use super::{TableName, tables};
use crate::policy::{Operation, Policy, PolicyRole};

const HEAD: &str = include_str!("contract.md");

/// The page.
pub fn page(policy: &Policy, document: &Value) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Who may do what\n\n| action |");
    for role in PolicyRole::ALL {
        let _ = write!(page, " {} |", role.name());
    }
    page.push_str("\n| --- |");
    page.push_str(&" --- |".repeat(PolicyRole::ALL.len()));
    page.push('\n');
    for (action, roles) in policy.actions() {
        let _ = write!(page, "| `{action}` |");
        for role in PolicyRole::ALL {
            page.push_str(if roles.has(role) { " yes |" } else { "  |" });
        }
        page.push('\n');
    }
    page.push_str("\n## Tables\n");
    for entry in tables(document) {
        if let Some(table) = TableName::read(&entry["table"]) {
            section(&mut page, &table, entry);
        }
    }
    page
}

fn section(page: &mut String, table: &TableName, entry: &Value) {
    let field = table.field();
    let _ = writeln!(page, "\n### `{field}`\n");
    if let Some(comment) = entry["configuration"]["comment"].as_str() {
        let _ = writeln!(page, "{comment}.\n");
    }
    let related: Vec<String> = ["object_relationships", "array_relationships"]
        .iter()
        .flat_map(|key| entry[*key].as_array().into_iter().flatten())
        .filter_map(|one| Some(format!("`{}`", one["name"].as_str()?)))
        .collect();
    if !related.is_empty() {
        let _ = writeln!(page, "Leads to {}.\n", related.join(", "));
    }
    page.push_str("| role | root fields | columns |\n| --- | --- | --- |\n");
    for operation in Operation::ALL {
        let key = format!("{}_permissions", operation.name());
        let list = entry[key].as_array().into_iter().flatten();
        // Roles with the same columns stand in one line.
        let mut rows: Vec<(Vec<&str>, String)> = vec![];
        for permission in list {
            let role = permission["role"].as_str().unwrap_or_default();
            let columns = columns(&permission["permission"]["columns"]);
            match rows.iter_mut().find(|(_, same)| *same == columns) {
                Some((roles, _)) => roles.push(role),
                None => rows.push((vec![role], columns)),
            }
        }
        for (roles, columns) in rows {
            let fields = fields(&field, operation);
            let _ = writeln!(page, "| {} | {fields} | {columns} |", roles.join(", "));
        }
    }
}

fn fields(field: &str, operation: Operation) -> String {
    let names: &[String] = &match operation {
        Operation::Select => vec![
            field.to_owned(),
            format!("{field}_by_pk"),
            format!("{field}_aggregate"),
            format!("{field}_stream"),
        ],
        Operation::Insert => vec![format!("insert_{field}"), format!("insert_{field}_one")],
        Operation::Update => vec![
            format!("update_{field}"),
            format!("update_{field}_by_pk"),
            format!("update_{field}_many"),
        ],
        Operation::Delete => vec![format!("delete_{field}"), format!("delete_{field}_by_pk")],
    };
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" ")
}

fn columns(columns: &Value) -> String {
    match columns {
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names.collect::<Vec<_>>().join(" ")
        }
        Value::String(all) => all.clone(),
        _ => String::new(),
    }
}
