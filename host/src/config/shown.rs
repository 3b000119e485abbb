//! The configuration as it may be shown: every key with its value and origin, secrets masked.

use serde_json::Value;

use super::known_secret::{is_secret_name, password_in_url};
use super::{Config, KEYS, Origin, Provenance};

/// Every effective value: dotted key, value, origin; in the order of [`KEYS`], then by name.
pub fn shown(config: &Config, provenance: &Provenance) -> Vec<(String, Value, Origin)> {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let mut leaves = Vec::new();
    flatten(&tree, &mut Vec::new(), false, &mut leaves);
    let mut rows: Vec<_> = leaves
        .into_iter()
        .map(|(path, value)| {
            let origin = provenance.origin(&path.iter().map(String::as_str).collect::<Vec<_>>());
            (rank(&path), path.join("."), value, origin)
        })
        .collect();
    rows.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    rows.into_iter()
        .map(|(_, key, value, origin)| (key, value, origin))
        .collect()
}

/// The place of a path's section in the table.
fn rank(path: &[String]) -> usize {
    let exact = KEYS
        .iter()
        .position(|key| key.path.split('.').eq(path.iter().map(String::as_str)));
    let section = || {
        KEYS.iter()
            .rposition(|key| key.path.split('.').next() == path.first().map(String::as_str))
    };
    exact.or_else(section).unwrap_or(KEYS.len())
}

fn flatten(
    value: &Value,
    path: &mut Vec<String>,
    secret: bool,
    into: &mut Vec<(Vec<String>, Value)>,
) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (name, value) in table {
                path.push(name.clone());
                let secret =
                    secret || path.len() > 3 && path[0] == "plugins" && is_secret_name(name);
                flatten(value, path, secret, into);
                path.pop();
            }
        }
        // An empty table of names says nothing.
        Value::Object(_) => {}
        Value::Array(list) => into.push((
            path.clone(),
            list.iter().map(|item| masked(item, secret)).collect(),
        )),
        other => into.push((path.clone(), masked(other, secret))),
    }
}

fn masked(value: &Value, secret: bool) -> Value {
    match value {
        Value::String(_) if secret => Value::from("***"),
        Value::String(text) => {
            match password_in_url(text).filter(|password| !password.is_empty()) {
                Some(password) => {
                    let (before, after) = text
                        .split_once(&format!(":{password}@"))
                        .unwrap_or_default();
                    Value::from(format!("{before}:***@{after}"))
                }
                None => value.clone(),
            }
        }
        Value::Array(list) => list.iter().map(|item| masked(item, secret)).collect(),
        Value::Object(table) => {
            let masked = |(name, value): (&String, &Value)| {
                (name.clone(), masked(value, secret || is_secret_name(name)))
            };
            Value::Object(table.iter().map(masked).collect())
        }
        other => other.clone(),
    }
}
