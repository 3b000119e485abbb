//! How a parameter's value is written: the styles of OpenAPI 3, and the formats of collections of Swagger 2.

use std::borrow::Cow;

use serde_json::Value;

use super::{body::is_json, out};
use crate::engine::{error::Error, request::encode};

/// What may stand for itself in a query, where a parameter allows it. The rest would end it, or mean something else.
const RESERVED: &[u8] = b":/?@!$'()*,;";

/// How a value is written.
pub(super) struct Style {
    form: Form,
    /// Whether each item of it stands for itself.
    explode: bool,
    keeps_reserved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Items with this between them.
    Simple,
    Label,
    Matrix,
    /// Pairs of name and value, items of one with this between them.
    Pairs(&'static str),
    DeepObject,
}

impl Style {
    /// That of a parameter.
    pub(super) fn of(parameter: &Value, is_swagger: bool) -> Result<Self, Error> {
        let place = parameter["in"].as_str().unwrap_or_default();
        if is_swagger {
            return Self::of_collection(parameter, place);
        }
        let usual = match place {
            "query" | "cookie" => "form",
            _ => "simple",
        };
        Self::named(parameter, usual)
    }

    /// By the fields `style`, `explode` and `allowReserved`.
    pub(super) fn named(fields: &Value, usual: &str) -> Result<Self, Error> {
        let name = fields["style"].as_str().unwrap_or(usual);
        let form = match name {
            "simple" => Form::Simple,
            "label" => Form::Label,
            "matrix" => Form::Matrix,
            "form" => Form::Pairs(","),
            "spaceDelimited" => Form::Pairs("%20"),
            "pipeDelimited" => Form::Pairs("%7C"),
            "deepObject" => Form::DeepObject,
            other => return Err(out(&format!("parameters of the style {other:?}"))),
        };
        Ok(Self {
            form,
            explode: fields["explode"].as_bool().unwrap_or(name == "form"),
            keeps_reserved: fields["allowReserved"].as_bool() == Some(true),
        })
    }

    fn of_collection(parameter: &Value, place: &str) -> Result<Self, Error> {
        let format = parameter["collectionFormat"].as_str().unwrap_or("csv");
        let between = match format {
            "csv" | "multi" => ",",
            "ssv" => "%20",
            "tsv" => "%09",
            "pipes" => "%7C",
            other => return Err(out(&format!("collections of the format {other:?}"))),
        };
        let in_pairs = ["query", "formData"].contains(&place);
        if !in_pairs && between != "," {
            return Err(out(&format!(
                "collections of the format {format:?} in {place}"
            )));
        }
        Ok(Self {
            form: if in_pairs {
                Form::Pairs(between)
            } else {
                Form::Simple
            },
            explode: format == "multi",
            keeps_reserved: false,
        })
    }

    /// As a part of the path.
    pub(super) fn one(&self, name: &str, value: &Value) -> Result<String, Error> {
        let name = &self.encoded(name);
        let items = self.items(value, &|text| self.encoded(text));
        Ok(match self.form {
            Form::Simple => items.join(","),
            Form::Label => format!(".{}", items.join(if self.explode { "." } else { "," })),
            Form::Matrix => match value {
                Value::Object(_) if self.explode => format!(";{}", items.join(";")),
                Value::Array(_) if self.explode => items
                    .iter()
                    .flat_map(|item| [";", name, "=", item])
                    .collect(),
                _ => {
                    let text = items.join(",");
                    let sign = if text.is_empty() { "" } else { "=" };
                    format!(";{name}{sign}{text}")
                }
            },
            Form::Pairs(_) | Form::DeepObject => {
                return Err(out("a path with the style of a query"));
            }
        })
    }

    /// As a header's value.
    pub(super) fn plain(&self, value: &Value) -> String {
        self.items(value, &str::to_owned).join(",")
    }

    /// As texts that nothing need be escaped in: one, or one for each item.
    pub(super) fn texts(&self, value: &Value) -> Vec<String> {
        let items = self.items(value, &str::to_owned);
        match self.form {
            Form::Pairs(_) if self.explode => items,
            Form::Pairs("%20") => vec![items.join(" ")],
            Form::Pairs("%09") => vec![items.join("\t")],
            Form::Pairs("%7C") => vec![items.join("|")],
            _ => vec![items.join(",")],
        }
    }

    /// As pairs of names and values, of a query, a form or a cookie.
    pub(super) fn pairs(&self, name: &str, value: &Value) -> Result<Vec<String>, Error> {
        let name = &self.encoded(name);
        let items = || self.items(value, &|text| self.encoded(text));
        Ok(match (self.form, value) {
            (Form::DeepObject, Value::Object(fields)) => {
                let pair = |(field, value): (&String, &Value)| {
                    let (field, text) = (self.encoded(field), self.encoded(&text(value)));
                    format!("{name}%5B{field}%5D={text}")
                };
                fields.iter().map(pair).collect()
            }
            (Form::Pairs(_), Value::Object(_)) if self.explode => items(),
            (Form::Pairs(_), Value::Array(_)) if self.explode => items()
                .iter()
                .map(|item| format!("{name}={item}"))
                .collect(),
            (Form::Pairs(between), _) => vec![format!("{name}={}", items().join(between))],
            (Form::DeepObject, _) => {
                return Err(out("what is no object in the style deepObject"));
            }
            _ => return Err(out("a query with the style of a path")),
        })
    }

    /// What a value consists of: a field of an object is `name=value`, or one after the other.
    fn items(&self, value: &Value, write: &dyn Fn(&str) -> String) -> Vec<String> {
        match value {
            Value::Array(items) => items.iter().map(|item| write(&text(item))).collect(),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    let (name, value) = (write(name), write(&text(value)));
                    if self.explode {
                        vec![format!("{name}={value}")]
                    } else {
                        vec![name, value]
                    }
                };
                fields.iter().flat_map(field).collect()
            }
            one => vec![write(&text(one))],
        }
    }

    fn encoded(&self, text: &str) -> String {
        let mut encoded = String::new();
        for part in text.split_inclusive(|_| true) {
            if self.keeps_reserved && RESERVED.contains(&part.as_bytes()[0]) {
                encoded.push_str(part);
            } else {
                encode(part, &mut encoded);
            }
        }
        encoded
    }
}

/// The value of a parameter that has a content type: written as that says.
pub(super) fn content<'v>(parameter: &Value, value: &'v Value) -> Result<Cow<'v, Value>, Error> {
    let content = parameter["content"].as_object();
    let Some((kind, _)) = content.and_then(|content| content.iter().next()) else {
        return Ok(Cow::Borrowed(value));
    };
    if is_json(kind) {
        return Ok(Cow::Owned(Value::String(value.to_string())));
    }
    match value {
        Value::String(_) => Ok(Cow::Borrowed(value)),
        _ => Err(out(&format!("parameters of the type {kind}"))),
    }
}

/// A value as a text; what is none of its own is JSON.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
