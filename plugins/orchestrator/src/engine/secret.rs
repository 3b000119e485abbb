//! Secrets: what is kept has marks in their place.
//!
//! An expression whose value is kept sees the mark of a secret; what makes a request, or only decides, sees the secret. What comes
//! from outside is sealed the other way round, and cannot bring marks of its own.

use serde_json::{Map, Value};

use super::surroundings::Surroundings;

const OPEN: &str = "\u{27e6}secret:";
const CLOSE: char = '\u{27e7}';
/// A secret that is shorter is not looked for in what comes from outside: it would be found everywhere.
const SEALED_MIN: usize = 4;

/// The secrets of a definition.
pub(super) struct Secrets {
    /// Mark and secret of each text in them.
    known: Vec<(String, String)>,
    real: Value,
    marked: Value,
}

impl Secrets {
    pub(super) fn read(names: &[String], around: &Surroundings<'_>) -> Self {
        let mut known = Vec::new();
        let (mut real, mut marked) = (Map::new(), Map::new());
        for name in names {
            if let Some(value) = (around.secrets)(name) {
                marked.insert(name.clone(), mark(name, &value, &mut known));
                real.insert(name.clone(), value);
            }
        }
        known.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.len()));
        Self {
            known,
            real: Value::Object(real),
            marked: Value::Object(marked),
        }
    }

    pub(super) fn real(&self) -> &Value {
        &self.real
    }

    pub(super) fn marked(&self) -> &Value {
        &self.marked
    }

    /// A value with its marks replaced by the secrets.
    pub(super) fn reveal(&self, value: Value) -> Value {
        if self.known.is_empty() {
            return value;
        }
        each_text(value, &|text| {
            if !text.contains(OPEN) {
                return text;
            }
            self.known
                .iter()
                .fold(text, |text, (mark, secret)| text.replace(mark, secret))
        })
    }

    /// Whether a mark stands in a value.
    pub(super) fn marks(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains(OPEN),
            Value::Array(items) => items.iter().any(Self::marks),
            Value::Object(fields) => fields
                .iter()
                .any(|(name, field)| name.contains(OPEN) || Self::marks(field)),
            _ => false,
        }
    }

    /// A value from outside: secrets become marks, and marks that were in it already become harmless.
    pub(super) fn seal(&self, value: Value) -> Value {
        each_text(value, &|text| self.seal_text(text))
    }

    pub(super) fn seal_text(&self, text: String) -> String {
        let text = if text.contains(OPEN) {
            text.replace(OPEN, "\u{27e6}secret ")
        } else {
            text
        };
        self.known
            .iter()
            .filter(|(_, secret)| secret.len() >= SEALED_MIN)
            .fold(text, |text, (mark, secret)| {
                if text.contains(secret.as_str()) {
                    text.replace(secret.as_str(), mark)
                } else {
                    text
                }
            })
    }
}

fn mark(path: &str, value: &Value, known: &mut Vec<(String, String)>) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(name, field): (&String, &Value)| {
                (name.clone(), mark(&format!("{path}/{name}"), field, known))
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) => {
            let item = |(number, item)| mark(&format!("{path}/{number}"), item, known);
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        leaf => {
            let mark = format!("{OPEN}{path}{CLOSE}");
            let text = leaf
                .as_str()
                .map_or_else(|| leaf.to_string(), str::to_owned);
            if !text.is_empty() {
                known.push((mark.clone(), text));
            }
            Value::String(mark)
        }
    }
}

fn each_text(value: Value, change: &dyn Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items
            .into_iter()
            .map(|item| each_text(item, change))
            .collect(),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, field)| (change(name), each_text(field, change)))
                .collect(),
        ),
        other => other,
    }
}
