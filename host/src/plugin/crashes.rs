//! Crashes of this host: which plugin they came from, how many there were in a row, and who is left out because of them.
//!
//! A plugin that has crashed the host [`CRASHES_MAX`] times in a row is not started any more: it is **quarantined**, and the host and
//! the others come up. In a row means: without the plugin having run for a while in between (`plugins.good_run_ms`). What is
//! counted is the file, by its hash: another version begins anew.
//!
//! It is kept in a file of the state directory ([`NAME`]), because it has to be known before there is a database, and because each
//! machine has its own crashes. The audit log is told when there is one.

mod begin;
mod file;
mod report;

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::warn;

use self::file::Document;
pub use self::{
    begin::begin,
    report::{Culprit, Report, ReportError},
};
use super::lock::Lock;
use crate::{audit::Entry, loader::Sha256};

/// So many crashes in a row leave a plugin out.
pub const CRASHES_MAX: u32 = 2;

/// The file, in the state directory.
pub const NAME: &str = "crashes.toml";

/// Lines of what has happened that are kept.
const LOG_MAX: usize = 100;

/// What there was, as it stands in the file.
#[derive(Debug, Clone)]
pub struct Crashes {
    path: PathBuf,
    document: Document,
}

/// The crashes of one plugin that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Streak {
    version: String,
    sha256: Sha256,
    crashes: u32,
    quarantined: bool,
    last: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    at: Timestamp,
    /// As the audit log calls it: `plugin.crashed`, `plugin.quarantined`, `plugin.released`, `host.crashed`.
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<String>,
    /// Whether the audit log has it.
    audited: bool,
}

impl Event {
    fn of(action: &str, at: Timestamp) -> Self {
        Self {
            at,
            action: action.to_owned(),
            plugin: None,
            version: None,
            sha256: None,
            signal: None,
            offset: None,
            how: None,
            work: None,
            audited: false,
        }
    }

    fn about(mut self, id: &str, version: &str, sha256: Sha256) -> Self {
        self.plugin = Some(id.to_owned());
        self.version = Some(version.to_owned());
        self.sha256 = Some(sha256);
        self
    }

    fn entry(&self) -> Entry {
        let target = self.plugin.as_deref().unwrap_or("host");
        let mut entry = Entry::new(&*self.action, target);
        entry.details = json!({"at": self.at.to_string()});
        let sha256 = self.sha256.map(|sha256| sha256.to_string());
        for (key, value) in [
            ("version", &self.version),
            ("sha256", &sha256),
            ("signal", &self.signal),
            ("offset", &self.offset),
            ("how", &self.how),
            ("work", &self.work),
        ] {
            if let Some(value) = value {
                entry.details[key] = json!(value);
            }
        }
        entry
    }
}

impl Crashes {
    /// Reads the file. One that does not read is put aside, and said: it keeps nothing from starting.
    pub fn read(state_directory: &Path) -> Self {
        let path = state_directory.join(NAME);
        let document = match file::read(&path) {
            Ok(document) => document,
            Err(refusal) => {
                warn!(error = %refusal, "crashes that were counted so far are forgotten");
                file::put_aside(&path);
                Document::default()
            }
        };
        Self { path, document }
    }

    /// Reads the file without changing anything: for looking.
    pub fn look(state_directory: &Path) -> Self {
        let path = state_directory.join(NAME);
        let document = file::read(&path).unwrap_or_default();
        Self { path, document }
    }

    /// Replaces the file in one step.
    ///
    /// # Errors
    ///
    /// The file system's; the file is as it was then.
    pub fn write(&self) -> io::Result<()> {
        file::write(&self.path, &self.document)
    }

    /// Counts a crash. True when the plugin is quarantined because of it.
    pub fn count(&mut self, report: &Report) -> bool {
        let mut event = Event::of("host.crashed", report.at);
        event.signal = Some(report.signal_name());
        let Some(culprit) = &report.culprit else {
            self.note(event);
            return false;
        };
        "plugin.crashed".clone_into(&mut event.action);
        event.offset = culprit.offset.map(|offset| format!("{offset:#x}"));
        event.how = Some(culprit.how.clone());
        event.work.clone_from(&culprit.work);
        self.note(event.about(&culprit.id, &culprit.version, culprit.sha256));
        let before = self.document.plugins.remove(&culprit.id);
        let before = before.filter(|streak| streak.sha256 == culprit.sha256);
        let crashes = before.map_or(0, |streak| streak.crashes) + 1;
        let quarantined = crashes >= CRASHES_MAX;
        let streak = Streak {
            version: culprit.version.clone(),
            sha256: culprit.sha256,
            crashes,
            last: report.to_string(),
            quarantined,
        };
        if quarantined {
            let event = Event::of("plugin.quarantined", Timestamp::now());
            self.note(event.about(&culprit.id, &culprit.version, culprit.sha256));
        }
        self.document.plugins.insert(culprit.id.clone(), streak);
        quarantined
    }

    /// Why a plugin is left out, if it is: this content of it.
    pub fn quarantined(&self, id: &str, sha256: &Sha256) -> Option<String> {
        let streak = self
            .streak(id, sha256)
            .filter(|streak| streak.quarantined)?;
        Some(format!(
            "{id} {} is quarantined: it crashed the host {} times in a row, the last time with {}: run nself plugin release {id}, or upgrade it",
            streak.version, streak.crashes, streak.last
        ))
    }

    /// Which plugins that are to run are left out, and why.
    pub fn left_out(&self, lock: &Lock) -> Vec<(String, String)> {
        let enabled = lock.plugins.iter().filter(|(_, locked)| locked.enabled);
        let left_out = enabled.filter_map(|(id, locked)| {
            let reason = self.quarantined(id, &locked.sha256)?;
            Some((id.clone(), reason))
        });
        left_out.collect()
    }

    /// Crashes in a row that came from this content of a plugin.
    pub fn in_a_row(&self, id: &str, sha256: &Sha256) -> u32 {
        self.streak(id, sha256).map_or(0, |streak| streak.crashes)
    }

    fn streak(&self, id: &str, sha256: &Sha256) -> Option<&Streak> {
        let streak = self.document.plugins.get(id)?;
        (streak.sha256 == *sha256).then_some(streak)
    }

    /// Forgets the crashes of a plugin that is quarantined, and says which version that was; nothing when it is not.
    pub fn release(&mut self, id: &str) -> Option<String> {
        self.document
            .plugins
            .get(id)
            .filter(|streak| streak.quarantined)?;
        let streak = self.document.plugins.remove(id)?;
        let event = Event::of("plugin.released", Timestamp::now());
        self.note(event.about(id, &streak.version, streak.sha256));
        Some(streak.version)
    }

    /// Forgets the crashes of a plugin that has run well; whether there were any.
    pub fn ran_well(&mut self, id: &str, sha256: &Sha256) -> bool {
        self.streak(id, sha256).is_some() && self.document.plugins.remove(id).is_some()
    }

    /// What the audit log has not been told yet, the oldest first, each with its place.
    pub fn untold(&self) -> Vec<(usize, Entry)> {
        let all = self.document.log.iter().enumerate();
        let untold = all.filter(|(_, event)| !event.audited);
        untold.map(|(at, event)| (at, event.entry())).collect()
    }

    /// It has been told what stands in this place.
    pub fn told(&mut self, at: usize) {
        if let Some(event) = self.document.log.get_mut(at) {
            event.audited = true;
        }
    }

    fn note(&mut self, event: Event) {
        let log = &mut self.document.log;
        log.push(event);
        let beyond = log.len().saturating_sub(LOG_MAX);
        log.drain(..beyond);
    }
}

#[cfg(test)]
mod tests;
