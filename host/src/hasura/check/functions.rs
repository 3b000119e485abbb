//! Functions and computed fields: whether Hasura can track them, and whether the policy shows them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Against, Faults, each, family_role, role_problem};
use crate::hasura::{
    TableName,
    catalog::{Catalog, Function},
    functions, tables,
};

pub(super) fn check(document: &Value, against: Against<'_>, faults: &mut Faults) {
    missing(against, faults);
    for one in functions(document) {
        let Some(name) = TableName::read(&one["function"]) else {
            continue;
        };
        let place = format!("function {name}");
        let Some(function) = found(against.catalog, &name, &place, faults) else {
            continue;
        };
        session(
            function,
            &one["configuration"]["session_argument"],
            &place,
            faults,
        );
        let is_query = one["configuration"]["exposed_as"] != "mutation";
        if is_query && function.is_volatile {
            faults.add(
                place.clone(),
                "it is volatile: declare it stable if it changes nothing".to_owned(),
            );
        }
        match function.returns.as_ref().filter(|_| function.is_set) {
            Some(table) => permissions(one, &name, table, document, against, faults),
            None => faults.add(
                place,
                "it answers no rows of a table, so no permission would hold".to_owned(),
            ),
        }
    }
    for entry in tables(document) {
        computed(entry, against, faults);
    }
}

/// What the policy names has to be there.
fn missing(against: Against<'_>, faults: &mut Faults) {
    for (table, tabled) in against.policy.tables() {
        let computed = tabled
            .computed
            .iter()
            .map(|field| format!("{table}_{field}"));
        for name in tabled.functions.iter().cloned().chain(computed) {
            let name = TableName::public(&name);
            if !against.catalog.functions.contains_key(&name) {
                faults.add(
                    format!("db/policy.toml, {table}"),
                    format!("there is no function {name}"),
                );
            }
        }
    }
}

fn found<'a>(
    catalog: &'a Catalog,
    name: &TableName,
    place: &str,
    faults: &mut Faults,
) -> Option<&'a Function> {
    let found = catalog.functions.get(name);
    let problem = match found {
        None => format!("there is no function {name}"),
        Some(function) if function.is_overloaded => format!("there are several functions {name}"),
        Some(_) => return found,
    };
    faults.add(place.to_owned(), problem);
    None
}

fn session(function: &Function, argument: &Value, place: &str, faults: &mut Faults) {
    let Some(argument) = argument.as_str() else {
        if function.takes_session() {
            // Without it whoever asks would say who asks.
            faults.add(
                place.to_owned(),
                "its argument hasura_session has to be the session_argument".to_owned(),
            );
        }
        return;
    };
    let own = function.arguments.iter().find(|one| one.name == argument);
    if own.is_none_or(|own| own.kind != "json") {
        faults.add(
            place.to_owned(),
            format!("it has no argument {argument} of type json"),
        );
    }
}

/// Who calls it reads the table anyway: its rows are what is answered, through the table's own permission.
fn permissions(
    one: &Value,
    name: &TableName,
    table: &TableName,
    document: &Value,
    against: Against<'_>,
    faults: &mut Faults,
) {
    let entry = tables(document)
        .iter()
        .find(|entry| TableName::read(&entry["table"]).as_ref() == Some(table));
    let readers: BTreeSet<&str> = entry
        .into_iter()
        .flat_map(|entry| each(&entry["select_permissions"]))
        .filter_map(|one| one["role"].as_str())
        .collect();
    let place = format!("function {name}");
    if entry.is_none() {
        faults.add(
            place.clone(),
            format!("it answers rows of {table}, which is not tracked"),
        );
    }
    let is_said = |tabled: &crate::policy::Tabled| tabled.functions.contains(&name.name);
    let tabled = against
        .policy
        .tables()
        .get(&table.name)
        .filter(|_| table.schema == "public");
    if name.schema == "public" && !tabled.is_some_and(is_said) {
        faults.add(
            place.clone(),
            format!("db/policy.toml does not name it at {table}"),
        );
    }
    for permission in each(&one["permissions"]) {
        let role = permission["role"].as_str().unwrap_or_default();
        let place = format!("{place}, {role}");
        if let Some(problem) = role_problem(role, against) {
            faults.add(place, problem);
        } else if family_role(role).is_some() && !readers.contains(role) {
            faults.add(place, format!("this role does not read {table}"));
        }
    }
}

fn computed(entry: &Value, against: Against<'_>, faults: &mut Faults) {
    let Some(table) = TableName::read(&entry["table"]) else {
        return;
    };
    let mut names = BTreeSet::new();
    for field in each(&entry["computed_fields"]) {
        let name = field["name"].as_str().unwrap_or_default();
        let place = format!("{table}, computed field {name}");
        names.insert(name);
        if against
            .catalog
            .tables
            .get(&table)
            .is_some_and(|relation| relation.has(name))
        {
            faults.add(place.clone(), "a column has the same name".to_owned());
        }
        let definition = &field["definition"];
        let function = TableName::read(&definition["function"])
            .and_then(|name| found(against.catalog, &name, &place, faults));
        if let Some(function) = function {
            of_row(function, definition, &table, &place, faults);
        }
    }
    for permission in each(&entry["select_permissions"]) {
        let role = permission["role"].as_str().unwrap_or_default();
        let place = format!("{table}, select of {role}");
        for name in each(&permission["permission"]["computed_fields"]).filter_map(Value::as_str) {
            if !names.contains(name) {
                faults.add(place.clone(), format!("there is no computed field {name}"));
            } else if table.schema == "public" && !is_said(&table, name, against) {
                faults.add(
                    place.clone(),
                    format!("db/policy.toml does not name the computed field {name}"),
                );
            }
        }
    }
}

fn of_row(
    function: &Function,
    definition: &Value,
    table: &TableName,
    place: &str,
    faults: &mut Faults,
) {
    let argument = match definition["table_argument"].as_str() {
        Some(name) => function.arguments.iter().find(|one| one.name == name),
        None => function.arguments.first(),
    };
    let row = argument.and_then(|argument| argument.row.as_ref());
    if row.is_none_or(|[schema, name]| *schema != table.schema || *name != table.name) {
        faults.add(
            place.to_owned(),
            format!("its function takes no row of {table}"),
        );
    }
    if function.is_volatile {
        faults.add(
            place.to_owned(),
            "its function is volatile: declare it stable".to_owned(),
        );
    }
    session(function, &definition["session_argument"], place, faults);
}

fn is_said(table: &TableName, field: &str, against: Against<'_>) -> bool {
    let tabled = against.policy.tables().get(&table.name);
    tabled.is_some_and(|tabled| tabled.computed.iter().any(|one| one == field))
}
