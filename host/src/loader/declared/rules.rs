//! The rules that a manifest must keep, one function per part of it.

use super::names::{
    is_capability, is_file_name, is_function, is_id, is_kind_of, is_line, is_table, is_word,
    require, unique,
};
use super::{commands, routes};
use crate::capability::http::destination::Configured;
use crate::loader::check::Host;
use crate::loader::refusal::{ManifestFault, one_line};
use crate::plugin::manifest::{Build, Manifest, Migration, Requires};

/// Prefix of the host's own capabilities.
const HOST_CAPABILITY: &str = "nself.";

/// Schemas that are not a plugin's.
const RESERVED_IDS: [&str; 10] = [
    "nself",
    "public",
    "hdb_catalog",
    "hdb_views",
    "information_schema",
    "host",
    // Keys of `[plugins]` itself, where a plugin has its table.
    "directory",
    "signatures",
    "trust",
    "catalogue",
];

const RIGHTS: [&str; 5] = ["select", "insert", "update", "delete", "references"];

const WORD: &str = "use up to 200 visible ASCII characters without blanks";

pub(super) fn admit(manifest: &Manifest, host: &Host<'_>) -> Result<(), ManifestFault> {
    let id = manifest.id.as_str();
    if RESERVED_IDS.contains(&id) || id.starts_with("pg_") {
        return Err(ManifestFault::ReservedId);
    }
    build(&manifest.build)?;
    texts(manifest)?;
    requires(&manifest.requires, host.capabilities)?;
    configured(manifest)?;
    provides(&manifest.provides)?;
    functions(manifest)?;
    depends(manifest)?;
    routes::admit(&manifest.routes)?;
    commands::admit(manifest)?;
    work(manifest)?;
    jobs(manifest)?;
    migrations(&manifest.migrations)?;
    for fragment in &manifest.hasura {
        require(
            "hasura fragment",
            &fragment.name,
            is_file_name(&fragment.name),
            "use a plain file name",
        )?;
    }
    if !(manifest.config.is_object() || manifest.config.is_null()) {
        return Err(ManifestFault::ConfigSchema);
    }
    Ok(())
}

fn build(build: &Build) -> Result<(), ManifestFault> {
    let host = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    if build.target != host {
        return Err(ManifestFault::Target {
            found: one_line(&build.target),
            host,
        });
    }
    if build.panic != "unwind" {
        return Err(ManifestFault::Panic(one_line(&build.panic)));
    }
    Ok(())
}

/// Texts that people see on a terminal.
fn texts(manifest: &Manifest) -> Result<(), ManifestFault> {
    let texts = [
        ("description", &manifest.description),
        ("license", &manifest.license),
        ("homepage", &manifest.homepage),
        ("api version", &manifest.build.api),
    ];
    for (kind, text) in texts {
        is_line(kind, text)?;
    }
    let mut summaries = manifest.routes.iter().map(|route| &route.summary);
    summaries.try_for_each(|summary| is_line("summary", summary))
}

fn requires(requires: &Requires, known: &[&str]) -> Result<(), ManifestFault> {
    for id in &requires.capabilities {
        require(
            "capability",
            id,
            is_capability(id),
            "a capability is called name.name/1",
        )?;
        if id.starts_with(HOST_CAPABILITY) && !known.contains(&id.as_str()) {
            return Err(ManifestFault::UnknownCapability(id.clone()));
        }
    }
    for id in &requires.optional {
        require(
            "capability",
            id,
            is_capability(id),
            "a capability is called name.name/1",
        )?;
        require(
            "optional capability",
            id,
            !id.starts_with(HOST_CAPABILITY),
            "the host's own are always there: require it",
        )?;
    }
    unique("capability", requires.usable())?;
    for grant in &requires.tables {
        require(
            "table",
            &grant.table,
            is_table(&grant.table),
            "a table is called schema.table",
        )?;
        for right in &grant.rights {
            require(
                "right",
                right,
                RIGHTS.contains(&right.as_str()),
                "rights are select insert update delete references",
            )?;
        }
    }
    unique(
        "table",
        requires.tables.iter().map(|grant| grant.table.as_str()),
    )?;
    let lists = [
        ("egress", &requires.egress),
        ("secret", &requires.secrets),
        ("event", &requires.emits),
    ];
    for (kind, list) in lists {
        list.iter()
            .try_for_each(|name| require(kind, name, is_word(name), WORD))?;
    }
    Ok(())
}

/// Servers that the configuration names, under keys that it has.
fn configured(manifest: &Manifest) -> Result<(), ManifestFault> {
    let properties = &manifest.config["properties"];
    let entries = manifest.requires.egress.iter();
    for entry in entries.filter(|entry| Configured::is_meant(entry)) {
        let parsed = Configured::parse(entry);
        let rule = "a server of the configuration is written {key}:{key} or {key}:587";
        require("egress", entry, parsed.is_some(), rule)?;
        let mut keys = parsed.iter().flat_map(Configured::keys);
        let has_keys = keys.all(|key| properties.get(key).is_some());
        let rule = "the plugin's configuration has no such key";
        require("egress", entry, has_keys, rule)?;
    }
    Ok(())
}

fn provides(provides: &[String]) -> Result<(), ManifestFault> {
    for id in provides {
        require(
            "capability",
            id,
            is_capability(id),
            "a capability is called name.name/1",
        )?;
        if id.starts_with(HOST_CAPABILITY) {
            return Err(ManifestFault::HostCapability(id.clone()));
        }
    }
    unique("capability", provides.iter().map(String::as_str))
}

fn functions(manifest: &Manifest) -> Result<(), ManifestFault> {
    for function in &manifest.functions {
        let signature = &function.signature;
        require(
            "function",
            signature,
            is_function(signature),
            "a function is called schema.name(type,type)",
        )?;
        let is_own = signature.starts_with(&format!("{}.", manifest.id));
        let rule = "a plugin offers functions of its own schema only";
        require("function", signature, is_own, rule)?;
        let is_offered = manifest.provides.contains(&function.capability);
        let rule = "it comes with a capability that the plugin does not offer";
        require("function", signature, is_offered, rule)?;
    }
    let functions = manifest.functions.iter();
    let functions: Vec<String> = functions
        .map(|one| format!("{} {}", one.capability, one.signature))
        .collect();
    unique("function", functions.iter().map(String::as_str))
}

fn depends(manifest: &Manifest) -> Result<(), ManifestFault> {
    for dependency in &manifest.depends {
        require(
            "dependency",
            &dependency.id,
            is_id(&dependency.id),
            "name a plugin by its id",
        )?;
        require(
            "dependency",
            &dependency.id,
            dependency.id != manifest.id,
            "a plugin cannot wait for itself",
        )?;
    }
    unique(
        "dependency",
        manifest
            .depends
            .iter()
            .map(|dependency| dependency.id.as_str()),
    )
}

/// Tasks, subscriptions and schedules: found by their names, in logs and on the command line.
fn work(manifest: &Manifest) -> Result<(), ManifestFault> {
    let tasks = manifest.tasks.iter().map(|task| task.name.as_str());
    let subscriptions = manifest
        .subscriptions
        .iter()
        .map(|subscription| subscription.name.as_str());
    let schedules = manifest
        .schedules
        .iter()
        .map(|schedule| schedule.name.as_str());
    named("task", tasks)?;
    named("subscription", subscriptions)?;
    named("schedule", schedules)?;
    for task in &manifest.tasks {
        require(
            "task",
            &task.name,
            task.every_ms > 0,
            "its pause must be longer than 0 ms",
        )?;
    }
    Ok(())
}

/// Whoever sees a kind knows whose it is, and no two plugins have the same one.
fn jobs(manifest: &Manifest) -> Result<(), ManifestFault> {
    let id = manifest.id.as_str();
    for job in &manifest.jobs {
        let kind = job.kind.as_str();
        let rule = "a kind begins with the plugin's id and a dot, as in photos.resize: so that no two plugins have \
                    the same one";
        require("job", kind, is_kind_of(id, kind), rule)?;
        let some = job.attempts_max != Some(0) && job.timeout_ms != Some(0);
        let rule = "it needs at least one attempt, and more than 0 ms for it";
        require("job", kind, some, rule)?;
        if let Some(queue) = &job.queue {
            require("queue", queue, is_word(queue), WORD)?;
        }
    }
    unique("job", manifest.jobs.iter().map(|job| job.kind.as_str()))
}

fn named<'a>(
    kind: &'static str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), ManifestFault> {
    names
        .clone()
        .try_for_each(|name| require(kind, name, is_word(name), WORD))?;
    unique(kind, names)
}

fn migrations(migrations: &[Migration]) -> Result<(), ManifestFault> {
    for (migration, expected) in migrations.iter().zip(1..) {
        if usize::try_from(migration.number) != Ok(expected) {
            return Err(ManifestFault::Migration {
                found: migration.number,
                expected,
            });
        }
        let valid = is_file_name(&migration.name) && !migration.name.contains('.');
        require(
            "migration",
            &migration.name,
            valid,
            "use letters, digits, - and _",
        )?;
    }
    Ok(())
}
