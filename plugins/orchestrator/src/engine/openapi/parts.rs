//! Forms in parts: `multipart/form-data` (RFC 7578). A part is a text: JSON has no other bytes.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{
    body::{Body, PARTS},
    document::Document,
    out, style,
};
use crate::engine::error::Error;

/// What a file is when nothing says more.
const BYTES: &str = "application/octet-stream";

/// A part of a form.
pub(super) struct Part {
    pub(super) name: String,
    /// Whether it is a file, which many servers know by its name alone.
    pub(super) is_file: bool,
    /// Its content type; plain text when there is none.
    pub(super) kind: Option<String>,
    pub(super) text: String,
}

impl Part {
    /// A file of Swagger 2.
    pub(super) fn file(name: &str, value: &Value) -> Self {
        Self {
            name: name.to_owned(),
            is_file: true,
            kind: Some(BYTES.to_owned()),
            text: style::text(value),
        }
    }

    pub(super) fn text(name: &str, text: String) -> Self {
        Self {
            name: name.to_owned(),
            is_file: false,
            kind: None,
            text,
        }
    }
}

/// The parts of an object, by the schema of each field and what is said of its encoding ("Considerations for multipart Content" of
/// OpenAPI 3): a text is a part, an object is one in JSON, and each item of a list is one.
pub(super) fn of_fields<'d>(
    document: &Document<'d>,
    content: &'d Value,
    fields: &Map<String, Value>,
) -> Result<Vec<Part>, Error> {
    let schema = document.followed(&content["schema"])?;
    let mut parts = Vec::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let schema = document.followed(&schema["properties"][name])?;
        let said = content["encoding"][name]["contentType"].as_str();
        // Where several may be sent, the first is.
        let said = said
            .and_then(|kinds| kinds.split(',').next())
            .map(str::trim);
        match value {
            Value::Array(items) => {
                let schema = document.followed(&schema["items"])?;
                parts.extend(items.iter().map(|item| part(name, item, schema, said)));
            }
            one => parts.push(part(name, one, schema, said)),
        }
    }
    Ok(parts)
}

fn part(name: &str, value: &Value, schema: &Value, said: Option<&str>) -> Part {
    let media = schema["contentMediaType"].as_str();
    let is_file =
        schema["format"] == "binary" || media.is_some() || schema["contentEncoding"].is_string();
    let by_value = match value {
        Value::Object(_) | Value::Array(_) => Some("application/json"),
        _ if is_file => Some(media.unwrap_or(BYTES)),
        _ => None,
    };
    Part {
        name: name.to_owned(),
        is_file,
        kind: said.or(by_value).map(str::to_owned),
        text: style::text(value),
    }
}

/// The body that they are together.
pub(super) fn body(parts: &[Part]) -> Result<Body, Error> {
    let is_free = |boundary: &String| !parts.iter().any(|part| part.text.contains(&**boundary));
    // The same for the same parts, as a request that is made again has to be the same.
    let mut boundaries = (0_u64..).map(|number| format!("nself-part-{number}"));
    let boundary = boundaries.find(is_free).unwrap_or_default();
    let mut text = String::new();
    for part in parts {
        let name = quoted(&part.name);
        let _ = write!(
            text,
            "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\""
        );
        if part.is_file {
            let _ = write!(text, "; filename=\"{name}\"");
        }
        if let Some(kind) = &part.kind {
            if kind.contains(|one: char| one.is_control()) {
                return Err(out("a content type of a part with a line break"));
            }
            let _ = write!(text, "\r\ncontent-type: {kind}");
        }
        let _ = write!(text, "\r\n\r\n{}\r\n", part.text);
    }
    let _ = write!(text, "--{boundary}--\r\n");
    Ok(Body {
        kind: format!("{PARTS}; boundary={boundary}"),
        text,
    })
}

/// As browsers write names ("Multipart form data" of WHATWG's HTML), so that none of them ends its line or its quotes.
fn quoted(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}
