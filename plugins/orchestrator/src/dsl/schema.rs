//! The standard's schema, and what it says about a definition in words that help.

use std::sync::LazyLock;

use jsonschema::{Validator, error::ValidationErrorKind};
use serde_json::Value;

use super::fault::Fault;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_norway::from_str(include_str!("../../schema/workflow.yaml"))
        .expect("the embedded schema is YAML");
    jsonschema::draft202012::new(&schema).expect("the embedded schema is a schema")
});

/// What the schema finds.
pub(super) fn check(source: &Value) -> Vec<Fault> {
    SCHEMA
        .iter_errors(source)
        .map(|error| fault(source, &error))
        .collect()
}

fn fault(_source: &Value, error: &jsonschema::ValidationError<'_>) -> Fault {
    let remedy = match error.kind() {
        ValidationErrorKind::Required { .. } => "add it",
        ValidationErrorKind::AdditionalProperties { .. }
        | ValidationErrorKind::UnevaluatedProperties { .. } => "remove it or mend its name",
        _ => "write it as the standard's reference says",
    };
    Fault::new(error.instance_path().to_string(), error.to_string(), remedy)
}
