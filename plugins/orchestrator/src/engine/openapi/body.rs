//! Bodies of requests: JSON, forms, forms in parts, and texts.

use serde_json::Value;

use super::{
    document::Document,
    out,
    parts::{self, Part},
    style::Style,
};
use crate::engine::error::Error;

const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const PARTS: &str = "multipart/form-data";

/// A body, ready to be sent.
pub(super) struct Body {
    /// Its content type.
    pub(super) kind: String,
    pub(super) text: String,
}

/// The body of an operation of OpenAPI 3, of the type among those it takes that can be written best.
pub(super) fn written<'d>(
    document: &Document<'d>,
    content: &'d Value,
    value: &Value,
) -> Result<Body, Error> {
    let kinds: Vec<&str> = content
        .as_object()
        .into_iter()
        .flatten()
        .map(|(kind, _)| kind.as_str())
        .collect();
    let kind = best(&kinds);
    let content = &content[kind];
    match value {
        Value::Object(fields) if bare(kind) == PARTS => {
            parts::body(&parts::of_fields(document, content, fields)?)
        }
        _ => of_kind(kind, value, &content["encoding"]),
    }
}

/// The type that is taken of several.
pub(super) fn best<'k>(kinds: &[&'k str]) -> &'k str {
    let first = |is: &dyn Fn(&str) -> bool| kinds.iter().copied().find(|kind| is(kind));
    first(&is_json)
        .or_else(|| first(&|kind| bare(kind) == FORM))
        .or_else(|| first(&|kind| kind.starts_with("text/")))
        .or_else(|| first(&|kind| bare(kind) != PARTS))
        .or_else(|| kinds.first().copied())
        .unwrap_or("application/json")
}

/// A value written as a type wants it.
pub(super) fn of_kind(kind: &str, value: &Value, encoding: &Value) -> Result<Body, Error> {
    if is_json(kind) {
        let kind = if kind.contains('*') {
            "application/json"
        } else {
            kind
        };
        return Ok(body(kind, value.to_string()));
    }
    match (bare(kind), value) {
        (FORM, Value::Object(fields)) => {
            let mut pairs = Vec::new();
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let style = Style::named(&encoding[name], "form")?;
                // An object in a form is JSON, unless the document says how its fields are to be written.
                let json = Value::String(value.to_string());
                let is_whole = value.is_object() && encoding[name]["style"].is_null();
                pairs.extend(style.pairs(name, if is_whole { &json } else { value })?);
            }
            Ok(body(kind, pairs.join("&")))
        }
        (PARTS, _) => Err(out("a form in parts that is no object")),
        (_, Value::String(text)) => Ok(body(kind, text.clone())),
        (FORM, _) => Err(out("a form that is no object")),
        _ => Err(out(&format!("a body of the type {kind} that is no text"))),
    }
}

/// The form of an operation of Swagger 2 that takes these types.
pub(super) fn form(kinds: &[&str], fields: Vec<Field>) -> Result<Body, Error> {
    let takes = |wanted: &str| kinds.iter().any(|kind| bare(kind) == wanted);
    let has_files = fields.iter().any(|field| matches!(field, Field::File(_)));
    if has_files || (takes(PARTS) && !takes(FORM)) {
        let all = fields.into_iter().flat_map(Field::parts);
        return parts::body(&all.collect::<Vec<Part>>());
    }
    let pairs: Vec<String> = fields.into_iter().flat_map(Field::pairs).collect();
    Ok(body(FORM, pairs.join("&")))
}

/// A field of a form of Swagger 2.
pub(super) enum Field {
    /// As pairs, and as the texts of its parts.
    Text {
        name: String,
        pairs: Vec<String>,
        texts: Vec<String>,
    },
    File(Part),
}

impl Field {
    fn parts(self) -> Vec<Part> {
        match self {
            Self::File(part) => vec![part],
            Self::Text { name, texts, .. } => {
                let part = |text| Part::text(&name, text);
                texts.into_iter().map(part).collect()
            }
        }
    }

    fn pairs(self) -> Vec<String> {
        match self {
            Self::File(_) => Vec::new(),
            Self::Text { pairs, .. } => pairs,
        }
    }
}

fn body(kind: &str, text: String) -> Body {
    let kind = kind.to_owned();
    Body { kind, text }
}

fn bare(kind: &str) -> &str {
    kind.split(';').next().unwrap_or_default().trim()
}

/// Whether JSON is taken.
pub(super) fn is_json(kind: &str) -> bool {
    let kind = bare(kind);
    kind.ends_with("/json") || kind.ends_with("+json") || ["*/*", "application/*"].contains(&kind)
}
