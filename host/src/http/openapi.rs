//! The OpenAPI 3.1 document of everything that is in force: what the manifests say, in one place.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::health::{host_route, text};
use super::table::{Entry, Routes};
use super::{HostRoute, Problem};
use crate::plugin::manifest::{Access, Role, Schema};
use crate::policy::Policy;

/// `/openapi.json`: the document of the table in force.
pub fn openapi_route(routes: &Arc<Routes>, access: Access) -> HostRoute {
    // Weak: the table holds the route, and the routes hold the table.
    let routes: Weak<Routes> = Arc::downgrade(routes);
    host_route(
        "/openapi.json",
        "This document",
        access,
        false,
        move |_| match routes.upgrade() {
            Some(routes) => text("application/json", routes.load().openapi()),
            None => Problem::internal().into_response(),
        },
    )
}

/// Writes the document.
pub(super) fn document(entries: &[Arc<Entry>]) -> Bytes {
    let mut paths = Map::new();
    let mut ids = HashMap::new();
    for entry in entries {
        let item = paths
            .entry(entry.route.path.replace("{*", "{"))
            .or_insert_with(|| json!({}));
        // Ids name functions in generated clients; two paths can read alike, such as /a-b and /a/b.
        let id = operation_id(entry);
        let count = ids
            .entry(id.clone())
            .and_modify(|count| *count += 1)
            .or_insert(1);
        let id = if *count == 1 {
            id
        } else {
            format!("{id}_{count}")
        };
        item[entry.route.method.to_ascii_lowercase()] = operation(entry, &id);
    }
    let mut tags = entries
        .iter()
        .map(|entry| &*entry.plugin)
        .collect::<Vec<_>>();
    tags.sort_unstable();
    tags.dedup();
    let document = json!({
        "openapi": "3.1.0",
        "info": {"title": "nself", "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": "/"}],
        "tags": tags.iter().map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
        "paths": paths,
        "components": components(),
    });
    serde_json::to_vec(&document)
        .expect("JSON values can be written as JSON")
        .into()
}

fn operation(entry: &Entry, id: &str) -> Value {
    let route = &entry.route;
    let mut operation = json!({
        "operationId": id,
        "tags": [&*entry.plugin],
        "summary": route.summary,
        "responses": responses(entry),
        "security": security(&route.access),
        "x-access": access_text(&route.access),
    });
    let parameters = parameters(entry);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = &route.request {
        // Where a standard has the words, nothing sent may count as nothing said.
        let schema_of_body = Schema::read(schema);
        let has_required = schema_of_body["required"].get(0).is_some();
        let is_required = route.kind != "raw" || has_required;
        operation["requestBody"] =
            json!({"required": is_required, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

/// Stable: plugin, method, path; a parameter is `by_name`.
fn operation_id(entry: &Entry) -> String {
    let path = entry.route.path.replace("{*", "{").replace('{', "by_");
    let words = path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let method = entry.route.method.to_ascii_lowercase();
    let all = [&*entry.plugin, &*method].into_iter().chain(words);
    all.collect::<Vec<_>>().join("_")
}

fn parameters(entry: &Entry) -> Vec<Value> {
    let path = entry.params.iter().enumerate().map(|(position, name)| {
        let stated = entry.route.param(position, name);
        let schema = stated.unwrap_or_else(|| json!({"type": "string"}));
        json!({"name": &**name, "in": "path", "required": true, "schema": schema})
    });
    // The query's schema is one object; OpenAPI wants its properties one by one.
    let query = entry.route.query.as_ref().map(Schema::read);
    let query = query.as_ref();
    let required = query
        .and_then(|query| query["required"].as_array())
        .cloned()
        .unwrap_or_default();
    let properties = query
        .and_then(|query| query["properties"].as_object())
        .into_iter()
        .flatten();
    let query = properties.map(|(name, schema)| {
        let required = required.iter().any(|required| required == name);
        json!({"name": name, "in": "query", "required": required, "schema": schema})
    });
    path.chain(query).collect()
}

fn responses(entry: &Entry) -> Value {
    let route = &entry.route;
    let data = route.response.as_ref();
    let data = data.map_or_else(|| json!({}), Schema::read);
    let success = match &*route.kind {
        "json" => json!({"description": "Done", "content": {"application/json": {"schema":
            {"type": "object", "properties": {"data": data}, "required": ["data"]}}}}),
        "sse" => {
            json!({"description": "A stream of events", "content": {"text/event-stream": {}}})
        }
        "websocket" => json!({"description": "Use the upgrade to websocket"}),
        _ => json!({"description": "Done", "content": {"*/*": {}}}),
    };
    // What is raw is in the words of a standard, and so are its errors; the host's own come beside them.
    let is_raw = route.kind == "raw";
    let name = if is_raw { "Refusal" } else { "Problem" };
    let error = json!({"$ref": format!("#/components/responses/{name}")});
    let mut responses = json!({"default": error});
    if is_raw {
        responses["204"] = json!({"description": "Done; there is nothing to say"});
        responses["3XX"] = json!({"description": "Go on there"});
    }
    // Handlers choose among the successful statuses; a range says that better than a guess.
    responses[if route.kind == "websocket" {
        "101"
    } else {
        "2XX"
    }] = success;
    if route.access != Access::Public {
        responses["401"] = error.clone();
        responses["403"] = error;
    }
    responses
}

fn security(access: &Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::Authenticated => json!([{"bearer": []}, {"apiKey": []}]),
        Access::Roles(roles) => json!([{"bearer": roles}]),
        Access::Action(action) => json!([{"bearer": roles_of(action)}]),
        Access::Service(scope) => json!([{"bearer": [scope]}, {"apiKey": [scope]}]),
        Access::Operator => json!([{"apiKey": []}]),
    }
}

fn access_text(access: &Access) -> String {
    match access {
        Access::Public => "anybody".to_owned(),
        Access::Authenticated => "anybody who is signed in".to_owned(),
        Access::Roles(roles) => roles
            .iter()
            .copied()
            .map(role_name)
            .collect::<Vec<_>>()
            .join(", "),
        Access::Action(action) => format!("{} ({action})", roles_of(action).join(", ")),
        Access::Service(scope) => format!("services with the scope {scope}"),
        Access::Operator => "operators".to_owned(),
    }
}

fn roles_of(action: &str) -> Vec<&'static str> {
    let roles = Policy::embedded().action(action).unwrap_or_default();
    roles.names().collect()
}

fn role_name(role: Role) -> String {
    match serde_json::to_value(role) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

fn components() -> Value {
    json!({
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        },
        "schemas": {"Problem": {
            "type": "object",
            "required": ["error", "code", "details"],
            "properties": {
                "error": {"type": "string", "description": "One sentence for people"},
                "code": {"type": "string", "description": "Stable, for programs", "pattern": "^[A-Z][A-Z0-9_]*$"},
                "details": {"type": "object"},
            },
        }},
        "responses": {"Problem": {
            "description": "An error",
            "headers": {"x-request-id": {"description": "Names the request in the log", "schema": {"type": "string"}}},
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }, "Refusal": {
            "description": "An error, in the words of the standard that this address speaks, or as everywhere else",
            "content": {"*/*": {}},
        }},
    })
}
