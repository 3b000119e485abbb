//! The plugins as an operator sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use deadpool_postgres::Pool;
use serde::{Deserialize, Serialize};

use super::{Inner, files::Found};
use crate::{
    config::{Config, Isolation},
    loader::{Signer, Trust},
    plugin::{instance::Running, manifest::Command},
    telemetry::resident_bytes,
};

/// The state of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A file lies in the directory; nobody has accepted it.
    Discovered,
    /// It runs.
    Started,
    /// It ends, and finishes what is under way.
    Draining,
    /// It was accepted, and is disabled.
    Stopped,
    /// It should run, and does not.
    Failed,
    /// It should run, and is left out because it crashed the host.
    Quarantined,
}

/// One plugin, for lists.
#[derive(Debug, Clone, Serialize)]
pub struct PluginView {
    /// Its id, or the name of a file that does not say.
    pub id: String,
    /// The version that runs, or would.
    pub version: Option<String>,
    /// Its state.
    pub state: State,
    /// Why it failed or is degraded.
    pub reason: Option<String>,
    /// Whether it panics or its tasks fail again and again.
    pub degraded: bool,
    /// Whether it is to run.
    pub enabled: bool,
    /// What it does.
    pub description: String,
    /// Hash of what runs, or would.
    pub sha256: Option<String>,
    /// Who signed that, when one did who was trusted.
    pub signer: Option<Signer>,
    /// Where it runs; nothing when it does not.
    pub isolation: Option<Isolation>,
    /// Port of its own.
    pub port: Option<u16>,
    /// A version in the directory that is not the accepted one.
    pub available: Option<String>,
    /// Capabilities that it offers to others.
    pub provides: Vec<String>,
    /// Capabilities of others that it uses where they are provided.
    pub optional: Vec<String>,
    /// Whether it is left out because it, or what it needs, crashed the host: the host does without.
    #[serde(skip)]
    pub(crate) left_out: bool,
    #[serde(skip)]
    running: Weak<Running>,
}

impl PluginView {
    /// The commands that it adds to the command line; none unless it runs.
    pub fn commands(&self) -> Vec<Command> {
        let running = self.running.upgrade();
        running.map_or_else(Vec::new, |running| running.manifest().commands.clone())
    }

    /// What they are called under; its id when that is empty.
    pub fn command(&self) -> String {
        let running = self.running.upgrade();
        running.map_or_else(String::new, |running| running.manifest().command.clone())
    }

    /// What it uses now; nothing when it does not run.
    pub fn usage(&self) -> Usage {
        let running = self.running.upgrade();
        let running = running.as_deref();
        Usage {
            memory_bytes: running.and_then(Running::process).and_then(resident_bytes),
            database: running.and_then(Running::pool).map(Connections::of),
        }
    }

    /// The same with the health of this moment.
    pub(super) fn refreshed(&self) -> Self {
        let mut view = self.clone();
        if let Some(running) = self.running.upgrade() {
            view.reason = running.health().degraded();
            view.degraded = view.reason.is_some();
            if running.generation().is_draining() {
                view.state = State::Draining;
            }
        }
        view
    }
}

/// What a plugin uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Resident memory of the process that it has of its own, bytes.
    pub memory_bytes: Option<u64>,
    /// Its connections to the database.
    pub database: Option<Connections>,
}

/// A pool of connections to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Those in use.
    pub busy: usize,
    /// Those that are open.
    pub open: usize,
    /// As many as there may be.
    pub max: usize,
    /// Who waits for one.
    pub waiting: usize,
}

impl Connections {
    /// Those of `pool` at this moment.
    pub fn of(pool: &Pool) -> Self {
        let status = pool.status();
        Self {
            busy: status.size.saturating_sub(status.available),
            open: status.size,
            max: status.max_size,
            waiting: status.waiting,
        }
    }
}

pub(super) fn of(
    inner: &Inner,
    files: &BTreeMap<String, Found>,
    config: &Config,
    trust: &Trust,
) -> Vec<PluginView> {
    let ids: BTreeSet<&String> = files
        .keys()
        .chain(inner.lock.plugins.keys())
        .chain(inner.refused.keys())
        .collect();
    ids.into_iter()
        .map(|id| view(id, inner, files, config, trust))
        .collect()
}

fn view(
    id: &str,
    inner: &Inner,
    files: &BTreeMap<String, Found>,
    config: &Config,
    trust: &Trust,
) -> PluginView {
    let (running, locked, file) = (inner.running(id), inner.lock.plugins.get(id), files.get(id));
    let reason = inner.refused.get(id).cloned();
    let sha256 = running
        .map(|running| *running.sha256())
        .or_else(|| locked.map(|locked| locked.sha256))
        .or_else(|| file.map(|file| file.sha256));
    let version = running
        .map(|running| running.manifest().version.clone())
        .or_else(|| locked.map(|locked| locked.version.clone()))
        .or_else(|| file.map(|file| file.version.clone()));
    let description = running
        .map(|running| running.manifest().description.clone())
        .or_else(|| file.map(|file| file.description.clone()));
    let of_file = file.filter(|file| Some(file.sha256) == sha256);
    let of_lock = locked.filter(|locked| Some(locked.sha256) == sha256);
    let signer = of_file
        .and_then(|file| file.signer.as_deref())
        .or_else(|| of_lock.and_then(|locked| locked.signer.as_deref()));
    PluginView {
        id: id.to_owned(),
        state: match (running, &reason, locked) {
            (Some(_), ..) => State::Started,
            (None, Some(_), _) if inner.quarantined.contains(id) => State::Quarantined,
            (None, Some(_), _) => State::Failed,
            (None, None, Some(_)) => State::Stopped,
            (None, None, None) => State::Discovered,
        },
        available: file
            .filter(|file| locked.is_some() && sha256.is_some_and(|sha256| sha256 != file.sha256))
            .map(|file| file.version.to_string()),
        enabled: locked.is_some_and(|locked| locked.enabled),
        degraded: false,
        reason,
        version: version.map(|version| version.to_string()),
        description: description.unwrap_or_default(),
        sha256: sha256.map(|sha256| sha256.to_string()),
        signer: signer.and_then(|key| trust.signer(key)),
        isolation: running.map(|running| running.isolation()),
        port: running.and_then(|_| config.plugin_port(id)),
        provides: running
            .map(|running| running.manifest().provides.clone())
            .unwrap_or_default(),
        optional: running
            .map(|running| running.manifest().requires.optional.clone())
            .unwrap_or_default(),
        left_out: inner.quarantined.contains(id) || inner.waiting.contains(id),
        running: running.map(Arc::downgrade).unwrap_or_default(),
    }
}
