//! Actions: whether the route is there and lets the role in, and whether every type exists.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Against, Faults, each, texts_within};
use crate::hasura::{
    TableName, action, is_graphql_name,
    served::{self, Served},
    tables,
};
use crate::plugin::manifest::Access;

/// Scalars of GraphQL itself.
const BUILT_IN: [&str; 5] = ["Int", "Float", "String", "Boolean", "ID"];

/// Names of types, by where they may stand.
struct Types {
    /// Arguments, and fields of what is given.
    given: BTreeSet<String>,
    /// Fields of what is answered.
    shown: BTreeSet<String>,
    /// Answers.
    objects: BTreeSet<String>,
}

impl Types {
    fn of(document: &Value, against: Against<'_>) -> Self {
        let named = |list: &str| -> BTreeSet<String> {
            let names = each(&document["custom_types"][list]);
            names
                .filter_map(|one| one["name"].as_str().map(str::to_owned))
                .collect()
        };
        let mut scalars = named("scalars");
        scalars.extend(named("enums"));
        scalars.extend(BUILT_IN.map(str::to_owned));
        scalars.extend(against.catalog.scalars.iter().cloned());
        let objects = named("objects");
        Self {
            given: scalars.union(&named("input_objects")).cloned().collect(),
            shown: scalars.union(&objects).cloned().collect(),
            objects,
        }
    }
}

pub(super) fn check(document: &Value, against: Against<'_>, faults: &mut Faults) {
    let types = Types::of(document, against);
    custom_types(document, &types, faults);
    let mut seen = BTreeSet::new();
    let fields: BTreeSet<String> = tables(document)
        .iter()
        .filter_map(|entry| Some(TableName::read(&entry["table"])?.field()))
        .collect();
    for one in each(&document["actions"]) {
        let name = one["name"].as_str().unwrap_or_default();
        let place = format!("action {name}");
        if !is_graphql_name(name) {
            faults.add(place.clone(), "that is no name of GraphQL".to_owned());
        }
        if !seen.insert(name) {
            faults.add(place.clone(), "there are two of that name".to_owned());
        }
        if fields.contains(name) {
            faults.add(place.clone(), "a table has the same root field".to_owned());
        }
        signature(&one["definition"], &types, &place, faults);
        route(one, against, &place, faults);
    }
}

/// Every type is said once, and made of types that there are.
fn custom_types(document: &Value, types: &Types, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (list, known) in [
        ("enums", &types.given),
        ("scalars", &types.given),
        ("input_objects", &types.given),
        ("objects", &types.shown),
    ] {
        for one in each(&document["custom_types"][list]) {
            let name = one["name"].as_str().unwrap_or_default();
            if !seen.insert(name) {
                faults.add(
                    format!("type {name}"),
                    "there are two of that name".to_owned(),
                );
            }
            for field in each(&one["fields"]) {
                let place = format!(
                    "type {name}, field {}",
                    field["name"].as_str().unwrap_or_default()
                );
                exists(&field["type"], known, &place, faults);
            }
        }
    }
}

fn signature(definition: &Value, types: &Types, place: &str, faults: &mut Faults) {
    for argument in each(&definition["arguments"]) {
        let place = format!(
            "{place}, argument {}",
            argument["name"].as_str().unwrap_or_default()
        );
        exists(&argument["type"], &types.given, &place, faults);
    }
    exists(
        &definition["output_type"],
        &types.objects,
        &format!("{place}, answer"),
        faults,
    );
}

fn exists(kind: &Value, known: &BTreeSet<String>, place: &str, faults: &mut Faults) {
    let name = kind
        .as_str()
        .unwrap_or_default()
        .replace(['[', ']', '!', ' '], "");
    if !known.contains(&name) {
        faults.add(
            place.to_owned(),
            format!("there is no type {name} that can stand here"),
        );
    }
}

fn route(one: &Value, against: Against<'_>, place: &str, faults: &mut Faults) {
    let definition = &one["definition"];
    let transform = &definition["request_transform"];
    let handler = definition["handler"].as_str().unwrap_or_default();
    let address = served::address(handler, transform);
    let method = transform["method"].as_str().unwrap_or("POST");
    let found = match served::own_path(&address) {
        None => None,
        Some(path) => {
            let found = against.routes.find(method, path);
            if found.is_none() {
                faults.add(
                    place.to_owned(),
                    format!("no enabled plugin serves {method} {path}"),
                );
                return;
            }
            found
        }
    };
    let roles = each(&one["permissions"]).filter_map(|one| one["role"].as_str());
    for role in roles {
        let place = format!("{place}, {role}");
        if let Some(problem) = found.and_then(|route| shut(route, role, against)) {
            faults.add(place.clone(), problem);
        }
        if role == against.unauthorized {
            forged(definition, role, &place, faults);
        }
    }
}

/// Why a route does not let a role in, if it does not.
fn shut(route: &Served, role: &str, against: Against<'_>) -> Option<String> {
    let is_open = match &route.access {
        Access::Public => true,
        access => {
            role != against.unauthorized && action::roles(access, against.policy).contains(&role)
        }
    };
    (!is_open).then(|| {
        format!(
            "the route {} {} does not let this role in",
            route.method, route.path
        )
    })
}

/// What comes without a token says of itself what it likes.
fn forged(definition: &Value, role: &str, place: &str, faults: &mut Faults) {
    let is_variable = |text: &&str| {
        let text = text.to_ascii_lowercase();
        text.contains("x-hasura-")
            || text.contains("$session_variables")
            || text.contains("getsessionvariable")
    };
    if texts_within(definition).iter().any(is_variable) {
        faults.add(
            place.to_owned(),
            format!("{role} comes without a token, so anybody could forge the session variables that this names"),
        );
    }
}
