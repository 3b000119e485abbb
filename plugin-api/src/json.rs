//! A JSON writer that runs at compile time: it turns the constants of a plugin into the manifest in its ELF note.

use crate::schema::{Field, Object, Shape, Text};

/// Writes JSON into `N` bytes. With `N = 0` it only counts, which is how the size is found.
pub struct Json<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Json<N> {
    /// Nothing written yet.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Bytes written, or that would have been.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes; they must have filled the writer.
    pub const fn finish(self) -> [u8; N] {
        assert!(self.len == N, "the two passes over the manifest differ");
        self.bytes
    }

    const fn byte(&mut self, byte: u8) {
        if self.len < N {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    /// Text as it is.
    pub(crate) const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self.byte(bytes[at]);
            at += 1;
        }
    }

    /// A JSON string.
    pub(crate) const fn string(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = text.as_bytes();
        let mut at = 0;
        self.byte(b'"');
        while at < bytes.len() {
            match bytes[at] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                control @ 0..0x20 => {
                    self.raw("\\u00");
                    self.byte(HEX[(control >> 4) as usize]);
                    self.byte(HEX[(control & 15) as usize]);
                }
                byte => self.byte(byte),
            }
            at += 1;
        }
        self.byte(b'"');
    }

    /// A whole number.
    pub(crate) const fn integer(&mut self, number: i128) {
        if number < 0 {
            self.byte(b'-');
        }
        let number = number.unsigned_abs();
        let mut power = 1;
        while number / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            self.byte(b'0' + (number / power % 10) as u8);
            power /= 10;
        }
    }

    /// A comma, unless it would follow an opening bracket.
    pub(crate) const fn comma(&mut self, first: bool) {
        if !first {
            self.byte(b',');
        }
    }

    /// `"name":` with the comma before it.
    pub(crate) const fn key(&mut self, first: bool, name: &str) {
        self.comma(first);
        self.string(name);
        self.byte(b':');
    }

    /// `"name":"text"`.
    pub(crate) const fn text(&mut self, first: bool, name: &str, text: &str) {
        self.key(first, name);
        self.string(text);
    }

    /// `"name":number`, when there is one.
    pub(crate) const fn optional(&mut self, name: &str, number: Option<i128>) {
        if let Some(number) = number {
            self.key(false, name);
            self.integer(number);
        }
    }

    /// `["a","b"]`.
    pub(crate) const fn strings(&mut self, items: &[&str]) {
        self.byte(b'[');
        let mut at = 0;
        while at < items.len() {
            self.comma(at == 0);
            self.string(items[at]);
            at += 1;
        }
        self.byte(b']');
    }

    /// A JSON Schema.
    pub const fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Any => self.raw("{}"),
            Shape::Boolean => self.raw(r#"{"type":"boolean"}"#),
            Shape::Number => self.raw(r#"{"type":"number"}"#),
            Shape::Integer { minimum, maximum } => {
                self.raw(r#"{"type":"integer""#);
                self.optional("minimum", *minimum);
                self.optional("maximum", *maximum);
                self.byte(b'}');
            }
            Shape::String(text) => self.limits(text),
            Shape::Choice(choices) => {
                self.raw(r#"{"enum":"#);
                self.strings(choices);
                self.byte(b'}');
            }
            Shape::Nullable(inner) => {
                self.raw(r#"{"anyOf":["#);
                self.shape(inner);
                self.raw(r#",{"type":"null"}]}"#);
            }
            Shape::Array(item) => {
                self.raw(r#"{"type":"array","items":"#);
                self.shape(item);
                self.byte(b'}');
            }
            Shape::Tuple(items) => {
                self.raw(r#"{"type":"array","prefixItems":"#);
                self.shapes(items);
                self.optional("minItems", Some(items.len() as i128));
                self.raw(r#","items":false}"#);
            }
            Shape::Map(value) => {
                self.raw(r#"{"type":"object","additionalProperties":"#);
                self.shape(value);
                self.byte(b'}');
            }
            Shape::Object(object) => self.object(object),
            Shape::OneOf(shapes) => {
                self.raw(r#"{"oneOf":"#);
                self.shapes(shapes);
                self.byte(b'}');
            }
        }
    }

    const fn shapes(&mut self, shapes: &[&Shape]) {
        self.byte(b'[');
        let mut at = 0;
        while at < shapes.len() {
            self.comma(at == 0);
            self.shape(shapes[at]);
            at += 1;
        }
        self.byte(b']');
    }

    const fn limits(&mut self, text: &Text) {
        self.raw(r#"{"type":"string""#);
        if let Some(format) = text.format {
            self.text(false, "format", format);
        }
        if let Some(pattern) = text.pattern {
            self.text(false, "pattern", pattern);
        }
        if let Some(length) = text.min_length {
            self.optional("minLength", Some(length as i128));
        }
        if let Some(length) = text.max_length {
            self.optional("maxLength", Some(length as i128));
        }
        self.byte(b'}');
    }

    const fn object(&mut self, object: &Object) {
        self.raw(r#"{"type":"object""#);
        if !object.description.is_empty() {
            self.text(false, "description", object.description);
        }
        if object.closed {
            self.raw(r#","additionalProperties":false"#);
        }
        self.raw(r#","properties":{"#);
        let mut at = 0;
        while at < object.fields.len() {
            self.key(at == 0, object.fields[at].name);
            self.field(&object.fields[at]);
            at += 1;
        }
        self.raw(r#"},"required":["#);
        let mut at = 0;
        let mut first = true;
        while at < object.fields.len() {
            if object.fields[at].required {
                self.comma(first);
                self.string(object.fields[at].name);
                first = false;
            }
            at += 1;
        }
        self.raw("]}");
    }

    /// A field's schema, with its description and default beside what its shape says.
    const fn field(&mut self, field: &Field) {
        if field.description.is_empty() && field.default.is_none() {
            return self.shape(&field.shape);
        }
        self.raw(r#"{"allOf":["#);
        self.shape(&field.shape);
        self.byte(b']');
        if !field.description.is_empty() {
            self.text(false, "description", field.description);
        }
        if let Some(default) = field.default {
            self.key(false, "default");
            self.raw(default);
        }
        self.byte(b'}');
    }
}

impl<const N: usize> Default for Json<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn write<const N: usize>(mut json: Json<N>) -> Json<N> {
        json.shape(&Shape::Object(&Object {
            description: "a \"note\"\n",
            closed: true,
            fields: &[
                Field {
                    name: "title",
                    description: "what it is about",
                    shape: Shape::String(Text {
                        max_length: Some(200),
                        ..Text::ANY
                    }),
                    required: true,
                    default: None,
                },
                Field {
                    name: "size",
                    description: "",
                    shape: Shape::Integer {
                        minimum: Some(-12),
                        maximum: Some(1_000),
                    },
                    required: false,
                    default: Some("7"),
                },
                Field {
                    name: "tags",
                    description: "",
                    shape: Shape::Array(&Shape::Any),
                    required: true,
                    default: None,
                },
                Field {
                    name: "place",
                    description: "",
                    shape: Shape::Tuple(&[&Shape::Number, &Shape::Boolean]),
                    required: false,
                    default: None,
                },
            ],
        }));
        json
    }

    const LEN: usize = write(Json::<0>::new()).len();
    const BYTES: [u8; LEN] = write(Json::<LEN>::new()).finish();

    #[test]
    fn a_shape_written_at_compile_time_is_the_json_schema_that_was_meant() {
        let value: serde_json::Value = serde_json::from_slice(&BYTES).expect("it is JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "type": "object", "description": "a \"note\"\n", "additionalProperties": false,
                "properties": {
                    "title": {"allOf": [{"type": "string", "maxLength": 200}], "description": "what it is about"},
                    "size": {"allOf": [{"type": "integer", "minimum": -12, "maximum": 1000}], "default": 7},
                    "tags": {"type": "array", "items": {}},
                    "place": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "boolean"}],
                        "minItems": 2, "items": false},
                },
                "required": ["title", "tags"],
            })
        );
    }
}
