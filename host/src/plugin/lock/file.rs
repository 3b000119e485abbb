//! `plugins.lock` as TOML, schema 1.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Lock, LockError, Locked, Previous};
use crate::loader::{Sha256, one_line};
use crate::plugin::manifest::{Families, Requires, TableGrant};
use crate::whole_file::{PUBLIC, WholeFile};

const SCHEMA: u32 = 1;

const HEADING: &str = "\
# Which plugins this installation has accepted: content, rights, and whether they run.
# Written by `nself plugin`; commit it.

";

#[derive(Deserialize)]
struct Head {
    schema: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    #[serde(default)]
    plugins: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: Version,
    sha256: Sha256,
    enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    provides: Vec<String>,
    #[serde(default)]
    granted: Granted,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Before>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    version: Version,
    sha256: Sha256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    provides: Vec<String>,
    #[serde(default)]
    granted: Granted,
}

/// [`Requires`] without the tolerance for unknown keys: in a file of rights, a misspelt right must not pass silently.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Granted {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    optional: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    egress: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    emits: Vec<String>,
    #[serde(skip_serializing_if = "Families::is_active")]
    families: Families,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tables: Vec<Table>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    table: String,
    rights: Vec<String>,
}

pub(super) fn read(path: &Path) -> Result<Lock, LockError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lock::default()),
        Err(source) => {
            return Err(LockError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    // The schema first: a newer one may have keys that are unknown here.
    let head: Head = toml::from_str(&text).map_err(|error| mistake(path, &text, &error))?;
    if head.schema != SCHEMA {
        return Err(LockError::Schema {
            path: path.to_owned(),
            found: head.schema,
            known: SCHEMA,
        });
    }
    let document: Document = toml::from_str(&text).map_err(|error| mistake(path, &text, &error))?;
    Ok(Lock {
        plugins: document
            .plugins
            .into_iter()
            .map(|(id, entry)| (id, entry.into()))
            .collect(),
    })
}

fn mistake(path: &Path, text: &str, error: &toml::de::Error) -> LockError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..start]
        .split(|byte| *byte == b'\n')
        .count();
    LockError::Parse {
        path: path.to_owned(),
        line,
        reason: one_line(error.message()),
    }
}

pub(super) fn write(lock: &Lock, path: &Path) -> Result<(), LockError> {
    WholeFile::write(path, PUBLIC, text_of(lock).as_bytes()).map_err(|source| LockError::Write {
        path: path.to_owned(),
        source,
    })
}

fn text_of(lock: &Lock) -> String {
    let plugins = lock
        .plugins
        .iter()
        .map(|(id, locked)| (id.clone(), locked.clone().into()))
        .collect();
    let document = Document {
        schema: SCHEMA,
        plugins,
    };
    let toml =
        toml::to_string_pretty(&document).expect("strings, numbers and tables are always TOML");
    format!("{HEADING}{toml}")
}

impl From<Entry> for Locked {
    fn from(entry: Entry) -> Self {
        Self {
            version: entry.version,
            sha256: entry.sha256,
            enabled: entry.enabled,
            signer: entry.signer,
            provides: entry.provides,
            granted: entry.granted.into(),
            previous: entry.previous.map(|before| Previous {
                version: before.version,
                sha256: before.sha256,
                signer: before.signer,
                provides: before.provides,
                granted: before.granted.into(),
            }),
        }
    }
}

impl From<Locked> for Entry {
    fn from(locked: Locked) -> Self {
        Self {
            version: locked.version,
            sha256: locked.sha256,
            enabled: locked.enabled,
            signer: locked.signer,
            provides: locked.provides,
            granted: locked.granted.into(),
            previous: locked.previous.map(|previous| Before {
                version: previous.version,
                sha256: previous.sha256,
                signer: previous.signer,
                provides: previous.provides,
                granted: previous.granted.into(),
            }),
        }
    }
}

impl From<Granted> for Requires {
    fn from(granted: Granted) -> Self {
        let table = |table: Table| TableGrant {
            table: table.table,
            rights: table.rights,
        };
        Self {
            capabilities: granted.capabilities,
            optional: granted.optional,
            tables: granted.tables.into_iter().map(table).collect(),
            egress: granted.egress,
            secrets: granted.secrets,
            ports: granted.ports,
            emits: granted.emits,
            families: granted.families,
        }
    }
}

impl From<Requires> for Granted {
    fn from(requires: Requires) -> Self {
        let table = |grant: TableGrant| Table {
            table: grant.table,
            rights: grant.rights,
        };
        Self {
            capabilities: requires.capabilities,
            optional: requires.optional,
            tables: requires.tables.into_iter().map(table).collect(),
            egress: requires.egress,
            secrets: requires.secrets,
            ports: requires.ports,
            emits: requires.emits,
            families: requires.families,
        }
    }
}
