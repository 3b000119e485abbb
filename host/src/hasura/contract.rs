//! `docs/graphql.md`: what apps can ask of the GraphQL endpoint, role by role, from the document.

use std::fmt::Write as _;

use serde_json::Value;

use super::{TableName, functions, sdl, tables};
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
    actions(&mut page, document);
    page.push_str(
        "\n## Functions\n\n| root fields | who may ask | what they answer |\n| --- | --- | --- |\n",
    );
    for one in functions(document) {
        if let Some(name) = TableName::read(&one["function"]) {
            let (field, comment) = (name.field(), one["comment"].as_str().unwrap_or_default());
            let who = roles(one).join(", ");
            let _ = writeln!(
                page,
                "| `{field}` `{field}_aggregate` | {who} | {comment} |"
            );
        }
    }
    page.push_str("\n## Tables\n");
    for entry in tables(document) {
        if let Some(table) = TableName::read(&entry["table"]) {
            section(&mut page, &table, entry);
        }
    }
    page
}

/// Root fields that are routes of plugins: who has them, and what they take and answer.
fn actions(page: &mut String, document: &Value) {
    page.push_str("\n## Actions\n\n| root field | the route | who may ask | what it does |\n| --- | --- | --- | --- |\n");
    for one in document["actions"].as_array().into_iter().flatten() {
        let transform = &one["definition"]["request_transform"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let route = text(&transform["url"]).replace("{{$base_url}}", "");
        let route = route
            .replace("{{escapeUri($body.input.", "{")
            .replace("{{$body.input.", "{");
        let route = route.replace(")}}", "}").replace("}}", "}");
        let (name, method, who) = (
            text(&one["name"]),
            text(&transform["method"]),
            roles(one).join(", "),
        );
        let comment = text(&one["comment"]);
        let _ = writeln!(
            page,
            "| `{name}` | `{method} {route}` | {who} | {comment} |"
        );
    }
    let _ = write!(page, "\n```graphql\n{}```\n", sdl::write(document));
}

fn roles(one: &Value) -> Vec<&str> {
    let permissions = one["permissions"].as_array().into_iter().flatten();
    permissions.filter_map(|one| one["role"].as_str()).collect()
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
            let mut columns = columns(&permission["permission"]["columns"]);
            for field in permission["permission"]["computed_fields"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let _ = write!(columns, " {}", field.as_str().unwrap_or_default());
            }
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
