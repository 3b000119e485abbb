//! The document as a directory, as the Hasura CLI lays it out (`config.yaml` version 3), so that its other tools work on it.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde_json::{Map, Value, json};
use serde_norway::Value as Yaml;

use super::{LISTS, SOURCE, TableName, functions, sdl, tables};

const INCLUDE: &str = "!include ";

/// The two halves of actions and their types.
const ACTIONS: &str = "actions.yaml";
const TYPES: &str = "actions.graphql";

/// What leads from an action's answer to a table. GraphQL's language has no word for it.
const RELATIONSHIPS: &str = "relationships";

/// Files that include others go no deeper.
const DEPTH_MAX: usize = 8;

/// Why a project cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its text.
    #[error("{path} is no YAML: {problem}")]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The other language of a project.
    #[error("{path} is no GraphQL: {problem}")]
    Sdl {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The two halves of the actions are not of one mind.
    #[error("{path} has the {kind} {name:?}, and {other} has not: write it in both")]
    Half {
        /// The file that has it.
        path: PathBuf,
        /// Action or type.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The file that lacks it.
        other: &'static str,
    },
    /// An include that leads out, or around.
    #[error("{path} includes {target:?}: name a file below it, without going in circles")]
    Include {
        /// Which.
        path: PathBuf,
        /// What.
        target: String,
    },
}

/// Writes the project. What the document does not have is taken out of the directories of tables and functions; `config.yaml`,
/// migrations and seeds are the project's own and stay.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(directory: &Path, document: &Value) -> Result<(), ProjectError> {
    let metadata = directory.join("metadata");
    let source = metadata.join("databases").join(SOURCE);
    if !directory.join("config.yaml").exists() {
        save(&directory.join("config.yaml"), &config())?;
    }
    for own in ["migrations", "seeds"] {
        let place = directory.join(own).join(SOURCE);
        fs::create_dir_all(&place).map_err(|source| file(&place, source))?;
        save_text(&place.join(".gitkeep"), "")?;
    }
    save(
        &metadata.join("version.yaml"),
        &json!({"version": document["version"]}),
    )?;
    let mut listed = document["sources"][0].clone();
    listed["tables"] = format!("{INCLUDE}{SOURCE}/tables/tables.yaml").into();
    listed["functions"] = format!("{INCLUDE}{SOURCE}/functions/functions.yaml").into();
    save(&metadata.join("databases/databases.yaml"), &json!([listed]))?;
    for (directory, list, key) in [
        ("tables", tables(document), "table"),
        ("functions", functions(document), "function"),
    ] {
        let names = write_each(&source.join(directory), list, key)?;
        let file = source.join(directory).join(format!("{directory}.yaml"));
        save(&file, &json!(names))?;
    }
    save(&metadata.join(ACTIONS), &actions(document))?;
    save_text(&metadata.join(TYPES), &sdl::write(document))?;
    for list in LISTS.iter().filter(|list| **list != "actions") {
        save(&metadata.join(file_of(list)), &document[*list])?;
    }
    Ok(())
}

fn file_of(list: &str) -> String {
    match list {
        "allowlist" => "allow_list.yaml".to_owned(),
        list => format!("{list}.yaml"),
    }
}

fn config() -> Value {
    json!({
        "version": 3,
        "endpoint": "http://localhost:8080",
        "metadata_directory": "metadata",
        "migrations_directory": "migrations",
        "seeds_directory": "seeds",
        "actions": {"kind": "synchronous", "handler_webhook_baseurl": "http://localhost:3000"},
    })
}

/// What `actions.yaml` has of them: all but what stands in `actions.graphql`.
fn actions(document: &Value) -> Value {
    let mut actions = document["actions"].clone();
    for action in actions.as_array_mut().into_iter().flatten() {
        if let Some(definition) = action["definition"].as_object_mut() {
            definition.retain(|key, _| !sdl::OF_DEFINITION.contains(&key.as_str()));
        }
    }
    let mut types = Map::new();
    for list in sdl::TYPES {
        let all = document["custom_types"][list].as_array();
        let named = all.into_iter().flatten().map(|one| {
            let mut named = json!({"name": one["name"]});
            if let Some(relationships) = one.get(RELATIONSHIPS) {
                named[RELATIONSHIPS] = relationships.clone();
            }
            named
        });
        types.insert(list.to_owned(), named.collect());
    }
    json!({"actions": actions, "custom_types": types})
}

/// Puts the two halves together.
fn read_actions(metadata: &Path) -> Result<(Value, Value), ProjectError> {
    let (path, types_path) = (metadata.join(ACTIONS), metadata.join(TYPES));
    let yaml = load(&path, DEPTH_MAX)?;
    let source = match fs::read_to_string(&types_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|source| file(&types_path, source))?,
    };
    let mut sdl = sdl::read(&source).map_err(|error| ProjectError::Sdl {
        path: types_path.clone(),
        problem: error.to_string(),
    })?;
    let mut actions = yaml.get("actions").cloned().unwrap_or(json!([]));
    for action in actions.as_array_mut().into_iter().flatten() {
        let name = action["name"].as_str().unwrap_or_default().to_owned();
        let Some(Value::Object(definition)) = sdl.actions.remove(&name) else {
            return Err(half(&path, "action", &name, TYPES));
        };
        if let Some(own) = action["definition"].as_object_mut() {
            own.extend(definition);
        }
    }
    if let Some(name) = sdl.actions.keys().next() {
        return Err(half(&types_path, "action", name, ACTIONS));
    }
    for list in sdl::TYPES {
        for named in yaml["custom_types"][list].as_array().into_iter().flatten() {
            let own = sdl.types[list].as_array_mut();
            let mut own = own.into_iter().flatten();
            let Some(one) = own.find(|one| one["name"] == named["name"]) else {
                let name = named["name"].as_str().unwrap_or_default();
                return Err(half(&path, "type", name, TYPES));
            };
            if let Some(relationships) = named.get(RELATIONSHIPS) {
                one[RELATIONSHIPS] = relationships.clone();
            }
        }
    }
    Ok((actions, sdl.types))
}

fn half(path: &Path, kind: &'static str, name: &str, other: &'static str) -> ProjectError {
    ProjectError::Half {
        path: path.to_owned(),
        kind,
        name: name.to_owned(),
        other,
    }
}

/// A file for each, by schema and name; their includes.
fn write_each(directory: &Path, list: &[Value], key: &str) -> Result<Vec<String>, ProjectError> {
    let mut names = vec![];
    for one in list {
        let Some(name) = TableName::read(&one[key]) else {
            continue;
        };
        let name = format!("{}_{}.yaml", name.schema, name.name);
        save(&directory.join(&name), one)?;
        names.push(format!("{INCLUDE}{name}"));
    }
    fs::create_dir_all(directory).map_err(|source| file(directory, source))?;
    let list = format!(
        "{}.yaml",
        directory.file_name().unwrap_or_default().to_string_lossy()
    );
    let entries = fs::read_dir(directory).map_err(|source| file(directory, source))?;
    for entry in entries {
        let path = entry.map_err(|source| file(directory, source))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_kept = name == list || names.contains(&format!("{INCLUDE}{name}"));
        if path.extension().is_some_and(|end| end == "yaml") && !is_kept {
            fs::remove_file(&path).map_err(|source| file(&path, source))?;
        }
    }
    Ok(names)
}

/// The address of Hasura in `config.yaml`.
///
/// # Errors
///
/// When the file is missing or does not read.
pub fn endpoint(directory: &Path) -> Result<Option<String>, ProjectError> {
    let config = load(&directory.join("config.yaml"), DEPTH_MAX)?;
    Ok(config["endpoint"].as_str().map(str::to_owned))
}

/// Whether there is one already.
pub fn is_written(directory: &Path) -> bool {
    directory.join("metadata/version.yaml").exists()
}

/// Where cron triggers stand.
pub fn cron_triggers(directory: &Path) -> PathBuf {
    directory.join("metadata").join(file_of("cron_triggers"))
}

/// Reads the project as one document.
///
/// # Errors
///
/// When a file is missing or does not read.
pub fn read(directory: &Path) -> Result<Value, ProjectError> {
    let metadata = directory.join("metadata");
    let mut document = load(&metadata.join("version.yaml"), DEPTH_MAX)?;
    document["sources"] = load(&metadata.join("databases/databases.yaml"), DEPTH_MAX)?;
    for list in LISTS.iter().filter(|list| **list != "actions") {
        let path = metadata.join(file_of(list));
        document[*list] = if path.exists() {
            load(&path, DEPTH_MAX)?
        } else {
            json!([])
        };
    }
    let (actions, types) = read_actions(&metadata)?;
    document["actions"] = actions;
    document["custom_types"] = types;
    Ok(document)
}

fn load(path: &Path, depth: usize) -> Result<Value, ProjectError> {
    let text = fs::read_to_string(path).map_err(|source| file(path, source))?;
    let yaml: Yaml = serde_norway::from_str(&text).map_err(|error| wrong(path, &error))?;
    resolve(yaml, path, depth)
}

/// `!include x` is a file beside, as a text or as a tag.
fn resolve(yaml: Yaml, path: &Path, depth: usize) -> Result<Value, ProjectError> {
    match yaml {
        Yaml::String(text) => match text.strip_prefix(INCLUDE) {
            Some(target) => include(target, path, depth),
            None => Ok(text.into()),
        },
        Yaml::Tagged(tagged) if tagged.tag == "include" => match tagged.value {
            Yaml::String(target) => include(&target, path, depth),
            other => resolve(other, path, depth),
        },
        Yaml::Sequence(items) => {
            let items = items.into_iter().map(|item| resolve(item, path, depth));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        Yaml::Mapping(map) => {
            let mut object = Map::new();
            for (key, value) in map {
                let key: String =
                    serde_norway::from_value(key).map_err(|error| wrong(path, &error))?;
                object.insert(key, resolve(value, path, depth)?);
            }
            Ok(object.into())
        }
        plain => serde_norway::from_value(plain).map_err(|error| wrong(path, &error)),
    }
}

fn include(target: &str, path: &Path, depth: usize) -> Result<Value, ProjectError> {
    let target = target.trim();
    let is_below = Path::new(target)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_below || depth == 0 {
        return Err(ProjectError::Include {
            path: path.to_owned(),
            target: target.to_owned(),
        });
    }
    load(&path.with_file_name(target), depth - 1)
}

fn save(path: &Path, value: &Value) -> Result<(), ProjectError> {
    let text = serde_norway::to_string(&ordered(value)).map_err(|error| wrong(path, &error))?;
    save_text(path, &text)
}

/// Keys that come first, as the Hasura CLI writes them: what something is stands above what it has.
const FIRST: [&str; 13] = [
    "table",
    "function",
    "name",
    "role",
    "is_enum",
    "configuration",
    "object_relationships",
    "array_relationships",
    "computed_fields",
    "insert_permissions",
    "select_permissions",
    "update_permissions",
    "delete_permissions",
];

fn ordered(value: &Value) -> Yaml {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            let place = |key: &str| FIRST.iter().position(|first| *first == key);
            entries.sort_by_key(|(key, _)| (place(key).unwrap_or(FIRST.len()), *key));
            let entries = entries.into_iter();
            Yaml::Mapping(
                entries
                    .map(|(key, value)| (key.as_str().into(), ordered(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Yaml::Sequence(items.iter().map(ordered).collect()),
        Value::String(text) => Yaml::String(text.clone()),
        Value::Bool(flag) => Yaml::Bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().map_or(Yaml::Null, Into::into),
        },
        Value::Null => Yaml::Null,
    }
}

fn save_text(path: &Path, text: &str) -> Result<(), ProjectError> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).map_err(|source| file(directory, source))?;
    fs::write(path, text).map_err(|source| file(path, source))
}

fn file(path: &Path, source: io::Error) -> ProjectError {
    ProjectError::File {
        path: path.to_owned(),
        source,
    }
}

fn wrong(path: &Path, error: &serde_norway::Error) -> ProjectError {
    ProjectError::Yaml {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}
