//! `nself.toml`, with line numbers.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, FILE_NAME, Origin, Setting};

/// The settings of the project's file; none when there is no file.
pub(super) fn settings(directory: &Path) -> Result<Vec<Setting>, ConfigError> {
    let file = directory.join(FILE_NAME);
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ConfigError::Read { file, source }),
    }
}

fn parse(text: &str) -> Result<Vec<Setting>, ConfigError> {
    let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        file: FILE_NAME.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().trim().replace('\n', ", "),
    })?;
    let mut settings = Vec::new();
    flatten(text, &mut Vec::new(), document.get_ref(), &mut settings);
    Ok(settings)
}

fn flatten(text: &str, path: &mut Vec<String>, table: &DeTable<'_>, into: &mut Vec<Setting>) {
    for (name, value) in table {
        path.push(name.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() => flatten(text, path, table, into),
            _ => {
                let line = line_of(text, name.span().start);
                let origin = Origin::File {
                    name: FILE_NAME,
                    line,
                    variable: None,
                };
                into.push(Setting {
                    path: path.clone(),
                    value: json(value),
                    origin,
                });
            }
        }
        path.pop();
    }
}

fn json(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            // What does not fit stays text, and is then refused as no number.
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::from(number.to_string()), Value::from)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(Number::from_f64);
            parsed.map_or_else(|| Value::from(number.as_str()), Value::Number)
        }
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(list) => list.iter().map(json).collect(),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(name, value)| (name.get_ref().to_string(), json(value)))
                .collect::<Map<_, _>>(),
        ),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.get(..at).unwrap_or(text).matches('\n').count()
}
