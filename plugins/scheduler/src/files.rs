//! Definitions in the operator's files: a directory of YAML files with schedules, and Hasura's `cron_triggers.yaml`.
//!
//! They are read when the plugin starts and when somebody asks. Everything is read and checked before anything is changed, so a
//! mistake in one file leaves all as it was.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use nself_plugin_api::prelude::{Cx, Result};
use serde::de::DeserializeOwned;

use crate::{
    Scheduler, hasura,
    plan::{self, Plan, Wanted},
    refusal::ScheduleError,
    schedule::Definition,
    zone::Zones,
};

/// The largest file.
const BYTES_MAX: u64 = 1 << 20;

/// Brings the schedules of the files to what the files say.
///
/// # Errors
///
/// `SCHEDULE_FILE` with file, line and field; nothing is changed then.
pub(crate) async fn apply(cx: &Cx<Scheduler>, dry_run: bool) -> Result<Plan> {
    let applied = bring_in(cx, dry_run).await;
    if !dry_run {
        cx.plugin().mistake.note(&applied);
    }
    applied
}

/// Fails while a mistake keeps the files out. It does not apply them again: one may be half written.
pub(crate) async fn complain(cx: Cx<Scheduler>) -> Result<()> {
    cx.plugin().mistake.told()
}

async fn bring_in(cx: &Cx<Scheduler>, dry_run: bool) -> Result<Plan> {
    let plugin = cx.plugin();
    let (config, zones) = (plugin.config.clone(), plugin.zones.clone());
    let tasks = cx.tasks();
    let read = tasks.blocking(move || {
        let own = config.schedules_directory.as_deref();
        let own = own
            .map(|path| directory(Path::new(path), &zones))
            .transpose()?;
        let triggers = config.hasura_cron_triggers.as_deref();
        let triggers = triggers
            .map(|path| triggers_of(Path::new(path), &zones))
            .transpose()?;
        Ok::<_, ScheduleError>((own, triggers))
    });
    let (own, triggers) = read.await??;
    let mut plan = Plan::default();
    if let Some(own) = own {
        plan = plan.and(plan::apply(cx, "file", own, dry_run).await?);
    }
    if let Some(triggers) = triggers {
        plan = plan.and(plan::apply(cx, "hasura", triggers, dry_run).await?);
    }
    Ok(plan)
}

fn directory(directory: &Path, zones: &Zones) -> Result<Vec<Wanted>, ScheduleError> {
    let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            matches!(
                path.extension().and_then(|end| end.to_str()),
                Some("yaml" | "yml")
            )
        })
        .collect();
    paths.sort();
    let mut wanted = Vec::new();
    let mut places: HashMap<String, String> = HashMap::new();
    for path in paths {
        let text = read(&path)?;
        let definitions: Vec<Definition> = parse(&path, &text)?;
        for definition in definitions {
            let place = |field: &str| place(&path, &text, &definition.name, field);
            let refuse = |error: &ScheduleError| {
                ScheduleError::File(format!("{}: {error}", place(error.field())))
            };
            let action = definition.check().map_err(|error| refuse(&error))?;
            readable(&definition, zones).map_err(|error| refuse(&error))?;
            if let Some(other) = places.insert(definition.name.clone(), place("name")) {
                let (here, name) = (place("name"), &definition.name);
                return Err(ScheduleError::File(format!(
                    "{here}: name: {name:?} is defined at {other} already"
                )));
            }
            wanted.push(Wanted { definition, action });
        }
    }
    Ok(wanted)
}

fn triggers_of(path: &Path, zones: &Zones) -> Result<Vec<Wanted>, ScheduleError> {
    let text = read(path)?;
    let triggers: Vec<hasura::Trigger> = parse(path, &text)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for trigger in triggers {
        let place = |field: &str| place(path, &text, &trigger.name, field);
        let one =
            hasura::wanted(&trigger).and_then(|one| readable(&one.definition, zones).map(|()| one));
        let one = one.map_err(|error| {
            let field = match error.field() {
                "spec" => "schedule",
                "target" => "webhook",
                field => field,
            };
            ScheduleError::File(format!("{}: {error}", place(field)))
        })?;
        if wanted
            .iter()
            .any(|other| other.definition.name == one.definition.name)
        {
            let here = place("name");
            return Err(ScheduleError::File(format!(
                "{here}: name: {:?} is there twice",
                trigger.name
            )));
        }
        wanted.push(one);
    }
    Ok(wanted)
}

/// Whether a definition's time can be read.
fn readable(definition: &Definition, zones: &Zones) -> Result<(), ScheduleError> {
    let any = nself_plugin_api::jiff::Timestamp::UNIX_EPOCH;
    definition.when().read(any, zones).map(|_| ())
}

fn read(path: &Path) -> Result<String, ScheduleError> {
    let size = fs::metadata(path)
        .map_err(|error| unreadable(path, &error))?
        .len();
    if size > BYTES_MAX {
        return Err(ScheduleError::File(format!(
            "{}: is larger than 1 MiB",
            path.display()
        )));
    }
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> ScheduleError {
    ScheduleError::File(format!("{}: {error}", path.display()))
}

/// A list; an empty file is an empty one.
fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>, ScheduleError> {
    let list: Option<Vec<T>> = serde_norway::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        ScheduleError::File(format!("{}:{line}: {error}", path.display()))
    })?;
    Ok(list.unwrap_or_default())
}

/// File and line of a field of the schedule with that name; the line of its name where the field does not stand.
fn place(path: &Path, text: &str, name: &str, field: &str) -> String {
    format!("{}:{}", path.display(), line(text, name, field))
}

fn line(text: &str, name: &str, field: &str) -> usize {
    let bare = |line: &str| line.trim_start_matches(['-', ' ', '\t']).to_owned();
    let is_name = |line: &str| {
        let value = bare(line)
            .strip_prefix("name:")
            .map(|value| value.trim().trim_matches(['"', '\'']).to_owned());
        value.is_some_and(|value| value == name)
    };
    let lines: Vec<&str> = text.lines().collect();
    let Some(named) = lines.iter().position(|line| is_name(line)) else {
        return 1;
    };
    // An item of a list begins at the dash before its name, and ends before the next dash that stands as far to the left.
    let begins = |line: &str| line.starts_with('-');
    let first = (0..=named)
        .rev()
        .find(|at| begins(lines[*at]))
        .unwrap_or(named);
    let last = (named + 1..lines.len())
        .find(|at| begins(lines[*at]))
        .unwrap_or(lines.len());
    let key = format!("{field}:");
    let found = (first..last).find(|at| bare(lines[*at]).starts_with(&key));
    found.unwrap_or(named) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_its_own_schedule() {
        let text = "# nightly work\n- name: a\n  spec: '@daily'\n- spec: nonsense\n  name: \"b\"\n  target: {}\n";
        assert_eq!(line(text, "a", "spec"), 3);
        assert_eq!(line(text, "b", "spec"), 4);
        assert_eq!(line(text, "b", "zone"), 5);
        assert_eq!(line(text, "c", "zone"), 1);
    }
}
