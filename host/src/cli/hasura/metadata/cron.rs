//! Who fires the cron triggers: Hasura those of `hasura/metadata/cron_triggers.yaml`, and nobody else. A plugin that reads
//! Hasura's format serves a file of its own; if it read this one, each trigger would fire twice.

use std::path::Path;

use serde_json::Value;

use super::super::super::{CliError, Context};
use super::DIRECTORY;
use crate::hasura::{check::Fault, project};

/// Plugins whose configuration names the file of the metadata, as long as there are triggers in it.
pub(super) fn run_twice(context: &Context, document: &Value) -> Result<Vec<Fault>, CliError> {
    let triggers = document["cron_triggers"].as_array();
    if triggers.is_none_or(Vec::is_empty) {
        return Ok(vec![]);
    }
    let root = context.directory()?;
    let file = project::cron_triggers(&root.join(DIRECTORY));
    let (config, _) = context.config()?;
    let plugins = config.plugins.by_id.iter();
    let readers = plugins.filter(|(_, plugin)| {
        plugin.config.values().any(|value| {
            let named = value.as_str().map(|path| root.join(path));
            named.is_some_and(|path| is_same(&path, &file))
        })
    });
    let fault = |id: &String| Fault {
        place: "cron_triggers.yaml".to_owned(),
        problem: format!(
            "the plugin {id} reads it as well, so each trigger would fire twice: move those that the plugin fires to a file of their own"
        ),
    };
    Ok(readers.map(|(id, _)| fault(id)).collect())
}

/// Whether both are one file, by whatever way.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}
