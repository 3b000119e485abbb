//! Conditions on rows, in Hasura's language, with names for those that recur.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::PolicyError;

type Rules = BTreeMap<String, Map<String, Value>>;

/// Rules that name one another go no deeper.
const DEPTH_MAX: usize = 8;

/// The names that stand in rules: `"@kept"`.
pub(super) fn named(rules: &Rules) -> Vec<String> {
    let mut found = vec![];
    for rule in rules.values() {
        texts(rule, &mut |text| {
            found.extend(text.strip_prefix('@').map(str::to_owned));
        });
    }
    found
}

/// The rules with every name replaced by what it stands for.
pub(super) fn spelled_out(rules: &Rules) -> Result<Rules, PolicyError> {
    let spelled = rules.iter().map(|(name, rule)| {
        let rule = map(rule, rules, name, DEPTH_MAX)?;
        Ok((name.clone(), rule))
    });
    spelled.collect()
}

fn map(
    condition: &Map<String, Value>,
    rules: &Rules,
    place: &str,
    depth: usize,
) -> Result<Map<String, Value>, PolicyError> {
    let entries = condition.iter();
    let spelled = entries.map(|(key, one)| Ok((key.clone(), value(one, rules, place, depth)?)));
    spelled.collect()
}

fn value(one: &Value, rules: &Rules, place: &str, depth: usize) -> Result<Value, PolicyError> {
    Ok(match one {
        Value::String(text) if text.starts_with('@') => {
            let found = text.strip_prefix('@').and_then(|name| rules.get(name));
            // Out of depth is a rule that names itself: as good as none.
            let found = found.filter(|_| depth > 0);
            let found = found.ok_or_else(|| PolicyError::Unknown {
                place: format!("the rule {place}"),
                kind: "rule",
                name: text.clone(),
            })?;
            map(found, rules, place, depth - 1)?.into()
        }
        Value::Object(inner) => map(inner, rules, place, depth)?.into(),
        Value::Array(items) => {
            let items = items.iter().map(|item| value(item, rules, place, depth));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

fn texts(condition: &Map<String, Value>, see: &mut impl FnMut(&str)) {
    fn walk(value: &Value, see: &mut impl FnMut(&str)) {
        match value {
            Value::String(text) => see(text),
            Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
            Value::Object(map) => map.values().for_each(|item| walk(item, see)),
            _ => {}
        }
    }
    condition.values().for_each(|value| walk(value, see));
}

/// Every session variable in a condition, as it is written there.
pub fn variables(condition: &Map<String, Value>) -> Vec<String> {
    let mut found = vec![];
    texts(condition, &mut |text| {
        if text.to_ascii_lowercase().starts_with("x-hasura-") {
            found.push(text.to_owned());
        }
    });
    found
}

/// All of these hold, as short as it can be said; nothing for none.
pub fn all(parts: &[&Map<String, Value>]) -> Map<String, Value> {
    let mut whole = Map::new();
    let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).collect();
    for part in &parts {
        if part.keys().any(|key| whole.contains_key(key)) {
            let parts = parts.iter().map(|part| Value::Object((**part).clone()));
            return Map::from_iter([("_and".to_owned(), parts.collect())]);
        }
        whole.extend((**part).clone());
    }
    whole
}

/// One of these holds. Whoever has an empty condition has every row.
pub fn any(parts: &[&Map<String, Value>]) -> Map<String, Value> {
    let mut different: Vec<&Map<String, Value>> = vec![];
    for part in parts {
        if !different.contains(part) {
            different.push(part);
        }
    }
    if different.iter().any(|part| part.is_empty()) {
        return Map::new();
    }
    match different.as_slice() {
        [one] => (*one).clone(),
        several => {
            let several = several.iter().map(|part| Value::Object((*part).clone()));
            Map::from_iter([("_or".to_owned(), several.collect())])
        }
    }
}
