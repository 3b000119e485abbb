//! `plugins.lock`: which content of which plugin the operator has accepted, with which rights.
//!
//! A file in the plugin directory is an offer. What runs is what stands here: this exact content, with these grants.
//! The file is meant to be committed; it holds no secrets.

mod file;
mod grants;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::Version;
use thiserror::Error;

use super::manifest::{Manifest, Requires, is_exclusive};
use crate::{
    loader::{Sha256, one_line},
    minisign::PublicKey,
};

pub use grants::missing as missing_grants;

/// The accepted plugins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lock {
    /// By id: the file's order is the ids' order, so that a diff shows what changed.
    pub plugins: BTreeMap<String, Locked>,
}

/// One accepted plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Locked {
    /// The accepted version.
    pub version: Version,
    /// The accepted content.
    pub sha256: Sha256,
    /// Whether it is to run.
    pub enabled: bool,
    /// The public key of who signed the file, when one did who was trusted; of the machine's own key only that it was that.
    pub signer: Option<String>,
    /// What it offers to others: known also while it does not run, and when its file is gone.
    pub provides: Vec<String>,
    /// What it may reach.
    pub granted: Requires,
    /// What ran before the last upgrade: the target of a rollback.
    pub previous: Option<Previous>,
}

/// The plugin before its last upgrade.
#[derive(Debug, Clone, PartialEq)]
pub struct Previous {
    /// Its version.
    pub version: Version,
    /// Its content.
    pub sha256: Sha256,
    /// Who had signed it.
    pub signer: Option<String>,
    /// What it offered to others.
    pub provides: Vec<String>,
    /// What it was allowed to reach: going back must not need a new consent.
    pub granted: Requires,
}

/// What the lock says about a file that is just what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has accepted a plugin of this id.
    New,
    /// Accepted, but not to run.
    Disabled,
    /// Accepted and to run.
    Enabled,
}

/// Why a file is not what was accepted.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LockRefusal {
    /// Other bytes under the same id.
    #[error(
        "{id} {version} is not the file that was accepted (sha256 {found}, plugins.lock has {locked_version} with {locked}): run nself plugin upgrade {id} if you want it"
    )]
    Changed {
        /// The plugin's id.
        id: String,
        /// The version in the file.
        version: Version,
        /// The file's content.
        found: Box<Sha256>,
        /// The accepted version.
        locked_version: Version,
        /// The accepted content.
        locked: Box<Sha256>,
    },
    /// It asks for more than it may have.
    #[error("{id} {version} asks for more than was granted ({missing}): run nself plugin grant {offer} if you agree", missing = missing.join(", "))]
    NotGranted {
        /// The plugin's id.
        id: String,
        /// Its version.
        version: Version,
        /// One phrase per right that is missing.
        missing: Vec<String>,
        /// What the operator calls it: the id, or a file that was offered.
        offer: String,
    },
    /// It asks for what only one plugin may have.
    #[error(
        "{id} asks for {capability}, which only one plugin may have, and {holder} has it: run nself plugin disable {holder} first"
    )]
    Held {
        /// The plugin's id.
        id: String,
        /// The capability.
        capability: String,
        /// Who has it.
        holder: String,
    },
    /// Somebody else stands for it than before.
    #[error(
        "{id} {version} is signed by {found}, and what was accepted by {locked}: run nself plugin upgrade {offer} --new-signer if you know why"
    )]
    Signer {
        /// The plugin's id.
        id: String,
        /// Its version.
        version: Version,
        /// Who signed this file, in words.
        found: String,
        /// Who signed the accepted one, in words.
        locked: String,
        /// What the operator calls it: the id, or a file that was offered.
        offer: String,
    },
    /// There is no such plugin.
    #[error("no plugin {id} in plugins.lock: run nself plugin enable {id} first")]
    Unknown {
        /// The id that was asked for.
        id: String,
    },
    /// There is nothing to go back to.
    #[error("{id} has no previous version in plugins.lock: nothing to roll back to")]
    NoPrevious {
        /// The plugin's id.
        id: String,
    },
}

/// Why `plugins.lock` itself cannot be used.
#[derive(Debug, Error)]
pub enum LockError {
    /// It is there and cannot be read.
    #[error("cannot read {path} ({source}): make it readable for the user that runs nself")]
    Read {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is damaged, or edited by hand with a mistake.
    #[error("{path}, line {line}: {reason}: correct it, or restore it from version control")]
    Parse {
        /// The lock file.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A newer host wrote it.
    #[error("{path} has schema {found}, this host reads {known}: upgrade nself")]
    Schema {
        /// The lock file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It cannot be written; the old one is untouched.
    #[error(
        "cannot write {path} ({source}): check the directory and the disk; the file is unchanged"
    )]
    Write {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Lock {
    /// Reads the lock; a file that does not exist is an empty lock.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        file::read(path)
    }

    /// Replaces the file in one step: a reader, or a host that is killed here, finds the old or the new one.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        file::write(self, path)
    }

    /// Compares a checked file with what was accepted.
    ///
    /// # Errors
    ///
    /// [`LockRefusal::Changed`] and [`LockRefusal::NotGranted`]. A plugin that nobody accepted is no error but
    /// [`Standing::New`].
    pub fn admit(&self, manifest: &Manifest, sha256: &Sha256) -> Result<Standing, LockRefusal> {
        let Some(locked) = self.plugins.get(&manifest.id) else {
            return Ok(Standing::New);
        };
        if locked.sha256 != *sha256 {
            return Err(LockRefusal::Changed {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                found: Box::new(*sha256),
                locked_version: locked.version.clone(),
                locked: Box::new(locked.sha256),
            });
        }
        let missing = missing_grants(&manifest.requires, &locked.granted);
        if !missing.is_empty() {
            return Err(LockRefusal::NotGranted {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                missing,
                offer: manifest.id.clone(),
            });
        }
        Ok(if locked.enabled {
            Standing::Enabled
        } else {
            Standing::Disabled
        })
    }

    /// Rights that a newer file of an accepted plugin asks for beyond what was granted: an upgrade needs consent when
    /// there are any. Everything is missing when nobody accepted the plugin.
    pub fn missing(&self, manifest: &Manifest) -> Vec<String> {
        let nothing = Requires::default();
        let granted = self
            .plugins
            .get(&manifest.id)
            .map_or(&nothing, |locked| &locked.granted);
        missing_grants(&manifest.requires, granted)
    }

    /// Whether a plugin that is to run leaves it what only one plugin may have.
    ///
    /// # Errors
    ///
    /// [`LockRefusal::Held`].
    pub fn may_have(&self, manifest: &Manifest) -> Result<(), LockRefusal> {
        let asked = &manifest.requires.capabilities;
        let others = || {
            self.plugins
                .iter()
                .filter(|(id, locked)| **id != manifest.id && locked.enabled)
        };
        for capability in asked.iter().filter(|id| is_exclusive(id)) {
            let has = |locked: &Locked| locked.granted.capabilities.contains(capability);
            if let Some((holder, _)) = others().find(|(_, locked)| has(locked)) {
                return Err(LockRefusal::Held {
                    id: manifest.id.clone(),
                    capability: capability.clone(),
                    holder: holder.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether a file that is to take a plugin's place is signed by who signed that. What nobody had signed may get any signer.
    ///
    /// # Errors
    ///
    /// [`LockRefusal::Signer`].
    pub fn same_signer(
        &self,
        manifest: &Manifest,
        signer: Option<&str>,
        offer: &str,
    ) -> Result<(), LockRefusal> {
        let locked = self.plugins.get(&manifest.id);
        match locked.and_then(|locked| locked.signer.as_deref()) {
            Some(before) if signer != Some(before) => Err(LockRefusal::Signer {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                found: signer.map_or_else(|| "nobody who is trusted".to_owned(), key_named),
                locked: key_named(before),
                offer: offer.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Accepts this content, grants what it asks for and no more, and enables it. What was accepted before becomes the
    /// target of a rollback. `signer` is the public key of who signed it.
    pub fn accept(&mut self, manifest: &Manifest, sha256: Sha256, signer: Option<String>) {
        let before = self.plugins.remove(&manifest.id);
        let previous = before.and_then(|before| {
            if before.sha256 == sha256 {
                before.previous
            } else {
                Some(before.into())
            }
        });
        let locked = Locked {
            version: manifest.version.clone(),
            sha256,
            enabled: true,
            signer,
            provides: manifest.provides.clone(),
            granted: manifest.requires.clone(),
            previous,
        };
        self.plugins.insert(manifest.id.clone(), locked);
    }

    /// Stores whether an accepted plugin is to run.
    pub fn set_enabled(&mut self, id: &str, enabled: bool) -> Result<(), LockRefusal> {
        self.locked_mut(id)?.enabled = enabled;
        Ok(())
    }

    /// Accepts the previous content again; a second rollback undoes the first.
    pub fn roll_back(&mut self, id: &str) -> Result<(), LockRefusal> {
        let locked = self.locked_mut(id)?;
        let Some(previous) = locked.previous.take() else {
            return Err(LockRefusal::NoPrevious { id: id.to_owned() });
        };
        locked.previous = Some(locked.clone().into());
        locked.version = previous.version;
        locked.sha256 = previous.sha256;
        locked.provides = previous.provides;
        locked.granted = previous.granted;
        locked.signer = previous.signer;
        Ok(())
    }

    fn locked_mut(&mut self, id: &str) -> Result<&mut Locked, LockRefusal> {
        self.plugins
            .get_mut(id)
            .ok_or_else(|| LockRefusal::Unknown { id: id.to_owned() })
    }
}

impl From<Locked> for Previous {
    fn from(locked: Locked) -> Self {
        Self {
            version: locked.version,
            sha256: locked.sha256,
            signer: locked.signer,
            provides: locked.provides,
            granted: locked.granted,
        }
    }
}

/// A key by the number that people know it by.
fn key_named(key: &str) -> String {
    let parsed: Result<PublicKey, _> = key.parse();
    parsed.map_or_else(|_| one_line(key), |key| format!("key {}", key.id()))
}

#[cfg(test)]
mod tests;
