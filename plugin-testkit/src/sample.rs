//! Values that fit a JSON Schema: what a request needs so that it is not refused for its form.

use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The smallest value that the schema allows, as the shapes of plugin-api write schemas.
pub fn sample(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    // `allOf` has one entry: it is how a field gets its description.
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[choice]
            .as_array()
            .and_then(|choices| choices.first())
        {
            return sample(first);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
        kind => kind.as_str().unwrap_or_default(),
    };
    match kind {
        "object" => object(schema),
        "array" => json!([]),
        "string" => text(schema).into(),
        "integer" => integer(schema),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!({}),
    }
}

/// Its required keys.
fn object(schema: &Value) -> Value {
    let required = schema["required"].as_array().into_iter().flatten();
    let fields: Map<String, Value> = required
        .filter_map(Value::as_str)
        .map(|name| (name.to_owned(), sample(&schema["properties"][name])))
        .collect();
    Value::Object(fields)
}

fn text(schema: &Value) -> String {
    match schema["format"].as_str() {
        Some("uuid") => Uuid::now_v7().to_string(),
        Some("date-time") => "2026-01-02T03:04:05Z".to_owned(),
        Some("date") => "2026-01-02".to_owned(),
        Some("email") => "somebody@example.org".to_owned(),
        Some("uri") => "https://example.org/".to_owned(),
        _ => {
            let least = schema["minLength"].as_u64().unwrap_or(1).max(1);
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            let length = usize::try_from(least.min(most)).expect("a sample is short");
            "a".repeat(length)
        }
    }
}

fn integer(schema: &Value) -> Value {
    let least = schema["minimum"].as_i64().unwrap_or(1);
    least
        .max(1)
        .min(schema["maximum"].as_i64().unwrap_or(i64::MAX))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_what_is_required_and_keeps_to_limits() {
        let schema = json!({"type": "object", "required": ["title", "size", "kind"], "properties": {
            "title": {"allOf": [{"type": "string", "minLength": 3}], "description": "words"},
            "size": {"type": "integer", "minimum": 5, "maximum": 9},
            "kind": {"enum": ["a", "b"]},
            "left_out": {"type": "string"},
        }});
        assert_eq!(
            sample(&schema),
            json!({"title": "aaa", "size": 5, "kind": "a"})
        );
    }
}
