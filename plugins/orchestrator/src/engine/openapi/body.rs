//! Bodies of requests: JSON, forms and texts.

use serde_json::Value;

use super::{out, style::Style};
use crate::engine::error::Error;

const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data";

/// A body, ready to be sent.
pub(super) struct Body {
    /// Its content type.
    pub(super) kind: String,
    pub(super) text: String,
}

/// The body of an operation of OpenAPI 3, of the type among those it takes that can be written best.
pub(super) fn written(content: &Value, value: &Value) -> Result<Body, Error> {
    let kinds: Vec<&str> = content
        .as_object()
        .into_iter()
        .flatten()
        .map(|(kind, _)| kind.as_str())
        .collect();
    let kind = best(&kinds);
    of_kind(kind, value, &content[kind]["encoding"])
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
        (PARTS, _) => Err(out("a body of the type multipart/form-data")),
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
        (_, Value::String(text)) => Ok(body(kind, text.clone())),
        (FORM, _) => Err(out("a form that is no object")),
        _ => Err(out(&format!("a body of the type {kind} that is no text"))),
    }
}

/// The form of an operation of Swagger 2 that takes these types.
pub(super) fn form(kinds: &[&str], pairs: &[String]) -> Result<Body, Error> {
    let takes = |wanted: &str| kinds.iter().any(|kind| bare(kind) == wanted);
    if takes(PARTS) && !takes(FORM) {
        return Err(out("a body of the type multipart/form-data"));
    }
    Ok(body(FORM, pairs.join("&")))
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
