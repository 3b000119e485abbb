//! Environment variables, from the process and from `.env` files: which key each one sets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::keys::{self, Depth, Place};
use super::{ConfigError, KEYS, Origin, SEED_PORTS, Setting};

/// Environment variables by name. Passed in everywhere, so that tests steer them.
pub type Variables = BTreeMap<String, String>;

/// The environment of this process; what is not UTF-8 is left out. The only place that reads it.
pub fn process_variables() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Variables that everybody knows, and the keys that they set. `NSELF_…` for the same key goes first.
const WELL_KNOWN: &[(&str, &str)] = &[
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("PORT", "http.port"),
    ("ENV", "environment"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.endpoint"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "telemetry.headers"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "telemetry.certificate"),
    ("OTEL_SERVICE_NAME", "telemetry.service_name"),
    ("OTEL_RESOURCE_ATTRIBUTES", "telemetry.resource_attributes"),
    ("OTEL_TRACES_EXPORTER", "telemetry.traces_exporter"),
    ("OTEL_TRACES_SAMPLER", "telemetry.traces_sampler"),
    ("OTEL_TRACES_SAMPLER_ARG", "telemetry.traces_sampler_arg"),
    ("OTEL_METRICS_EXPORTER", "telemetry.metrics_exporter"),
    (
        "OTEL_METRIC_EXPORT_INTERVAL",
        "telemetry.metric_export_interval_ms",
    ),
];

/// Variables of the same beginning that are no keys.
const RESERVED: &[&str] = &["NSELF_LOG"];

const PREFIX: &str = "NSELF_";

/// One variable that is set somewhere.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

pub(super) fn statements(variables: &Variables) -> Vec<Statement> {
    let statement = |(name, value): (&String, &String)| Statement {
        name: name.clone(),
        value: value.clone(),
        origin: Origin::Variable { name: name.clone() },
    };
    variables.iter().map(statement).collect()
}

/// What the statements of one source, called `place`, set. An empty variable is as good as none.
pub(super) fn settings(
    statements: Vec<Statement>,
    place: &str,
    directory: &Path,
    plugin_ids: &BTreeSet<String>,
) -> Result<Vec<Setting>, ConfigError> {
    let set = statements
        .into_iter()
        .filter(|statement| !statement.value.is_empty());
    let source = Source {
        stated: set
            .map(|statement| (statement.name.clone(), statement))
            .collect(),
        place,
        directory,
    };
    let mut settings = source.well_known(plugin_ids)?;
    settings.extend(source.prefixed(plugin_ids)?);
    Ok(settings)
}

struct Source<'a> {
    stated: BTreeMap<String, Statement>,
    place: &'a str,
    directory: &'a Path,
}

impl Source<'_> {
    fn well_known(&self, plugin_ids: &BTreeSet<String>) -> Result<Vec<Setting>, ConfigError> {
        let mut names: Vec<(String, String)> = WELL_KNOWN
            .iter()
            .map(|(name, key)| ((*name).to_owned(), (*key).to_owned()))
            .collect();
        let seed = SEED_PORTS.iter().map(|(id, _)| (*id).to_owned());
        let ids: BTreeSet<String> = plugin_ids.iter().cloned().chain(seed).collect();
        names.extend(ids.iter().map(|id| {
            (
                format!("{}_PORT", shouted(id)),
                format!("plugins.{id}.port"),
            )
        }));

        let mut settings = Vec::new();
        for (name, key) in names {
            if let Some((value, origin)) = self
                .value(&name)?
                .filter(|(value, _)| is_meant(&name, value))
            {
                settings.push(Setting {
                    path: key.split('.').map(str::to_owned).collect(),
                    value: Value::from(value),
                    origin,
                });
            }
        }
        Ok(settings)
    }

    fn prefixed(&self, plugin_ids: &BTreeSet<String>) -> Result<Vec<Setting>, ConfigError> {
        let ours = self
            .stated
            .values()
            .filter(|statement| statement.name.starts_with(PREFIX));
        let mut settings = Vec::new();
        for statement in ours.filter(|statement| !RESERVED.contains(&statement.name.as_str())) {
            let setting = self.prefixed_one(statement, plugin_ids)?;
            settings.push(setting);
        }
        Ok(settings)
    }

    fn prefixed_one(
        &self,
        statement: &Statement,
        plugin_ids: &BTreeSet<String>,
    ) -> Result<Setting, ConfigError> {
        let path = path_of(&statement.name, plugin_ids);
        // `NSELF_IDENTITY__JWKS_FILE` is a key of its own; `NSELF_DATABASE__URL_FILE` is the key before `_FILE`.
        let is_key = matches!(keys::find(&path), Place::Key(..));
        let stem = statement.name.strip_suffix("_FILE").filter(|stem| {
            let place = keys::find(&path_of(stem, plugin_ids));
            matches!(place, Place::Key(_, Depth::Whole)) && !is_key
                || matches!(place, Place::Key(_, Depth::Inside))
        });
        let name = stem.unwrap_or(&statement.name);
        if stem.is_none() && !is_key {
            return Err(unknown(statement, &path));
        }
        let (value, origin) = self
            .value(name)?
            .expect("the variable or its _FILE was just seen");
        Ok(Setting {
            path: path_of(name, plugin_ids),
            value: Value::from(value),
            origin,
        })
    }

    /// The variable's value, or the content of the file that `<name>_FILE` names.
    fn value(&self, name: &str) -> Result<Option<(String, Origin)>, ConfigError> {
        let plain = self.stated.get(name);
        let from_file = self.stated.get(&format!("{name}_FILE"));
        match (plain, from_file) {
            (Some(_), Some(_)) => Err(ConfigError::StatedTwice {
                variable: name.to_owned(),
                place: self.place.to_owned(),
            }),
            (Some(statement), None) => {
                Ok(Some((statement.value.clone(), statement.origin.clone())))
            }
            (None, Some(statement)) => {
                let file = self.directory.join(&statement.value);
                let content = std::fs::read_to_string(&file)
                    .map_err(|source| ConfigError::Read { file, source })?;
                Ok(Some((
                    content.trim_end_matches(['\r', '\n']).to_owned(),
                    statement.origin.clone(),
                )))
            }
            (None, None) => Ok(None),
        }
    }
}

/// Others use the same names: `ENV` is also the start-up file of POSIX shells, and Kubernetes sets `AUTH_PORT` to
/// `tcp://10.0.0.1:80` where a service is called `auth`.
fn is_meant(name: &str, value: &str) -> bool {
    !(name == "ENV" && value.contains('/') || name.ends_with("PORT") && value.contains("://"))
}

fn path_of(name: &str, plugin_ids: &BTreeSet<String>) -> Vec<String> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let mut path: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
    if path.len() > 2 && path[0] == "plugins" {
        // A variable's name cannot hold the `-` of an id.
        if let Some(id) = plugin_ids
            .iter()
            .find(|id| shouted(id) == path[1].to_ascii_uppercase())
        {
            path[1].clone_from(id);
        }
    }
    path
}

fn shouted(id: &str) -> String {
    id.to_ascii_uppercase().replace('-', "_")
}

fn unknown(statement: &Statement, path: &[String]) -> ConfigError {
    let names = KEYS
        .iter()
        .filter(|key| !key.path.contains('*'))
        .map(|key| variable_of(key.path));
    let by_likeness = names.map(|name| (strsim::jaro_winkler(&name, &statement.name), name));
    let closest = by_likeness
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .filter(|(likeness, _)| *likeness >= 0.93);
    let by_path = || match keys::find(path) {
        Place::Unknown(at) => keys::suggestion(path, at).map(|key| variable_of(&key)),
        Place::Section | Place::Key(..) => None,
    };
    ConfigError::UnknownKey {
        key: statement.name.clone(),
        suggestion: closest.map(|(_, name)| name).or_else(by_path),
        origin: statement.origin.clone(),
    }
}

/// The variable that sets `key`.
pub(super) fn variable_of(key: &str) -> String {
    format!(
        "{PREFIX}{}",
        key.to_ascii_uppercase()
            .replace('.', "__")
            .replace('-', "_")
    )
}
