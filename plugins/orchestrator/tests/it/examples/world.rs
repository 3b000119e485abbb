//! The server that stands for all that examples name: it has what any of them reads, the operations that they call, and grants tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde_json::{Map, Value, json};

use super::reading::{self, Operation, Reads};
use crate::stub::{Asked, Reply};

/// What examples want of the world.
pub(crate) struct World {
    reads: Reads,
    /// Documents of OpenAPI by their paths on this server, with the operations that are called.
    documents: BTreeMap<String, BTreeSet<Operation>>,
}

/// The value of everything that nobody says more of: a text, which is an address as well.
pub(crate) fn leaf(base: &str) -> String {
    format!("{base}/something")
}

/// A secret with the fields of every authentication.
pub(crate) fn secret(base: &str) -> Value {
    json!({
        "username": "tea", "password": "hot", "token": "granted", "authority": base, "grant": "client_credentials",
        "client": {"id": "workflow", "secret": "a secret of a workflow"},
    })
}

impl World {
    pub(crate) fn of(definitions: &[&Value]) -> Self {
        let mut reads = Reads::default();
        let mut documents: BTreeMap<String, BTreeSet<Operation>> = BTreeMap::new();
        for definition in definitions {
            reads.extend(reading::reads(definition));
            for (document, operation) in reading::operations(definition) {
                let path = reading::mapped_text(&document, "");
                documents.entry(path).or_default().insert(operation);
            }
        }
        Self { reads, documents }
    }

    pub(crate) fn answer(&self, asked: &Asked, address: SocketAddr) -> Reply {
        let base = format!("http://{address}");
        let path = asked.path.split('?').next().unwrap_or_default();
        let body = if path.ends_with("/.well-known/openid-configuration") {
            json!({"issuer": base, "token_endpoint": format!("{base}/token")})
        } else if asked.method == "POST" && path.ends_with("/token") {
            json!({"access_token": "granted", "token_type": "Bearer", "expires_in": 3600})
        } else if let Some(operations) = self.documents.get(path) {
            document(operations)
        } else {
            self.something(&leaf(&base))
        };
        Reply::json(200, &body)
    }

    /// All that any example reads, and each field by itself.
    fn something(&self, leaf: &str) -> Value {
        let mut fields: Map<String, Value> = Map::new();
        for path in &self.reads.paths {
            let name = path.last().map(String::as_str).unwrap_or_default();
            fields.insert(name.to_owned(), json!(leaf));
        }
        let Value::Object(nested) = reading::filled(&self.reads, leaf) else {
            return Value::Object(fields);
        };
        for (name, value) in nested {
            fields.entry(name).or_insert(value);
        }
        Value::Object(fields)
    }
}

fn document(operations: &BTreeSet<Operation>) -> Value {
    let path = |(id, parameters): &Operation| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {}}))
            .collect();
        let operation = json!({"operationId": id, "parameters": parameters, "responses": {}});
        (format!("/operations/{id}"), json!({ "get": operation }))
    };
    let paths: Map<String, Value> = operations.iter().map(path).collect();
    json!({"openapi": "3.0.3", "info": {"title": "Examples", "version": "1"}, "paths": paths})
}
