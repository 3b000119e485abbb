//! Pieces of metadata that come with plugins: one table each.

use serde_json::Value;

use super::{TableName, kept};
use crate::plugin::manifest::Manifest;

/// A table entry, and whose it is.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// The plugin's id.
    pub plugin: String,
    /// The file's name.
    pub name: String,
    /// The table.
    pub table: TableName,
    /// The entry, as the plugin wrote it.
    pub entry: Value,
}

/// Why a fragment is none.
#[derive(Debug, thiserror::Error)]
#[error("the fragment {name} of {plugin} {problem}")]
pub struct FragmentError {
    plugin: String,
    name: String,
    problem: String,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    ///
    /// When it is no YAML, names no table, or one that is not the plugin's own.
    pub fn read(plugin: &str, name: &str, yaml: &str) -> Result<Self, FragmentError> {
        let refuse = |problem: String| FragmentError {
            plugin: plugin.to_owned(),
            name: name.to_owned(),
            problem,
        };
        let entry: Value =
            serde_norway::from_str(yaml).map_err(|error| refuse(format!("is no YAML: {error}")))?;
        let table = TableName::read(&entry["table"]).ok_or_else(|| {
            refuse("names no table: write `table: { name: .., schema: .. }`".to_owned())
        })?;
        // What another may see of a table is for its owner to say.
        if table.schema != plugin {
            return Err(refuse(format!(
                "is about {table}, which is not the plugin's own"
            )));
        }
        // So that those of the project, which stay when the plugin's change, can be told from them.
        let triggers = entry["event_triggers"].as_array().into_iter().flatten();
        for trigger in triggers {
            let trigger = trigger["name"].as_str().unwrap_or_default();
            if !kept::is_of_plugin(&table, trigger) {
                return Err(refuse(format!(
                    "calls an event trigger {trigger:?}: begin its name with {}_",
                    plugin.replace('-', "_")
                )));
            }
        }
        Ok(Self {
            plugin: plugin.to_owned(),
            name: name.to_owned(),
            table,
            entry,
        })
    }

    /// All of a plugin.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn all(manifest: &Manifest) -> Result<Vec<Self>, FragmentError> {
        let fragments = manifest.hasura.iter();
        let read = fragments.map(|one| Self::read(&manifest.id, &one.name, &one.yaml));
        read.collect()
    }
}
