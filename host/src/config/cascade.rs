//! From the sources to one checked value per path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Map, Value};

use super::keys::{self, Depth, Place};
use super::{ConfigError, Environment, Kind, Setting, dotenv, file, variables};
use crate::plugin::trust;

pub(super) type Settings = BTreeMap<Vec<String>, Setting>;

/// Reads all sources, weakest first; what a stronger one states replaces what stood there.
pub(super) fn settings(
    directory: &Path,
    process: &variables::Variables,
) -> Result<Settings, ConfigError> {
    let stated = file::settings(directory)?;
    let plugin_ids: BTreeSet<String> = stated
        .iter()
        .filter(|setting| setting.path[0] == "plugins")
        // `[plugins.notes]` with nothing in it names a plugin too; `plugins.directory` does not.
        .filter(|setting| {
            setting.path.len() > 2 || setting.path.len() == 2 && setting.value.is_object()
        })
        .map(|setting| setting.path[1].clone())
        .collect();
    let read = |name: &'static str| -> Result<Vec<Setting>, ConfigError> {
        let statements = dotenv::read(directory, name)?;
        checked(variables::settings(
            statements,
            name,
            directory,
            &plugin_ids,
        )?)
    };

    let toml = checked(stated)?;
    let secrets = read(".env.secrets")?;
    let plain = read(".env")?;
    let process = variables::statements(process);
    let process = checked(variables::settings(
        process,
        "the process environment",
        directory,
        &plugin_ids,
    )?)?;

    let stated_environment = [&process, &plain, &secrets, &toml]
        .into_iter()
        .find_map(|source| environment_in(source));
    let chosen = stated_environment.unwrap_or_default();
    let of_environment = read(chosen.file_name())?;
    if let Some(stated) = environment_in(&of_environment).filter(|stated| *stated != chosen) {
        return Err(ConfigError::EnvironmentMoved {
            file: chosen.file_name(),
            chosen,
            stated,
        });
    }

    let mut merged = Settings::new();
    for setting in [toml, of_environment, secrets, plain, process]
        .into_iter()
        .flatten()
    {
        // A table stated as a whole replaces its parts, and a part replaces a whole that is no table.
        merged
            .retain(|path, _| !path.starts_with(&setting.path) && !setting.path.starts_with(path));
        merged.insert(setting.path.clone(), setting);
    }
    Ok(merged)
}

/// The settings as one nested value, as serde wants it.
pub(super) fn tree(settings: &Settings) -> Value {
    let mut root = Map::new();
    for setting in settings.values() {
        let (last, tables) = setting
            .path
            .split_last()
            .expect("a path has at least one segment");
        let mut table = &mut root;
        for name in tables {
            let next = table
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
            table = next
                .as_object_mut()
                .expect("no path is the beginning of another one");
        }
        table.insert(last.clone(), setting.value.clone());
    }
    Value::Object(root)
}

fn environment_in(settings: &[Setting]) -> Option<Environment> {
    let setting = settings
        .iter()
        .rfind(|setting| setting.path == ["environment"])?;
    serde_json::from_value(setting.value.clone()).ok()
}

fn checked(settings: Vec<Setting>) -> Result<Vec<Setting>, ConfigError> {
    settings
        .into_iter()
        .filter_map(|setting| check(setting).transpose())
        .collect()
}

/// The setting with its value in the type that its key wants; `None` for an empty section.
fn check(mut setting: Setting) -> Result<Option<Setting>, ConfigError> {
    check_id(&setting)?;
    match keys::find(&setting.path) {
        Place::Key(key, Depth::Inside) if matches!(key.kind, Kind::Table) => Ok(Some(setting)),
        Place::Key(key, Depth::Inside) => {
            setting.path.truncate(key.path.split('.').count());
            Err(wrong_type(&setting, key.kind.expected(), "a table"))
        }
        Place::Key(key, Depth::Whole) => match typed(key.kind, &setting) {
            Some(value) => Ok(Some(Setting { value, ..setting })),
            None => Err(wrong_type(
                &setting,
                key.kind.expected(),
                &got(key.kind, &setting.value),
            )),
        },
        Place::Section if setting.value.as_object().is_some_and(Map::is_empty) => Ok(None),
        Place::Section => Err(wrong_type(
            &setting,
            "a table".to_owned(),
            &got(Kind::Text, &setting.value),
        )),
        Place::Unknown(at) => Err(ConfigError::UnknownKey {
            key: setting.path[..=at.min(setting.path.len() - 1)].join("."),
            suggestion: keys::suggestion(&setting.path, at),
            origin: setting.origin,
        }),
    }
}

/// A plugin's id is also its Postgres schema, so not every text will do.
fn check_id(setting: &Setting) -> Result<(), ConfigError> {
    match setting.path.as_slice() {
        [plugins, id, _, ..] if plugins == "plugins" && !is_id(id) => {
            let named = Setting {
                path: vec!["plugins".to_owned(), id.clone()],
                ..setting.clone()
            };
            Err(wrong_type(
                &named,
                "named by lower-case letters, digits, `-` and `_`".to_owned(),
                &format!("{id:?}"),
            ))
        }
        _ => Ok(()),
    }
}

fn is_id(id: &str) -> bool {
    let starts_well = id.starts_with(|first: char| first.is_ascii_lowercase());
    starts_well
        && id.len() <= 40
        && id.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter)
        })
}

fn typed(kind: Kind, setting: &Setting) -> Option<Value> {
    let value = &setting.value;
    let text = value.as_str();
    // What comes from a variable is always text; what comes from the file has a type, and it counts.
    let from_text = text.filter(|_| setting.origin.is_variable());
    match kind {
        Kind::Text | Kind::Secret => text.map(Value::from),
        Kind::Path => text.filter(|path| !path.is_empty()).map(Value::from),
        Kind::Address => text
            .filter(|text| text.parse::<IpAddr>().is_ok())
            .map(Value::from),
        Kind::Integer(least, most) => {
            let number = value.as_i64().or_else(|| from_text?.parse().ok())?;
            (least..=most)
                .contains(&number)
                .then(|| Value::from(number))
        }
        Kind::Flag => value
            .as_bool()
            .or_else(|| flag(from_text?))
            .map(Value::from),
        Kind::TextList => text_list(value, from_text),
        Kind::KeyList => text_list(value, from_text).filter(|list| {
            let entries = list.as_array().into_iter().flatten();
            let mut texts = entries.filter_map(Value::as_str);
            texts.all(|entry| trust::listed(entry).is_ok())
        }),
        Kind::Choice(words) => {
            let word = canonical(text?);
            words.contains(&word.as_str()).then(|| Value::from(word))
        }
        Kind::Table => match from_text {
            Some(json) => serde_json::from_str::<Value>(json)
                .ok()
                .filter(Value::is_object),
            None => value.is_object().then(|| value.clone()),
        },
    }
}

fn text_list(value: &Value, from_text: Option<&str>) -> Option<Value> {
    match from_text {
        Some(list) => Some(
            list.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect(),
        ),
        None => value
            .as_array()
            .filter(|list| list.iter().all(Value::is_string))
            .map(|_| value.clone()),
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Short names of environments are as good as the long ones.
fn canonical(word: &str) -> String {
    match word.to_ascii_lowercase().as_str() {
        "dev" => "development".to_owned(),
        "stage" => "staging".to_owned(),
        "prod" => "production".to_owned(),
        other => other.to_owned(),
    }
}

fn wrong_type(setting: &Setting, expected: String, got: &str) -> ConfigError {
    let key = setting.path.join(".");
    ConfigError::WrongType {
        key,
        origin: setting.origin.clone(),
        expected,
        got: got.to_owned(),
    }
}

/// What a value is, in words; a secret's text is not shown.
pub(super) fn got(kind: Kind, value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(_) if matches!(kind, Kind::Secret) => "a string".to_owned(),
        Value::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}
