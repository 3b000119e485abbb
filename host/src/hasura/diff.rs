//! What differs between two documents, place by place.

use serde_json::Value;

/// One line per difference: `- ` is only in `left`, `+ ` only in `right`.
pub fn lines(left: &Value, right: &Value) -> Vec<String> {
    let mut lines = vec![];
    walk("", Some(left), Some(right), &mut lines);
    lines
}

fn walk(place: &str, left: Option<&Value>, right: Option<&Value>, lines: &mut Vec<String>) {
    match (left, right) {
        (left, right) if left == right => {}
        // What is empty may as well not be there: Hasura leaves it out when it is asked what it has.
        (None, Some(one)) | (Some(one), None) if is_empty(one) => {}
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let keys = left
                .keys()
                .chain(right.keys().filter(|key| !left.contains_key(*key)));
            for key in keys {
                walk(
                    &format!("{place}/{key}"),
                    left.get(key),
                    right.get(key),
                    lines,
                );
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            arrays(place, left, right, lines);
        }
        (left, right) => {
            lines.extend(left.map(|left| format!("- {place}: {left}")));
            lines.extend(right.map(|right| format!("+ {place}: {right}")));
        }
    }
}

/// Items are told apart by what names them, where something does: a table added in the middle moves no other.
fn arrays(place: &str, left: &[Value], right: &[Value], lines: &mut Vec<String>) {
    let named = |items: &[Value]| items.iter().all(|item| label(item).is_some());
    if !(named(left) && named(right)) {
        lines.push(format!("- {place}: {}", Value::from(left.to_vec())));
        lines.push(format!("+ {place}: {}", Value::from(right.to_vec())));
        return;
    }
    let find = |items: &'_ [Value], wanted: &Option<String>| {
        items.iter().position(|item| label(item) == *wanted)
    };
    for item in left {
        let wanted = label(item);
        let there = find(right, &wanted).map(|at| &right[at]);
        let name = wanted.unwrap_or_default();
        walk(&format!("{place}/{name}"), Some(item), there, lines);
    }
    for item in right {
        let wanted = label(item);
        if find(left, &wanted).is_none() {
            let name = wanted.unwrap_or_default();
            walk(&format!("{place}/{name}"), None, Some(item), lines);
        }
    }
}

fn label(item: &Value) -> Option<String> {
    if let Some(table) = super::TableName::read(&item["table"]) {
        return Some(table.to_string());
    }
    ["name", "role", "role_name"]
        .iter()
        .find_map(|key| item[*key].as_str().map(str::to_owned))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_told_with_its_place() {
        let one = json!({"tables": [
            {"table": {"schema": "public", "name": "a"}, "limit": 1},
            {"table": {"schema": "public", "name": "c"}},
        ]});
        let other = json!({"tables": [
            {"table": {"schema": "public", "name": "a"}, "limit": 2},
            {"table": {"schema": "public", "name": "b"}},
            {"table": {"schema": "public", "name": "c"}},
        ], "empty": []});
        assert_eq!(
            lines(&one, &other),
            [
                "- /tables/public.a/limit: 1",
                "+ /tables/public.a/limit: 2",
                "+ /tables/public.b: {\"table\":{\"name\":\"b\",\"schema\":\"public\"}}",
            ]
        );
        assert!(lines(&one, &one).is_empty());
    }
}
