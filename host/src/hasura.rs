//! Hasura's metadata, made from the policy, the live schema and what plugins bring along, and held against them.
//!
//! [`build`] makes the document, [`project`] lays it out as the Hasura CLI does, [`check`] looks whether everything in it exists and
//! nothing in it says more than the policy, [`remote`] hands it to an engine. The document is the one of `replace_metadata`; kept as
//! JSON, because what this program does not know in it must be found, not dropped.

pub mod action;
pub mod brought;
pub mod build;
pub mod catalog;
pub mod check;
pub mod contract;
pub mod diff;
pub mod fragment;
mod function;
pub mod jwt;
mod kept;
mod permission;
pub mod project;
mod relationship;
pub mod remote;
mod sdl;
pub mod served;

use serde_json::{Value, json};

/// The one source: the database of this installation.
pub const SOURCE: &str = "default";

/// The variable of Hasura's environment that has the address of the database.
const DATABASE_VARIABLE: &str = "HASURA_GRAPHQL_DATABASE_URL";

/// This host, as Hasura reaches it: a variable of its environment.
pub const HOST: &str = "{{NSELF_URL}}";

/// Lists of the document that lie in files of their own, by their key there.
const LISTS: [&str; 7] = [
    "allowlist",
    "cron_triggers",
    "inherited_roles",
    "query_collections",
    "remote_schemas",
    "rest_endpoints",
    "actions",
];

/// A table by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its own name.
    pub name: String,
}

impl TableName {
    /// One of the shared model.
    pub fn public(name: &str) -> Self {
        Self {
            schema: "public".to_owned(),
            name: name.to_owned(),
        }
    }

    /// As it stands in the document, if it does; a bare name is one of `public`.
    pub fn read(value: &Value) -> Option<Self> {
        if let Some(name) = value.as_str() {
            return Some(Self::public(name));
        }
        Some(Self {
            schema: value["schema"].as_str().unwrap_or("public").to_owned(),
            name: value["name"].as_str()?.to_owned(),
        })
    }

    /// As it stands in the document.
    pub fn value(&self) -> Value {
        json!({"name": self.name, "schema": self.schema})
    }

    /// What its root fields begin with.
    pub fn field(&self) -> String {
        match self.schema.as_str() {
            "public" => self.name.clone(),
            schema => format!("{schema}_{}", self.name),
        }
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// The tables of a document's one source.
pub fn tables(document: &Value) -> &[Value] {
    let tables = document["sources"][0]["tables"].as_array();
    tables.map(Vec::as_slice).unwrap_or_default()
}

/// The functions of a document's one source.
pub fn functions(document: &Value) -> &[Value] {
    let functions = document["sources"][0]["functions"].as_array();
    functions.map(Vec::as_slice).unwrap_or_default()
}

/// Whether a root field or an argument of ours may be called that.
fn is_name(name: &str) -> bool {
    let is_small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_small)
}

/// Whether GraphQL has a name like that; those with two underscores in front are its own.
fn is_graphql_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && !name.starts_with("__")
        && name.chars().all(is_letter)
}
