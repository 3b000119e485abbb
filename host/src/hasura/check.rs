//! Whether a document can be meant: everything that it names exists, and nobody may more than the policy says.

mod actions;
mod condition;
mod functions;
mod names;
mod triggers;

use std::sync::LazyLock;

use serde_json::{Map, Value};

use self::{condition::Conditions, names::Names};
use super::{TableName, catalog::Catalog, served::Routes, tables};
use crate::policy::{Operation, Policy, PolicyRole, carried};

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("metadata.schema.json"));
    let schema: Value = schema.expect("metadata.schema.json is JSON");
    jsonschema::validator_for(&schema).expect("metadata.schema.json is a schema")
});

/// Hasura's own role, which no permission holds back.
const ADMIN: &str = "admin";

/// What is wrong in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: String,
    /// What.
    pub problem: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.place, self.problem)
    }
}

/// What a document is held against.
#[derive(Debug, Clone, Copy)]
pub struct Against<'a> {
    /// Who may do what.
    pub policy: &'a Policy,
    /// What there is.
    pub catalog: &'a Catalog,
    /// What the host serves while the enabled plugins run.
    pub routes: &'a Routes,
    /// The role of requests without a token (`HASURA_GRAPHQL_UNAUTHORIZED_ROLE`).
    pub unauthorized: &'a str,
}

/// Everything that is wrong with it.
pub fn check(document: &Value, against: Against<'_>) -> Vec<Fault> {
    let mut faults = Faults::default();
    for error in SCHEMA.iter_errors(document) {
        faults.add(
            place_of(document, error.instance_path().as_str()),
            error.to_string(),
        );
    }
    if !faults.0.is_empty() {
        // The rest reads what the schema promises.
        return faults.0;
    }
    for name in against.policy.tables().keys() {
        let table = TableName::public(name);
        if !against.catalog.tables.contains_key(&table) {
            faults.add(
                format!("db/policy.toml, {name}"),
                "there is no such table".to_owned(),
            );
        }
    }
    let mut names = Names::new(document, against.catalog);
    names.check(&mut faults);
    for entry in tables(document) {
        let Some(table) = TableName::read(&entry["table"]) else {
            continue;
        };
        if against.catalog.tables.contains_key(&table) {
            permissions(&table, entry, &names, against, &mut faults);
        }
    }
    functions::check(document, against, &mut faults);
    actions::check(document, against, &mut faults);
    triggers::check(document, against, &mut faults);
    others(document, against, &mut faults);
    faults.0
}

/// The items of a list, none where there is none.
fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Every text in a value, wherever it is.
fn texts_within(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts_within).collect(),
        Value::Object(map) => map.values().flat_map(texts_within).collect(),
        _ => vec![],
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, place: String, problem: String) {
        self.0.push(Fault { place, problem });
    }
}

/// A pointer with the table's name in it, for people.
fn place_of(document: &Value, pointer: &str) -> String {
    let mut parts = pointer.split('/').skip(1);
    let ("sources", _, "tables", at) = (
        parts.next().unwrap_or_default(),
        parts.next(),
        parts.by_ref().next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    ) else {
        return pointer.to_owned();
    };
    let at: usize = at.parse().unwrap_or_default();
    let table = tables(document).get(at);
    let table = table.and_then(|entry| TableName::read(&entry["table"]));
    let rest: Vec<&str> = parts.collect();
    match table {
        Some(table) => format!("{table}/{}", rest.join("/")),
        None => pointer.to_owned(),
    }
}

fn permissions(
    table: &TableName,
    entry: &Value,
    names: &Names<'_>,
    against: Against<'_>,
    faults: &mut Faults,
) {
    for operation in Operation::ALL {
        let list = entry[format!("{}_permissions", operation.name())].as_array();
        for permission in list.into_iter().flatten() {
            let role = permission["role"].as_str().unwrap_or_default();
            let place = format!("{table}, {} of {role}", operation.name());
            if let Some(problem) = role_problem(role, against) {
                faults.add(place, problem);
                continue;
            }
            if let Some(problem) = matrix_problem(table, operation, role, against) {
                faults.add(place.clone(), problem);
            }
            let conditions = Conditions {
                names,
                catalog: against.catalog,
                carried: carried_by(role, against),
                role,
            };
            one(
                table,
                &permission["permission"],
                &conditions,
                &place,
                faults,
            );
        }
    }
}

fn one(
    table: &TableName,
    permission: &Value,
    conditions: &Conditions<'_>,
    place: &str,
    faults: &mut Faults,
) {
    let Some(relation) = conditions.catalog.tables.get(table) else {
        return;
    };
    let listed = permission["columns"].as_array().into_iter().flatten();
    let preset = permission["set"].as_object();
    let preset_names = preset.into_iter().flat_map(Map::keys).map(String::as_str);
    for column in listed.filter_map(Value::as_str).chain(preset_names) {
        if !relation.has(column) {
            faults.add(place.to_owned(), format!("there is no column {column}"));
        }
    }
    for value in preset.into_iter().flat_map(Map::values) {
        conditions.variable(value, place, faults);
    }
    for key in ["filter", "check"] {
        let place = format!("{place}, {key}");
        conditions.check(table, &permission[key], &place, faults);
    }
}

fn role_problem(role: &str, against: Against<'_>) -> Option<String> {
    if role == ADMIN {
        return Some(
            "admin may do everything already, and Hasura refuses permissions for it".to_owned(),
        );
    }
    let is_known = family_role(role).is_some() || role == against.unauthorized;
    (!is_known).then(|| "the policy has no such role".to_owned())
}

/// Tables of the shared model are the policy's; those of plugins are for them to say, within its roles.
fn matrix_problem(
    table: &TableName,
    operation: Operation,
    role: &str,
    against: Against<'_>,
) -> Option<String> {
    if table.schema != "public" {
        return None;
    }
    let Some(tabled) = against.policy.tables().get(&table.name) else {
        return Some("db/policy.toml says nothing of this table".to_owned());
    };
    let granted = family_role(role).is_some_and(|role| {
        against
            .policy
            .grants(tabled, operation, role)
            .next()
            .is_some()
    });
    (!granted).then(|| "no action of db/policy.toml lets this role do it".to_owned())
}

fn family_role(name: &str) -> Option<PolicyRole> {
    PolicyRole::ALL.into_iter().find(|role| role.name() == name)
}

/// Without a token there is nobody to vouch for a variable: whoever sends one as a header is believed.
fn carried_by(role: &str, against: Against<'_>) -> &'static [&'static str] {
    match family_role(role) {
        Some(role) if role.name() != against.unauthorized => carried::variables(role),
        _ => &[],
    }
}

/// Roles outside of tables.
fn others(document: &Value, against: Against<'_>, faults: &mut Faults) {
    for one in each(&document["actions"]) {
        let name = one["name"].as_str().unwrap_or_default();
        for permission in each(&one["permissions"]) {
            let role = permission["role"].as_str().unwrap_or_default();
            if let Some(problem) = role_problem(role, against) {
                faults.add(format!("action {name}, {role}"), problem);
            }
        }
    }
    for inherited in each(&document["inherited_roles"]) {
        // A union of roles is what one active family per token is there to prevent.
        let name = inherited["role_name"].as_str().unwrap_or_default();
        faults.add(
            format!("inherited role {name}"),
            "a role is one of the policy's, never several at once".to_owned(),
        );
    }
}
