//! Event triggers, cron triggers and remote schemas: what Hasura calls by itself, and with which secrets.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Against, Faults, each, names::texts, role_problem};
use crate::hasura::{TableName, catalog::Relation, served, tables};
use crate::plugin::manifest::Access;

/// Headers that show who asks.
const SECRETS: [&str; 4] = [
    "authorization",
    "cookie",
    "x-api-key",
    "x-hasura-admin-secret",
];

const OPERATIONS: [&str; 3] = ["insert", "update", "delete"];

pub(super) fn check(document: &Value, against: Against<'_>, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for entry in tables(document) {
        let Some(table) = TableName::read(&entry["table"]) else {
            continue;
        };
        for trigger in each(&entry["event_triggers"]) {
            let name = trigger["name"].as_str().unwrap_or_default();
            let place = format!("{table}, event trigger {name}");
            if !seen.insert(name) {
                // Of the whole source: Hasura makes database triggers of that name.
                faults.add(place.clone(), "there are two of that name".to_owned());
            }
            if let Some(relation) = against.catalog.tables.get(&table) {
                columns(trigger, relation, &place, faults);
            }
            webhook(trigger, against, &place, faults);
        }
    }
    let mut seen = BTreeSet::new();
    for trigger in each(&document["cron_triggers"]) {
        let name = trigger["name"].as_str().unwrap_or_default();
        let place = format!("cron trigger {name}");
        if !seen.insert(name) {
            faults.add(place.clone(), "there are two of that name".to_owned());
        }
        webhook(trigger, against, &place, faults);
    }
    for schema in each(&document["remote_schemas"]) {
        let name = schema["name"].as_str().unwrap_or_default();
        let place = format!("remote schema {name}");
        headers(&schema["definition"], &place, faults);
        for permission in each(&schema["permissions"]) {
            let role = permission["role"].as_str().unwrap_or_default();
            if let Some(problem) = role_problem(role, against) {
                faults.add(format!("{place}, {role}"), problem);
            }
        }
    }
}

fn columns(trigger: &Value, relation: &Relation, place: &str, faults: &mut Faults) {
    let definition = &trigger["definition"];
    let named = OPERATIONS.iter().flat_map(|operation| {
        let operation = &definition[*operation];
        texts(&operation["columns"])
            .into_iter()
            .chain(texts(&operation["payload"]))
    });
    for column in named {
        if column != "*" && !relation.has(&column) {
            faults.add(place.to_owned(), format!("there is no column {column}"));
        }
    }
    let fires = OPERATIONS
        .iter()
        .any(|operation| definition[*operation].is_object());
    if !fires && definition["enable_manual"] != true {
        faults.add(
            place.to_owned(),
            "it fires on nothing: name insert, update or delete".to_owned(),
        );
    }
}

/// Whether somebody is there, and whether Hasura can show who it is.
fn webhook(trigger: &Value, against: Against<'_>, place: &str, faults: &mut Faults) {
    headers(trigger, place, faults);
    let webhook = trigger["webhook"].as_str().unwrap_or_default();
    let transform = &trigger["request_transform"];
    let address = served::address(webhook, transform);
    let Some(path) = served::own_path(&address) else {
        return;
    };
    let method = transform["method"].as_str().unwrap_or("POST");
    let Some(route) = against.routes.find(method, path) else {
        faults.add(
            place.to_owned(),
            format!("no enabled plugin serves {method} {path}"),
        );
        return;
    };
    match route.access {
        Access::Public => {}
        Access::Service(_) => {
            let shows_key = each(&trigger["headers"])
                .any(|header| is_secret(header) && header["value_from_env"].is_string());
            if !shows_key {
                let problem =
                    "the route asks for a key: send it as authorization, with value_from_env";
                faults.add(place.to_owned(), problem.to_owned());
            }
        }
        _ => {
            let problem = format!(
                "the route {method} {} is for people: Hasura calls it as nobody",
                route.path
            );
            faults.add(place.to_owned(), problem);
        }
    }
}

/// Whoever reads the project, or asks Hasura what it has, reads what stands in it.
fn headers(of: &Value, place: &str, faults: &mut Faults) {
    for header in each(&of["headers"]) {
        let name = header["name"].as_str().unwrap_or_default();
        if header["value"].is_string() == header["value_from_env"].is_string() {
            faults.add(
                place.to_owned(),
                format!("the header {name} needs value or value_from_env"),
            );
        } else if is_secret(header) && header["value"].is_string() {
            faults.add(
                place.to_owned(),
                format!(
                    "the header {name} is a secret: name a variable that has it, by value_from_env"
                ),
            );
        }
    }
}

fn is_secret(header: &Value) -> bool {
    let name = header["name"]
        .as_str()
        .unwrap_or_default()
        .to_ascii_lowercase();
    SECRETS.contains(&name.as_str())
}
