//! What is known of crashes, as TOML, schema 1.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Event, Streak};
use crate::{
    loader::one_line,
    whole_file::{PRIVATE, WholeFile},
};

const SCHEMA: u32 = 1;

const HEADING: &str = "\
# Crashes of the host on this machine: how many in a row came from which plugin, and what has happened, the newest last.
# Written by nself. A quarantine is lifted by `nself plugin release ID`.

";

/// All of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub(super) plugins: BTreeMap<String, Streak>,
    pub(super) log: Vec<Event>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} does not read: {reason}")]
    Parse { path: String, reason: String },
    #[error("{path} has schema {found}, this host reads {SCHEMA}")]
    Schema { path: String, found: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    schema: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    plugins: BTreeMap<String, Streak>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log: Vec<Event>,
}

/// A file that is not there is an empty one.
pub(super) fn read(path: &Path) -> Result<Document, FileError> {
    let shown = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Document::default()),
        Err(source) => {
            let path = shown();
            return Err(FileError::Read { path, source });
        }
    };
    let toml: Toml = toml::from_str(&text).map_err(|error| FileError::Parse {
        path: shown(),
        reason: one_line(error.message()),
    })?;
    if toml.schema != SCHEMA {
        return Err(FileError::Schema {
            path: shown(),
            found: toml.schema,
        });
    }
    Ok(Document {
        plugins: toml.plugins,
        log: toml.log,
    })
}

/// Replaces the file in one step.
pub(super) fn write(path: &Path, document: &Document) -> io::Result<()> {
    let toml = Toml {
        schema: SCHEMA,
        plugins: document.plugins.clone(),
        log: document.log.clone(),
    };
    let toml = toml::to_string_pretty(&toml).expect("strings, numbers and tables are always TOML");
    WholeFile::write(path, PRIVATE, format!("{HEADING}{toml}").as_bytes())
}

/// Gives a file that nobody can read another name, so that it is in nobody's way and somebody can look at it.
pub(super) fn put_aside(path: &Path) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    match fs::rename(path, &aside) {
        Ok(()) => warn!(file = %Path::new(&aside).display(), "put aside"),
        Err(error) => warn!(file = %path.display(), %error, "cannot put it aside"),
    }
}
