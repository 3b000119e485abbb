//! What lies in the plugin directory and in the store, judged without running any of it.

use std::{collections::BTreeMap, sync::Arc};

use semver::Version;
use tracing::warn;

use super::{Lock, Registry, Standing};
use crate::{
    loader::{self, CheckedPlugin, Refusal, Sha256, store},
    plugin::{lock::LockRefusal, order::Candidate},
};

/// A file in the plugin directory that passed the checks.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) version: Version,
    pub(super) sha256: Sha256,
    pub(super) description: String,
    /// The public key of who signed it.
    pub(super) signer: Option<String>,
}

/// Everything that was found.
#[derive(Default)]
pub(super) struct FoundAll {
    /// Files in the directory, by id.
    pub(super) files: BTreeMap<String, Found>,
    /// The accepted content of every plugin that is to run.
    pub(super) accepted: Vec<Arc<CheckedPlugin>>,
    /// By id, or by file name when the file does not say who it is.
    pub(super) refused: BTreeMap<String, String>,
}

impl FoundAll {
    /// What is to run, for the order of starts.
    pub(super) fn candidates(&self) -> Vec<Candidate<'_>> {
        self.accepted
            .iter()
            .map(|checked| Candidate {
                manifest: &checked.manifest,
                file: &checked.path,
            })
            .collect()
    }
}

impl Registry {
    /// Every file in the directory, checked when it is asked for: only what the caller keeps stays in memory.
    pub(super) fn checked_files(&self) -> impl Iterator<Item = Result<CheckedPlugin, Refusal>> {
        let discovered = loader::discover(&self.directory);
        if let Err(fault) = &discovered {
            warn!("{fault}");
        }
        let (files, refused) = discovered.map_or_else(
            |_| (Vec::new(), Vec::new()),
            |discovered| (discovered.files, discovered.refused),
        );
        let checked = files.into_iter().map(|file| self.check(&file));
        refused.into_iter().map(Err).chain(checked)
    }

    /// The accepted content of a plugin from the store: what runs does not depend on the file that was dropped in.
    pub(super) fn stored(
        &self,
        id: &str,
        version: &Version,
        sha256: &Sha256,
    ) -> Option<Arc<CheckedPlugin>> {
        self.kept(id, version, sha256).ok().flatten()
    }

    /// The same, with why it may not run although it is there.
    fn kept(
        &self,
        id: &str,
        version: &Version,
        sha256: &Sha256,
    ) -> Result<Option<Arc<CheckedPlugin>>, Box<Refusal>> {
        let path = store::path_of(&self.starter.store, id, version, sha256);
        match self.check(&path) {
            Ok(checked) if checked.sha256 == *sha256 => Ok(Some(Arc::new(checked))),
            Err(refusal @ Refusal::Signature { .. }) => Err(Box::new(refusal)),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    pub(super) fn find_all(&self, lock: &Lock) -> FoundAll {
        let mut all = FoundAll::default();
        for checked in self.checked_files() {
            let plugin = match checked {
                Ok(plugin) => plugin,
                Err(refusal) => {
                    warn!("{refusal}");
                    all.refused.insert(name_of(&refusal), refusal.to_string());
                    continue;
                }
            };
            all.files.insert(
                plugin.manifest.id.clone(),
                Found {
                    version: plugin.manifest.version.clone(),
                    sha256: plugin.sha256,
                    description: plugin.manifest.description.clone(),
                    signer: plugin.signer(),
                },
            );
            match lock.admit(&plugin.manifest, &plugin.sha256) {
                Ok(Standing::Enabled) => all.accepted.push(Arc::new(plugin)),
                Ok(Standing::New | Standing::Disabled) => {}
                Err(refusal) => self.instead_of(&plugin, lock, &refusal, &mut all),
            }
        }
        for (id, locked) in lock
            .plugins
            .iter()
            .filter(|(id, locked)| locked.enabled && !all.files.contains_key(*id))
        {
            let reason = match self.kept(id, &locked.version, &locked.sha256) {
                Ok(Some(kept)) => {
                    all.accepted.push(kept);
                    continue;
                }
                Ok(None) => format!(
                    "{id} {} is enabled, but its file is gone: put it back into {}",
                    locked.version,
                    self.directory.display()
                ),
                Err(refusal) => refusal.to_string(),
            };
            all.refused.insert(id.clone(), reason);
        }
        all
    }

    /// A file that is not what was accepted does not keep the accepted version from running.
    fn instead_of(
        &self,
        plugin: &CheckedPlugin,
        lock: &Lock,
        refusal: &LockRefusal,
        all: &mut FoundAll,
    ) {
        let id = &plugin.manifest.id;
        let Some(locked) = lock.plugins.get(id).filter(|locked| locked.enabled) else {
            return;
        };
        warn!(plugin = id, "{refusal}");
        match self.stored(id, &locked.version, &locked.sha256) {
            Some(kept) if lock.admit(&kept.manifest, &kept.sha256).is_ok() => {
                all.accepted.push(kept);
            }
            _ => _ = all.refused.insert(id.clone(), refusal.to_string()),
        }
    }
}

/// What a refusal is listed under.
fn name_of(refusal: &Refusal) -> String {
    refusal.plugin_id().map_or_else(
        || {
            refusal
                .to_string()
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned()
        },
        str::to_owned,
    )
}
