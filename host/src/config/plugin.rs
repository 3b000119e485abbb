//! A plugin's own keys: `[plugins.<id>.config]`, checked against the schema in its manifest.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

use super::known_secret::is_secret_name;
use super::{Config, ConfigError, Origin, Provenance};

impl Config {
    /// The plugin's own keys as its schema wants them: texts that came from variables become numbers, flags and lists.
    ///
    /// `schema` is the manifest's `config`; `null` accepts everything.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Plugin`] and [`ConfigError::UnknownKey`] name the key, where it stands, and what was expected.
    pub fn plugin_config(
        &self,
        id: &str,
        schema: &Value,
        provenance: &Provenance,
    ) -> Result<Value, ConfigError> {
        let mut value = Value::Object(
            self.plugins
                .by_id
                .get(id)
                .map(|plugin| plugin.config.clone())
                .unwrap_or_default(),
        );
        if schema.is_null() {
            return Ok(value);
        }
        let mut path = vec!["plugins".to_owned(), id.to_owned(), "config".to_owned()];
        coerce(&mut value, schema, schema, &mut path, provenance);
        validate(id, &value, schema, provenance)?;
        Ok(value)
    }
}

/// Gives texts from variables the type that the schema names. What does not parse stays text, and is then refused.
fn coerce(
    value: &mut Value,
    schema: &Value,
    root: &Value,
    path: &mut Vec<String>,
    provenance: &Provenance,
) {
    let schema = resolved(schema, root);
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                path.push(name.clone());
                coerce(value, &schema["properties"][name], root, path, provenance);
                path.pop();
            }
        }
        Value::String(text) if origin(provenance, path).is_variable() => {
            if let Some(typed) = typed(text, schema) {
                *value = typed;
            }
        }
        _ => {}
    }
}

fn typed(text: &str, schema: &Value) -> Option<Value> {
    let wants = |kind: &str| match &schema["type"] {
        Value::String(only) => only == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => false,
    };
    if wants("string") {
        return None;
    }
    let parsed = serde_json::from_str(text).ok();
    if parsed.is_none() && wants("array") {
        return Some(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect(),
        );
    }
    parsed
}

/// Follows `$ref` inside the document, and takes the value's own schema where it may also be absent (`anyOf` with `null`
/// last) or is described (`allOf` with nothing else). Schemas of plugins nest a few levels; a circle ends after as many.
fn resolved<'a>(mut schema: &'a Value, root: &'a Value) -> &'a Value {
    for _ in 0..8 {
        let target = schema["$ref"]
            .as_str()
            .and_then(|reference| root.pointer(reference.strip_prefix('#')?))
            .or_else(|| schema.pointer("/anyOf/0"))
            .or_else(|| schema.pointer("/allOf/0"));
        let Some(target) = target else { break };
        schema = target;
    }
    schema
}

fn validate(
    id: &str,
    value: &Value,
    schema: &Value,
    provenance: &Provenance,
) -> Result<(), ConfigError> {
    let validator =
        jsonschema::validator_for(schema).map_err(|error| ConfigError::PluginSchema {
            plugin: id.to_owned(),
            message: error.to_string(),
        })?;
    let Some(first) = validator.iter_errors(value).next() else {
        return Ok(());
    };
    let error = telling(&first);
    let inside = error
        .instance_path()
        .as_str()
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"));
    let mut path: Vec<String> = ["plugins", id, "config"]
        .map(str::to_owned)
        .into_iter()
        .chain(inside)
        .collect();
    if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
        let known = schema.pointer(
            error
                .schema_path()
                .as_str()
                .trim_end_matches("/additionalProperties"),
        );
        let unknown = unexpected.first().cloned().unwrap_or_default();
        let suggestion = known.and_then(|table| closest(&table["properties"], &unknown));
        path.push(unknown);
        return Err(ConfigError::UnknownKey {
            key: path.join("."),
            origin: origin(provenance, &path),
            suggestion,
        });
    }
    let message = if path.iter().any(|name| is_secret_name(name)) {
        error.masked().to_string()
    } else {
        error.to_string()
    };
    Err(ConfigError::Plugin {
        plugin: id.to_owned(),
        origin: origin(provenance, &path),
        key: path.join("."),
        message,
    })
}

/// The error that says most. A value that may be absent has two schemas; what is wrong with it says the first.
fn telling<'a>(error: &'a ValidationError<'a>) -> &'a ValidationError<'a> {
    match error.kind() {
        ValidationErrorKind::AnyOf { context } => context
            .first()
            .and_then(|branch| branch.first())
            .map_or(error, telling),
        _ => error,
    }
}

fn closest(properties: &Value, wrong: &str) -> Option<String> {
    let names = properties.as_object()?.keys();
    let by_likeness = names.map(|name| (strsim::jaro_winkler(name, wrong), name));
    let best = by_likeness
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .filter(|(likeness, _)| *likeness >= 0.8);
    best.map(|(_, name)| name.clone())
}

fn origin(provenance: &Provenance, path: &[String]) -> Origin {
    provenance.origin(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Value, ConfigError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("nself.toml"), toml).expect("it is written");
        let variables: BTreeMap<_, _> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (config, provenance) = Config::load(directory.path(), &variables)?;
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "ttl_s": {"type": "integer"}, "retries": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "label": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "password": {"type": "string", "minLength": 8},
                "hosts": {"type": "array", "items": {"type": "string"}}, "smtp": {"$ref": "#/$defs/smtp"},
                "origins": {"allOf": [{"type": "array", "items": {"type": "string"}}], "description": "which pages"},
                "code": {"allOf": [{"type": "string"}], "description": "of digits"},
            },
            "$defs": {"smtp": {"type": "object", "properties": {"tls": {"type": "boolean"}}}},
        });
        config.plugin_config("my-mail", &schema, &provenance)
    }

    #[test]
    fn variables_take_the_type_that_the_schema_wants() {
        let variables = [
            ("NSELF_PLUGINS__MY_MAIL__CONFIG__TTL_S", "300"),
            ("NSELF_PLUGINS__MY_MAIL__CONFIG__PASSWORD", "12345678"),
            ("NSELF_PLUGINS__MY_MAIL__CONFIG__HOSTS", "a, b"),
            ("NSELF_PLUGINS__MY_MAIL__CONFIG__LABEL", "7"),
            (
                "NSELF_PLUGINS__MY_MAIL__CONFIG__ORIGINS",
                "https://a.example",
            ),
            ("NSELF_PLUGINS__MY_MAIL__CONFIG__CODE", "0815"),
            ("NSELF_PLUGINS__MY_MAIL__CONFIG__SMTP__TLS", "true"),
        ];
        let config = load("[plugins.my-mail]\nport = 1\n", &variables).expect("it suits");
        assert_eq!(
            config,
            json!({
                "ttl_s": 300, "password": "12345678", "hosts": ["a", "b"], "label": "7", "smtp": {"tls": true},
                "origins": ["https://a.example"], "code": "0815",
            })
        );
    }

    #[track_caller]
    fn check_refused(toml: &str, expected: &str) {
        assert_eq!(
            load(toml, &[]).expect_err("it does not suit").to_string(),
            expected
        );
    }

    #[test]
    fn what_does_not_suit_is_named_with_its_line_and_without_secrets() {
        check_refused(
            "[plugins.my-mail.config]\nttl_s = \"long\"\n",
            "`plugins.my-mail.config.ttl_s` in nself.toml:2 does not suit plugin my-mail: \"long\" is not of type \"integer\"",
        );
        check_refused(
            "[plugins.my-mail.config]\nretries = \"many\"\n",
            "`plugins.my-mail.config.retries` in nself.toml:2 does not suit plugin my-mail: \"many\" is not of type \"integer\"",
        );
        check_refused(
            "[plugins.my-mail.config]\npassword = \"canary\"\n",
            "`plugins.my-mail.config.password` in nself.toml:2 does not suit plugin my-mail: value is shorter than 8 characters",
        );
        check_refused(
            "[plugins.my-mail.config]\nttl = 3\n",
            "unknown key `plugins.my-mail.config.ttl` in nself.toml:2",
        );
    }
}
