//! What `derive(Schema)` says about a type: the schema, word for word, and that it agrees with serde, value by value.

#[path = "schema/agreement.rs"]
mod agreement;

use std::collections::BTreeMap;

use nself_plugin_api::Schema;
use nself_plugin_api::schema::{Shape, Text};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The schema of a type as the manifest holds it: written at compile time.
macro_rules! schema_of {
    ($Type:ty) => {{
        use nself_plugin_api::json::Json;
        const fn write<const N: usize>(mut json: Json<N>) -> Json<N> {
            json.shape(&<$Type as nself_plugin_api::Schema>::SHAPE);
            json
        }
        const LEN: usize = write(Json::<0>::new()).len();
        const BYTES: [u8; LEN] = write(Json::<LEN>::new()).finish();
        serde_json::from_slice::<serde_json::Value>(&BYTES).expect("a schema is JSON")
    }};
}
use schema_of;

/// A note
/// of a family.
///
///   Indented.
#[derive(Serialize, Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
struct Note {
    /// What it is about.
    #[schema(min_length = 1, max_length = 200)]
    long_title: String,
    body: Option<String>,
    #[serde(rename = "kind")]
    r#type: bool,
    #[serde(skip)]
    _cache: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[test]
fn a_struct_is_an_object_with_its_fields_as_serde_names_them() {
    assert_eq!(
        schema_of!(Note),
        json!({
            "type": "object",
            "description": "A note\nof a family.\n\n  Indented.",
            "properties": {
                "longTitle": {
                    "allOf": [{"type": "string", "minLength": 1, "maxLength": 200}], "description": "What it is about.",
                },
                "body": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "kind": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["longTitle", "kind"],
        })
    );
}

#[derive(Serialize, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Greeting.
    #[schema(default = "\"hello\"", pattern = "^[a-z]+$")]
    greeting: String,
    #[schema(minimum = 1, maximum = 600, default = "30")]
    period_s: u32,
    #[schema(minimum = -5)]
    offset: Option<i64>,
    #[schema(format = "email", max_length = 254)]
    #[expect(
        clippy::option_option,
        reason = "null is one value, however often it is allowed"
    )]
    sender: Option<Option<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting: "hello".to_owned(),
            period_s: 30,
            offset: None,
            sender: None,
        }
    }
}

#[test]
fn limits_and_defaults_are_in_the_schema_also_those_of_an_option() {
    assert_eq!(
        schema_of!(Config),
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "greeting": {
                    "allOf": [{"type": "string", "pattern": "^[a-z]+$"}], "description": "Greeting.", "default": "hello",
                },
                "period_s": {"allOf": [{"type": "integer", "minimum": 1, "maximum": 600}], "default": 30},
                "offset": {"anyOf": [{"type": "integer", "minimum": -5, "maximum": i64::MAX}, {"type": "null"}]},
                "sender": {"anyOf": [{"type": "string", "format": "email", "maxLength": 254}, {"type": "null"}]},
            },
            "required": [],
        })
    );
}

#[derive(Serialize, Deserialize, Schema)]
struct Empty {}

#[derive(Serialize, Deserialize, Schema)]
struct Title(#[schema(min_length = 1)] String);

#[derive(Serialize, Deserialize, Schema)]
#[serde(transparent)]
struct Names {
    names: BTreeMap<String, Title>,
}

#[derive(Clone, Serialize, Deserialize, Schema)]
#[serde(try_from = "String", into = "String")]
#[schema(max_length = 3)]
struct Code {
    letters: Vec<u8>,
}

impl TryFrom<String> for Code {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > 3 {
            Err("longer than 3")
        } else {
            Ok(Self {
                letters: text.into_bytes(),
            })
        }
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.letters.into_iter().map(char::from).collect()
    }
}

#[test]
fn a_type_that_is_written_as_another_has_its_schema() {
    assert_eq!(schema_of!(Title), json!({"type": "string", "minLength": 1}));
    assert_eq!(
        schema_of!(Names),
        json!({"type": "object", "additionalProperties": {"type": "string", "minLength": 1}})
    );
    assert_eq!(schema_of!(Code), json!({"type": "string", "maxLength": 3}));
    assert_eq!(
        schema_of!(Empty),
        json!({"type": "object", "properties": {}, "required": []})
    );
}

#[derive(Serialize, Deserialize, Schema)]
struct Page<T> {
    items: Vec<T>,
    #[schema(max_length = 40)]
    next: Option<String>,
    first: T,
}

#[derive(Serialize, Schema)]
struct Borrowed<'a, T: Schema> {
    #[schema(min_length = 2)]
    name: &'a str,
    rest: T,
}

#[test]
fn a_generic_type_has_a_schema_for_each_of_its_uses() {
    let next = json!({"anyOf": [{"type": "string", "maxLength": 40}, {"type": "null"}]});
    assert_eq!(
        schema_of!(Page<bool>),
        json!({
            "type": "object",
            "properties": {"items": {"type": "array", "items": {"type": "boolean"}}, "next": next, "first": {"type": "boolean"}},
            "required": ["items", "first"],
        })
    );
    let nullable = json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]});
    assert_eq!(
        schema_of!(Page<Option<bool>>),
        json!({
            "type": "object",
            "properties": {"items": {"type": "array", "items": nullable}, "next": next, "first": nullable},
            "required": ["items"],
        }),
        "an Option is seen through the parameter"
    );
    assert_eq!(
        schema_of!(Borrowed<'static, ()>)["properties"],
        json!({"name": {"type": "string", "minLength": 2}, "rest": {"type": "object", "properties": {}, "required": []}})
    );
}

#[derive(Serialize, Deserialize, Schema)]
#[serde(rename_all = "snake_case")]
enum Role {
    Owner,
    AdultMember,
    #[serde(rename = "kid")]
    Child,
    #[serde(skip)]
    _Unknown,
}

#[test]
fn an_enum_of_names_is_a_choice() {
    assert_eq!(
        schema_of!(Role),
        json!({"enum": ["owner", "adult_member", "kid"]})
    );
}

#[derive(Serialize, Deserialize, Schema)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "UPPERCASE",
    deny_unknown_fields
)]
enum Step {
    /// Wait a while.
    Wait {
        seconds: u8,
    },
    #[serde(rename_all = "camelCase")]
    CallOut {
        to_url: String,
    },
    Stop,
}

#[test]
fn an_enum_with_a_tag_is_one_of_the_variants_objects() {
    assert_eq!(
        schema_of!(Step),
        json!({"oneOf": [
            {
                "type": "object", "description": "Wait a while.", "additionalProperties": false,
                "properties": {"type": {"enum": ["wait"]}, "SECONDS": {"type": "integer", "minimum": 0, "maximum": 255}},
                "required": ["type", "SECONDS"],
            },
            {
                "type": "object", "additionalProperties": false,
                "properties": {"type": {"enum": ["call-out"]}, "toUrl": {"type": "string"}},
                "required": ["type", "toUrl"],
            },
            {
                "type": "object", "additionalProperties": false,
                "properties": {"type": {"enum": ["stop"]}}, "required": ["type"],
            },
        ]})
    );
}

#[derive(Serialize, Deserialize, Schema)]
enum Filter {
    All,
    None,
    /// By its title.
    Title(#[schema(min_length = 1)] String),
    Range {
        from: Option<i8>,
        to: i8,
    },
}

#[derive(Serialize, Deserialize, Schema)]
#[serde(tag = "op", content = "value")]
enum Change {
    Rename(String),
    Move { by: i8 },
    Remove,
}

#[test]
fn an_enum_without_a_tag_is_one_of_its_names_or_of_objects_with_one_key() {
    let small = json!({"type": "integer", "minimum": -128, "maximum": 127});
    assert_eq!(
        schema_of!(Filter),
        json!({"oneOf": [
            {"enum": ["All", "None"]},
            {
                "type": "object", "description": "By its title.", "additionalProperties": false,
                "properties": {"Title": {"type": "string", "minLength": 1}}, "required": ["Title"],
            },
            {
                "type": "object", "additionalProperties": false,
                "properties": {"Range": {
                    "type": "object",
                    "properties": {"from": {"anyOf": [small, {"type": "null"}]}, "to": small},
                    "required": ["to"],
                }},
                "required": ["Range"],
            },
        ]})
    );
}

mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[derive(Serialize, Deserialize, Schema)]
struct Timer {
    #[serde(with = "seconds")]
    #[schema(as = u64, minimum = 1, maximum = 3_600)]
    every: std::time::Duration,
}

#[test]
fn where_a_function_decides_the_json_the_schema_is_that_of_the_type_named() {
    assert_eq!(
        schema_of!(Timer)["properties"],
        json!({"every": {"type": "integer", "minimum": 1, "maximum": 3600}})
    );
}

#[test]
#[should_panic(expected = "limits of a text, and this is none")]
fn a_length_is_no_limit_of_a_boolean() {
    let _ = Shape::Boolean.with_text_limits(&Text {
        min_length: Some(1),
        ..Text::ANY
    });
}

#[test]
#[should_panic(expected = "min_length is more than max_length")]
fn lengths_leave_room_for_a_text() {
    let _ = Shape::String(Text {
        max_length: Some(3),
        ..Text::ANY
    })
    .with_text_limits(&Text {
        min_length: Some(4),
        ..Text::ANY
    });
}

#[test]
#[should_panic(expected = "limits of a whole number, and this is none")]
fn a_minimum_is_no_limit_of_a_text() {
    let _ = String::SHAPE.with_integer_limits(Some(1), None);
}

#[test]
#[should_panic(expected = "outside of the type's own")]
fn a_limit_is_a_value_of_the_type() {
    let _ = u8::SHAPE.with_integer_limits(None, Some(256));
}

#[test]
#[should_panic(expected = "minimum is more than maximum")]
fn limits_leave_room_for_a_number() {
    let _ = u8::SHAPE.with_integer_limits(Some(9), Some(8));
}
