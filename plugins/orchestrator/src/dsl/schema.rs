//! The standard's schema, and what it says about a definition in words that help.

use std::sync::LazyLock;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;

use super::fault::Fault;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_norway::from_str(include_str!("../../schema/workflow.yaml"))
        .expect("the embedded schema is YAML");
    jsonschema::draft202012::new(&schema).expect("the embedded schema is a schema")
});

/// What the schema finds.
pub(super) fn check(source: &Value) -> Vec<Fault> {
    let errors: Vec<_> = SCHEMA.iter_errors(source).collect();
    let mut found = Vec::new();
    narrow(&errors, &mut found);
    let mut faults: Vec<Fault> = found.into_iter().map(fault).collect();
    faults.dedup();
    faults
}

/// Replaces "none of these fits" by what is wrong with the one that was most likely meant.
fn narrow<'e>(errors: &'e [ValidationError<'e>], found: &mut Vec<&'e ValidationError<'e>>) {
    for error in errors {
        // Where something else is wrong at or below a place, nothing there counts as evaluated: an echo.
        let echo = matches!(
            error.kind(),
            ValidationErrorKind::UnevaluatedProperties { .. }
        ) && errors.iter().any(|other| {
            !matches!(
                other.kind(),
                ValidationErrorKind::UnevaluatedProperties { .. }
            ) && place(other).starts_with(&place(error))
        });
        if echo {
            continue;
        }
        let (ValidationErrorKind::OneOfNotValid { context }
        | ValidationErrorKind::AnyOf { context }) = error.kind()
        else {
            found.push(error);
            continue;
        };
        let likely = context
            .iter()
            .map(|branch| (strangeness(branch, &place(error)), branch))
            .min_by_key(|(strangeness, _)| *strangeness);
        match likely {
            Some(((false, ..), branch)) => narrow(branch, found),
            _ => found.push(error),
        }
    }
}

/// How unlikely it is that this alternative was meant: what marks it is missing, then how shallow its mistakes are.
fn strangeness(
    branch: &[ValidationError<'_>],
    at: &str,
) -> (bool, std::cmp::Reverse<usize>, usize) {
    let foreign = branch.iter().any(|error| is_foreign(error, at));
    let deepest = branch
        .iter()
        .map(|error| place(error).len())
        .max()
        .unwrap_or(0);
    (foreign, std::cmp::Reverse(deepest), branch.len())
}

/// Whether an error says that something else altogether was meant.
fn is_foreign(error: &ValidationError<'_>, at: &str) -> bool {
    let here = place(error) == at;
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            here && !matches!(property.as_str(), Some("with" | "catch" | "then"))
        }
        ValidationErrorKind::Type { .. } | ValidationErrorKind::Pattern { .. } => here,
        ValidationErrorKind::Constant { .. } | ValidationErrorKind::Not { .. } => place(error)
            .rsplit_once('/')
            .is_some_and(|(parent, _)| parent == at),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context }
            if here =>
        {
            context
                .iter()
                .all(|branch| branch.iter().any(|error| is_foreign(error, at)))
        }
        _ => false,
    }
}

fn place(error: &ValidationError<'_>) -> String {
    error.instance_path().to_string()
}

fn fault(error: &ValidationError<'_>) -> Fault {
    let path = place(error);
    let task = "name one of call, do, emit, for, fork, listen, raise, run, set, switch, try and wait, with what it needs";
    match error.kind() {
        ValidationErrorKind::Required { .. } => Fault::new(path, error.to_string(), "add it"),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let named = unexpected
                .first()
                .map(|name| format!("{path}/{}", super::escape(name)));
            let names = unexpected.join(", ");
            let message = format!("nothing here is called {names}");
            Fault::new(named.unwrap_or(path), message, "remove it or mend its name")
        }
        ValidationErrorKind::MaxProperties { limit: 1 } => {
            let message = "an item of a list holds more than one name";
            Fault::new(path, message, "begin each task with a `-` of its own")
        }
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. } => {
            let is_task = path
                .rsplit('/')
                .nth(1)
                .is_some_and(|part| part.parse::<usize>().is_ok());
            if is_task {
                Fault::new(path, "this is no task that the standard knows", task)
            } else {
                let message = format!("{} is none of what may stand here", short(error));
                Fault::new(path, message, "write it as the standard's reference says")
            }
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => Fault::new(
            path,
            "this means more than one thing at once",
            "leave only one of them",
        ),
        _ => Fault::new(
            path,
            error.to_string(),
            "write it as the standard's reference says",
        ),
    }
}

fn short(error: &ValidationError<'_>) -> String {
    let text = error.instance().to_string();
    if text.chars().count() <= 80 {
        return text;
    }
    text.chars().take(80).chain("...".chars()).collect()
}
