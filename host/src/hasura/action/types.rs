//! JSON Schemas as types of GraphQL. What GraphQL has no word for is `jsonb`: any JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::hasura::is_graphql_name;

/// Whether a type is given or answered: GraphQL has objects of two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// Types of our own that actions use, by name.
#[derive(Debug, Default)]
pub struct Types {
    enums: BTreeMap<String, Value>,
    inputs: BTreeMap<String, Value>,
    objects: BTreeMap<String, Value>,
}

/// How a type is referred to.
pub(super) struct Reference {
    text: String,
    is_nullable: bool,
}

impl Reference {
    /// As the type of what has to be there.
    pub(super) fn required(self) -> String {
        self.stated(true)
    }

    /// As the type of what is there always, or not.
    pub(super) fn stated(self, is_required: bool) -> String {
        if self.is_nullable || !is_required {
            self.text
        } else {
            format!("{}!", self.text)
        }
    }
}

impl Types {
    /// As they stand in the document.
    pub fn value(&self) -> Value {
        let all = |types: &BTreeMap<String, Value>| types.values().cloned().collect::<Vec<_>>();
        json!({
            "enums": all(&self.enums),
            "input_objects": all(&self.inputs),
            "objects": all(&self.objects),
            "scalars": [],
        })
    }

    /// The type of an action's answer.
    pub(super) fn answer(&mut self, schema: &Value, action: &str) -> String {
        self.reference(schema, &inner(action, "output"), Way::Out)
            .required()
    }

    /// The type of a schema; one that has to be made is called `name`.
    pub(super) fn reference(&mut self, schema: &Value, name: &str, way: Way) -> Reference {
        let (schema, is_nullable) = bare(schema);
        let text = match schema["type"].as_str() {
            _ if schema["enum"].is_array() => self.choice(schema, name),
            Some("boolean") => "Boolean".to_owned(),
            Some("number") => "Float".to_owned(),
            Some("integer") if is_int(schema) => "Int".to_owned(),
            Some("integer") => "bigint".to_owned(),
            Some("string") => text(schema).to_owned(),
            Some("array") if schema["items"].is_object() => {
                let item = self.reference(&schema["items"], name, way);
                format!("[{}]", item.required())
            }
            Some("object") if has_fields(schema) => self.object(schema, name, way),
            _ => "jsonb".to_owned(),
        };
        Reference { text, is_nullable }
    }

    /// Texts that cannot be values of an enum are texts.
    fn choice(&mut self, schema: &Value, name: &str) -> String {
        let values: Vec<&str> = schema["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let is_value =
            |value: &&str| is_graphql_name(value) && !matches!(*value, "true" | "false" | "null");
        if values.is_empty() || !values.iter().all(is_value) {
            return "String".to_owned();
        }
        let values: Vec<Value> = values.iter().map(|value| json!({"value": value})).collect();
        let choice = json!({"name": name, "values": values});
        self.enums.insert(name.to_owned(), choice);
        name.to_owned()
    }

    fn object(&mut self, schema: &Value, name: &str, way: Way) -> String {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let fields: Vec<Value> = properties
            .map(|(key, property)| {
                let reference = self.reference(property, &inner(name, key), way);
                let is_required = requires(Some(schema), key);
                let mut field = json!({"name": key, "type": reference.stated(is_required)});
                describe(&mut field, property);
                field
            })
            .collect();
        let mut object = json!({"name": name, "fields": fields});
        describe(&mut object, schema);
        let place = match way {
            Way::In => &mut self.inputs,
            Way::Out => &mut self.objects,
        };
        place.insert(name.to_owned(), object);
        name.to_owned()
    }
}

/// The name of a type below another one: `auth_invite` and `input` are `AuthInviteInput`.
pub(super) fn inner(outer: &str, name: &str) -> String {
    let words = outer.split('_').chain(name.split('_'));
    words
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

/// Whether a schema's object has to have that key.
pub(super) fn requires(schema: Option<&Value>, key: &str) -> bool {
    let required = schema.and_then(|schema| schema["required"].as_array());
    required.is_some_and(|required| required.iter().any(|one| one == key))
}

/// Takes over what the schema says for people.
pub(super) fn describe(to: &mut Value, schema: &Value) {
    if let Some(description) = schema["description"].as_str() {
        to["description"] = description.into();
    }
}

/// Whether GraphQL can answer it as an action.
pub(super) fn is_answer(schema: &Value) -> bool {
    let (schema, _) = bare(schema);
    match schema["type"].as_str() {
        Some("array") => has_fields(bare(&schema["items"]).0),
        _ => has_fields(schema),
    }
}

/// Whether it is an object with fields that GraphQL can name.
pub(super) fn is_object(schema: &Value) -> bool {
    has_fields(bare(schema).0)
}

/// Whether every value of it is a text.
pub(super) fn is_text(schema: &Value) -> bool {
    let (schema, _) = bare(schema);
    schema["type"] == "string" || schema["enum"].is_array()
}

fn has_fields(schema: &Value) -> bool {
    let properties = schema["properties"].as_object();
    properties.is_some_and(|all| !all.is_empty() && all.keys().all(|key| is_graphql_name(key)))
}

/// Without description and default around it, and without `null` beside it.
fn bare(schema: &Value) -> (&Value, bool) {
    if let Some([inner]) = schema["allOf"].as_array().map(Vec::as_slice) {
        return bare(inner);
    }
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([inner, null]) if null["type"] == "null" => (bare(inner).0, true),
        _ => (schema, false),
    }
}

fn is_int(schema: &Value) -> bool {
    let limit = |key: &str| schema[key].as_i64();
    let is_within = |limit: i64| i32::try_from(limit).is_ok();
    limit("minimum").is_some_and(is_within) && limit("maximum").is_some_and(is_within)
}

/// Postgres' own names of types: Hasura has them as scalars already.
fn text(schema: &Value) -> &'static str {
    match schema["format"].as_str() {
        Some("uuid") => "uuid",
        Some("date-time") => "timestamptz",
        Some("date") => "date",
        _ => "String",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: &Value, expected: &str) {
        let mut types = Types::default();
        assert_eq!(
            types.reference(schema, "T", Way::Out).required(),
            expected,
            "{schema}"
        );
    }

    #[test]
    fn a_schema_is_the_type_that_says_most_of_it() {
        check(&json!({"type": "boolean"}), "Boolean!");
        check(
            &json!({"anyOf": [{"type": "number"}, {"type": "null"}]}),
            "Float",
        );
        check(
            &json!({"type": "integer", "minimum": 1, "maximum": 100}),
            "Int!",
        );
        check(
            &json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}),
            "bigint!",
        );
        check(&json!({"type": "integer", "minimum": 0}), "bigint!");
        check(&json!({"type": "string", "format": "uuid"}), "uuid!");
        check(
            &json!({"type": "string", "format": "date-time"}),
            "timestamptz!",
        );
        check(&json!({"type": "string", "format": "email"}), "String!");
        check(
            &json!({"type": "array", "items": {"type": "string"}}),
            "[String!]!",
        );
        check(
            &json!({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}),
            "[String]!",
        );
        check(&json!({"enum": ["OWNER", "ADMIN"]}), "T!");
        check(&json!({"enum": ["en-GB"]}), "String!");
        check(
            &json!({"type": "object", "additionalProperties": {}}),
            "jsonb!",
        );
        check(
            &json!({"type": "object", "properties": {"a-b": {}}}),
            "jsonb!",
        );
        check(
            &json!({"type": "array", "prefixItems": [{}], "items": false}),
            "jsonb!",
        );
        check(&json!({}), "jsonb!");
        check(
            &json!({"allOf": [{"type": "boolean"}], "description": "whether"}),
            "Boolean!",
        );
    }

    #[test]
    fn an_object_within_an_object_is_named_for_its_place() {
        let mut types = Types::default();
        let person = json!({
            "type": "object", "description": "who", "required": ["name"],
            "properties": {
                "name": {"allOf": [{"type": "string"}], "description": "as others call them"},
                "home_address": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        });
        assert_eq!(types.answer(&person, "auth_me"), "AuthMeOutput!");
        let value = types.value();
        let object = |at: usize| value["objects"][at].clone();
        assert_eq!(object(0)["name"], "AuthMeOutput");
        let fields = &object(0)["fields"];
        let named = |name: &str| {
            fields
                .as_array()
                .and_then(|all| all.iter().find(|one| one["name"] == name))
                .cloned()
        };
        let name = json!({"name": "name", "type": "String!", "description": "as others call them"});
        assert_eq!(named("name"), Some(name));
        assert_eq!(
            named("home_address").map(|one| one["type"].clone()),
            Some(json!("AuthMeOutputHomeAddress"))
        );
        assert_eq!(object(1)["name"], "AuthMeOutputHomeAddress");
    }
}
