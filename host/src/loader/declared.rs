//! What the manifest says, and whether this host can keep its side of it.

mod commands;
mod names;
mod routes;
mod rules;

use std::path::Path;

use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use super::check::Host;
use super::refusal::{ElfFault, ManifestFault, Refusal, one_line};
use crate::plugin::manifest::{Abi, Manifest};

/// The only shape of the document that this host reads.
const SCHEMA: u32 = 1;

/// Longest version text, in characters: it becomes part of a file name.
const VERSION_CHARS_MAX: usize = 60;

/// The part of every manifest, past and future, that says who it is and which boundary it needs.
#[derive(Deserialize)]
struct Head {
    schema: u32,
    id: String,
    version: Version,
    abi: Abi,
}

/// Parses and judges the manifest of the file at `path`.
pub(super) fn read(json: &str, path: &Path, host: &Host<'_>) -> Result<Manifest, Refusal> {
    let head = head(json).map_err(|fault| Refusal::Elf {
        file: path.to_owned(),
        fault,
    })?;
    // Before the rest is parsed: what a newer manifest says may not even be readable here.
    speaks(&head, host)?;
    let refuse = |fault: ManifestFault| Refusal::Manifest {
        file: path.to_owned(),
        id: head.id.clone(),
        version: head.version.clone(),
        fault: Box::new(fault),
    };
    let manifest = parse(json, head.schema).map_err(refuse)?;
    rules::admit(&manifest, host).map_err(refuse)?;
    Ok(manifest)
}

fn head(json: &str) -> Result<Head, ElfFault> {
    let head: Head =
        serde_json::from_str(json).map_err(|error| ElfFault::Note(one_line(&error.to_string())))?;
    if !names::is_id(&head.id) {
        let id = one_line(&head.id);
        return Err(ElfFault::Note(format!(
            "its id {id:?} is not a lower-case letter and up to 39 of a-z 0-9 _ -"
        )));
    }
    if head.version.to_string().len() > VERSION_CHARS_MAX {
        return Err(ElfFault::Note(format!(
            "its version has more than {VERSION_CHARS_MAX} characters"
        )));
    }
    Ok(head)
}

fn speaks(head: &Head, host: &Host<'_>) -> Result<(), Refusal> {
    if head.abi.major == host.abi.major && head.abi.needs <= host.abi.minor {
        return Ok(());
    }
    Err(Refusal::Abi {
        id: head.id.clone(),
        version: head.version.clone(),
        major: head.abi.major,
        minor: head.abi.needs,
        host_version: host.version.to_owned(),
        host_major: host.abi.major,
        host_minor: host.abi.minor,
    })
}

fn parse(json: &str, schema: u32) -> Result<Manifest, ManifestFault> {
    if schema != SCHEMA {
        return Err(ManifestFault::Shape(format!(
            "its schema is {schema}, this host reads {SCHEMA}"
        )));
    }
    serde_json::from_str(json).map_err(|error| match route_without_access(json) {
        Some(route) => ManifestFault::NoAccess(route),
        None => ManifestFault::Shape(one_line(&error.to_string())),
    })
}

/// A missing access rule is the one omission that deserves more than "missing field".
fn route_without_access(json: &str) -> Option<String> {
    let manifest: Value = serde_json::from_str(json).ok()?;
    let route = manifest
        .get("routes")?
        .as_array()?
        .iter()
        .find(|route| route.get("access").is_none_or(Value::is_null))?;
    let text = |key| route.get(key).and_then(Value::as_str).unwrap_or("?");
    Some(one_line(&format!("{} {}", text("method"), text("path"))))
}
