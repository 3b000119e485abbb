//! Plugins that crashed the host are left out, until somebody lets them in again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tracing::{error, warn};

use super::{ChangeError, Inner, Migrate, Registry, files::FoundAll};
use crate::{
    audit::{self, Entry},
    loader::Sha256,
    plugin::{
        crashes::{self, Crashes},
        instance::Running,
        order::dependents_of,
    },
};

/// What lifting a quarantine did, for the operator.
#[derive(Debug, Clone, Serialize)]
pub struct Released {
    /// The plugin.
    pub id: String,
    /// The version that had been quarantined.
    pub version: String,
    /// What was started: the plugin, and those that had to wait for it.
    pub started: Vec<String>,
    /// Why one of them does not run all the same.
    pub failed: BTreeMap<String, String>,
}

impl Registry {
    /// Takes the quarantined plugins out of what is to start, and those that need one of them.
    pub(super) fn leave_out_quarantined(&self, inner: &mut Inner, found: &mut FoundAll) {
        let crashes = locked(&self.crashes);
        let candidates = found.candidates();
        let mut reasons = BTreeMap::new();
        for checked in &found.accepted {
            let id = &checked.manifest.id;
            let Some(reason) = crashes.quarantined(id, &checked.sha256) else {
                continue;
            };
            for dependent in dependents_of(id, &candidates) {
                let why = format!(
                    "{dependent} needs {id}, which is quarantined: run nself plugin release {id}, or upgrade it"
                );
                inner.waiting.insert(dependent.clone());
                reasons.entry(dependent).or_insert(why);
            }
            inner.quarantined.insert(id.clone());
            reasons.insert(id.clone(), reason);
        }
        for (id, reason) in &reasons {
            error!(plugin = id, "{reason}");
        }
        let runs = |id: &String| !reasons.contains_key(id);
        found.accepted.retain(|checked| runs(&checked.manifest.id));
        found.refused.extend(reasons);
    }

    /// Why this content of a plugin is not started, if it is quarantined.
    pub(super) fn not_quarantined(&self, id: &str, sha256: &Sha256) -> Result<(), ChangeError> {
        let reason = locked(&self.crashes).quarantined(id, sha256);
        reason.map_or(Ok(()), |reason| Err(ChangeError::Quarantined(reason)))
    }

    /// Brings the metrics up to date.
    pub(super) fn show_crashes(&self, inner: &Inner) {
        let services = &self.settings.services;
        // Held while they are set: whoever changes what is known sets them in the same way.
        let crashes = locked(&self.crashes);
        for (id, locked) in &inner.lock.plugins {
            let in_a_row = crashes.in_a_row(id, &locked.sha256);
            services
                .crashes
                .with_label_values(&[id])
                .set(in_a_row.into());
            let is_left_out = inner.quarantined.contains(id);
            let gauge = services.quarantined.with_label_values(&[id]);
            gauge.set(is_left_out.into());
        }
    }

    /// Lets a quarantined plugin in again and starts it, with those that need it, if it is to run.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NotQuarantined`], or [`ChangeError::Crashes`] when that cannot be kept; nothing has changed then.
    pub async fn release(&self, id: &str) -> Result<Released, ChangeError> {
        let mut inner = self.state.lock().await;
        let version = self.forget(|crashes| crashes.release(id))?;
        let version = version.ok_or_else(|| ChangeError::NotQuarantined(id.to_owned()))?;
        // Before it starts: it may crash the host again.
        self.tell_crashes().await;
        let mut released = Released {
            id: id.to_owned(),
            version,
            started: Vec::new(),
            failed: BTreeMap::new(),
        };
        inner.refused.remove(id);
        let was_left_out = inner.quarantined.remove(id);
        if was_left_out {
            self.bring_back(&mut inner, id, &mut released).await;
        }
        self.refresh(&inner);
        Ok(released)
    }

    /// Starts what was quarantined and then those that waited, each after what it needs.
    async fn bring_back(&self, inner: &mut Inner, id: &str, released: &mut Released) {
        let mut next = Some(id.to_owned());
        while let Some(id) = next.take() {
            match self.start_again(inner, &id).await {
                Ok(()) => released.started.push(id),
                Err(failure) => {
                    error!(plugin = id, "{failure}");
                    inner.refused.insert(id.clone(), failure.to_string());
                    released.failed.insert(id, failure.to_string());
                }
            }
            next = self.first_that_fits(inner);
            if let Some(id) = &next {
                inner.waiting.remove(id);
            }
        }
    }

    /// One of those that wait, if all that it needs runs now.
    fn first_that_fits(&self, inner: &Inner) -> Option<String> {
        let mut waiting = inner.waiting.iter();
        let found = waiting.find(|id| {
            let locked = inner.lock.plugins.get(*id);
            let locked = locked.filter(|locked| locked.enabled);
            let kept = locked.and_then(|locked| self.stored(id, &locked.version, &locked.sha256));
            kept.is_some_and(|kept| Self::fits(inner, &kept).is_ok())
        });
        found.cloned()
    }

    /// Starts the accepted content of a plugin that is to run and does not.
    async fn start_again(&self, inner: &mut Inner, id: &str) -> Result<(), ChangeError> {
        let locked = inner.lock.plugins.get(id).cloned();
        let Some(locked) = locked.filter(|locked| locked.enabled) else {
            return Err(ChangeError::NotRunning(id.to_owned()));
        };
        let checked = match self.stored(id, &locked.version, &locked.sha256) {
            Some(kept) => kept,
            None => self.file(id)?,
        };
        Self::fits(inner, &checked)?;
        let running = self.bring_up(&checked, Migrate::Up, &inner.running).await?;
        self.record_running(&running).await;
        let mut all = inner.running.clone();
        all.push(Arc::clone(&running));
        let lock = inner.lock.clone();
        self.commit(inner, lock, all, &running).await?;
        self.refresh(inner);
        Ok(())
    }

    /// Tells the audit log what it has not been told of crashes. Without a database it waits for the next start.
    pub(super) async fn tell_crashes(&self) {
        let untold = locked(&self.crashes).untold();
        if untold.is_empty() {
            return;
        }
        for (at, entry) in untold {
            if let Err(failure) = self.tell(&entry).await {
                warn!(
                    action = entry.action,
                    error = failure,
                    "cannot append to the audit log"
                );
                break;
            }
            locked(&self.crashes).told(at);
        }
        if let Err(error) = locked(&self.crashes).write() {
            warn!(file = crashes::NAME, %error, "what was told of crashes will be told again");
        }
    }

    async fn tell(&self, entry: &Entry) -> Result<(), String> {
        let client = self.settings.services.pool.get().await;
        let client = client.map_err(|error| error.to_string())?;
        let told = audit::append(&**client, entry).await;
        told.map(drop).map_err(|error| error.to_string())
    }

    /// Forgets the crashes of a plugin once it has run for a while. Nothing is done for one that has none.
    pub(super) fn forget_after_good_run(&self, running: &Arc<Running>) {
        let (id, sha256) = (running.id().to_owned(), *running.sha256());
        if locked(&self.crashes).in_a_row(&id, &sha256) == 0 {
            return;
        }
        let good_run = Duration::from_millis(self.settings.config.plugins.good_run_ms);
        let crashes = Arc::clone(&self.crashes);
        let gauge = self.settings.services.crashes.with_label_values(&[&id]);
        let mut draining = running.draining();
        running.adopt(tokio::spawn(async move {
            tokio::select! {
                _ = draining.wait_for(|draining| *draining) => return,
                () = tokio::time::sleep(good_run) => {}
            }
            let mut crashes = locked(&crashes);
            if crashes.ran_well(&id, &sha256) {
                if let Err(error) = crashes.write() {
                    warn!(plugin = id, file = crashes::NAME, %error, "that it has run well is not kept");
                }
                // Who sees it may rely on it: the next start reads the file.
                gauge.set(0);
            }
        }));
    }

    /// Changes what is known of crashes, and keeps it; when it cannot be kept it is as it was.
    fn forget<T>(
        &self,
        change: impl FnOnce(&mut Crashes) -> Option<T>,
    ) -> Result<Option<T>, ChangeError> {
        let mut crashes = locked(&self.crashes);
        let mut changed = crashes.clone();
        let Some(done) = change(&mut changed) else {
            return Ok(None);
        };
        changed.write().map_err(ChangeError::Crashes)?;
        *crashes = changed;
        Ok(Some(done))
    }
}

fn locked(crashes: &Mutex<Crashes>) -> MutexGuard<'_, Crashes> {
    crashes.lock().unwrap_or_else(PoisonError::into_inner)
}
