//! Which plugins may run beside each other, and in which order they start.
//!
//! A plugin that cannot run is refused together with those that need it; all others start. The answer depends on the
//! manifests and their order only.

mod clashes;
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use semver::{Version, VersionReq};
use thiserror::Error;

use super::manifest::Manifest;

/// A plugin that passed the loader's checks.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What it declares.
    pub manifest: &'a Manifest,
    /// Where it was found, for messages.
    pub file: &'a Path,
}

/// The answer.
#[derive(Debug, PartialEq)]
pub struct Order {
    /// Ids in starting order: every plugin after those that it needs, otherwise by name. Stop in reverse.
    pub start: Vec<String>,
    /// Who does not start, and why; by id.
    pub refused: BTreeMap<String, OrderRefusal>,
}

/// Why a plugin cannot run among the others.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum OrderRefusal {
    /// Two files claim one id.
    #[error("{id} is there twice ({files}): keep one of them", files = shown(files))]
    Twice {
        /// The id.
        id: String,
        /// The files, by name.
        files: Vec<PathBuf>,
    },
    /// A dependency is not there.
    #[error(
        "{id} needs the plugin {dependency} {wanted}, which is not enabled: run nself plugin enable {dependency}"
    )]
    Missing {
        /// The id.
        id: String,
        /// What it needs.
        dependency: String,
        /// In which versions.
        wanted: VersionReq,
    },
    /// A dependency is there in the wrong version.
    #[error(
        "{id} needs {dependency} {wanted}, {found} is here: install a matching {dependency}, or another {id}"
    )]
    Version {
        /// The id.
        id: String,
        /// What it needs.
        dependency: String,
        /// In which versions.
        wanted: VersionReq,
        /// The version that is here.
        found: Version,
    },
    /// Nobody offers a capability.
    #[error(
        "{id} needs the capability {capability}, which no enabled plugin offers: enable one that does"
    )]
    NoProvider {
        /// The id.
        id: String,
        /// The capability.
        capability: String,
    },
    /// Each waits for the other.
    #[error("{id} is part of a dependency cycle ({path}): break it in one of their manifests", path = path.join(" -> "))]
    Cycle {
        /// The id.
        id: String,
        /// From the first id by name back to it.
        path: Vec<String>,
    },
    /// Another plugin answers the same requests.
    #[error("{id} has the route {route}, which {holder} has too ({held}): disable one of the two")]
    Route {
        /// The id.
        id: String,
        /// Its route.
        route: String,
        /// Who has it.
        holder: String,
        /// The other's route.
        held: String,
    },
    /// Another plugin offers the same capability.
    #[error(
        "{id} offers the capability {capability}, which {holder} offers too: disable one of the two"
    )]
    Provides {
        /// The id.
        id: String,
        /// The capability.
        capability: String,
        /// Who offers it.
        holder: String,
    },
    /// Another plugin has what only one may have.
    #[error(
        "{id} asks for {capability}, which only one plugin may have, and {holder} has it: run nself plugin disable {holder} first"
    )]
    Exclusive {
        /// The id.
        id: String,
        /// The capability.
        capability: String,
        /// Who has it.
        holder: String,
    },
    /// What it needs was refused.
    #[error("{id} needs {dependency}, which was refused: {reason}")]
    Dependency {
        /// The id.
        id: String,
        /// What it needs.
        dependency: String,
        /// Why that one was refused.
        reason: String,
    },
}

fn shown(files: &[PathBuf]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    files.join(" and ")
}

/// Orders the candidates.
///
/// `candidates` in order of precedence: where two of them claim one route or capability, the earlier keeps it (running
/// plugins first, so that a newcomer cannot push one out). `refused` are plugins that the loader or the lock refused,
/// by id with the reason: who needs one of them is told that reason.
pub fn order(candidates: &[Candidate<'_>], refused: &BTreeMap<String, String>) -> Order {
    let mut plan = Plan {
        candidates,
        alive: Vec::new(),
        refused: BTreeMap::new(),
        outside: refused,
    };
    plan.admit_single();
    // Each round ends in a refusal or with the plan; a refusal can free a route or take a provider away.
    while plan.refuse_unmet() || plan.refuse_cycles() || plan.refuse_clash() {}
    Order {
        start: needs::start_order(&plan.alive),
        refused: plan.refused,
    }
}

/// All ids that need `id`, directly or not, in stopping order: `id` itself can stop after them.
pub fn dependents_of(id: &str, running: &[Candidate<'_>]) -> Vec<String> {
    let mut affected = BTreeSet::from([id.to_owned()]);
    let order = needs::start_order(running);
    // In starting order one pass finds them all: who needs somebody starts after it.
    for one in &order {
        let Some(candidate) = running
            .iter()
            .find(|candidate| candidate.manifest.id == *one)
        else {
            continue;
        };
        if needs::needed_ids(candidate, running).any(|needed| affected.contains(needed)) {
            affected.insert(one.clone());
        }
    }
    order
        .into_iter()
        .rev()
        .filter(|one| one != id && affected.contains(one))
        .collect()
}

struct Plan<'a> {
    candidates: &'a [Candidate<'a>],
    alive: Vec<Candidate<'a>>,
    refused: BTreeMap<String, OrderRefusal>,
    outside: &'a BTreeMap<String, String>,
}

impl Plan<'_> {
    /// Of two files with one id neither runs: the host cannot know which one is meant.
    fn admit_single(&mut self) {
        for candidate in self.candidates {
            let id = &candidate.manifest.id;
            let same = self
                .candidates
                .iter()
                .filter(|other| other.manifest.id == *id);
            let mut files: Vec<PathBuf> = same.map(|other| other.file.to_owned()).collect();
            if files.len() == 1 {
                self.alive.push(*candidate);
            } else {
                files.sort();
                self.refused.insert(
                    id.clone(),
                    OrderRefusal::Twice {
                        id: id.clone(),
                        files,
                    },
                );
            }
        }
    }

    fn refuse_unmet(&mut self) -> bool {
        let unmet: Vec<_> = self
            .alive
            .iter()
            .filter_map(|one| needs::unmet(one, self))
            .collect();
        self.refuse(unmet)
    }

    fn refuse_cycles(&mut self) -> bool {
        let cycles = needs::cycles(&self.alive);
        self.refuse(cycles)
    }

    /// One at a time: the refused one holds nothing against those after it.
    fn refuse_clash(&mut self) -> bool {
        let clash = clashes::first(&self.alive);
        self.refuse(clash.into_iter().collect())
    }

    fn refuse(&mut self, refusals: Vec<(String, OrderRefusal)>) -> bool {
        let some = !refusals.is_empty();
        self.refused.extend(refusals);
        self.alive
            .retain(|one| !self.refused.contains_key(&one.manifest.id));
        some
    }

    /// Why a plugin that is not alive was refused, if it was.
    fn reason(&self, id: &str) -> Option<String> {
        let here = self.refused.get(id).map(ToString::to_string);
        here.or_else(|| self.outside.get(id).cloned())
    }
}

#[cfg(test)]
mod tests;
