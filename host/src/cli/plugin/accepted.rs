//! The plugins of `plugins.lock` with their manifests, whether a host runs or not.

use std::collections::BTreeMap;

use super::{
    super::{CliError, Context},
    check, offline,
};
use crate::{
    loader::{self, CheckedPlugin, Host, System, store},
    plugin::{
        lock::Locked,
        manifest::Manifest,
        order::{Candidate, order},
    },
};

/// What the operator has accepted.
pub(in crate::cli) struct Accepted {
    /// Each after those that it needs; the disabled ones last.
    pub(in crate::cli) plugins: Vec<AcceptedPlugin>,
    /// Why one of them cannot be told about; one line each.
    pub(in crate::cli) missing: Vec<String>,
}

/// One of them.
pub(in crate::cli) struct AcceptedPlugin {
    pub(in crate::cli) manifest: Manifest,
    pub(in crate::cli) enabled: bool,
}

/// Reads the lock and the manifests: from the store, or before the first start from the plugin directory.
pub(in crate::cli) fn accepted(context: &Context) -> Result<Accepted, CliError> {
    let (lock, _) = offline::open(context)?;
    let mut accepted = Accepted {
        plugins: Vec::new(),
        missing: Vec::new(),
    };
    if lock.plugins.is_empty() {
        return Ok(accepted);
    }
    let (config, _) = context.config()?;
    let store = config.state_directory().join("store");
    let (system, trust) = (System::detect(), check::trusted(context)?);
    let (dropped, _) = check::checked(context)?;
    let mut found = Vec::new();
    for (id, locked) in &lock.plugins {
        let kept = loader::check(
            &store::path_of(&store, id, &locked.version, &locked.sha256),
            &Host::this(&system, &trust),
        );
        let is_it =
            |plugin: &&CheckedPlugin| plugin.manifest.id == *id && plugin.sha256 == locked.sha256;
        match kept
            .ok()
            .as_ref()
            .filter(is_it)
            .or(dropped.iter().find(is_it))
        {
            Some(plugin) => found.push((plugin.manifest.clone(), plugin.path.clone(), locked)),
            None => accepted.missing.push(gone(id, locked)),
        }
    }
    let enabled = found.iter().filter(|(_, _, locked)| locked.enabled);
    let candidates: Vec<Candidate<'_>> = enabled
        .map(|(manifest, file, _)| Candidate { manifest, file })
        .collect();
    let order = order(&candidates, &BTreeMap::new()).start;
    // Those that cannot run come after those that can: what they need is not there.
    found.sort_by_key(|(manifest, ..)| {
        order
            .iter()
            .position(|id| *id == manifest.id)
            .unwrap_or(usize::MAX)
    });
    let plugin = |(manifest, _, locked): (Manifest, _, &Locked)| AcceptedPlugin {
        manifest,
        enabled: locked.enabled,
    };
    accepted.plugins = found.into_iter().map(plugin).collect();
    Ok(accepted)
}

fn gone(id: &str, locked: &Locked) -> String {
    format!(
        "{id} {}: the accepted file is neither in the plugin directory nor in the store: put it back",
        locked.version
    )
}
