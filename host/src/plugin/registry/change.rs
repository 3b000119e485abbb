//! Changes while requests come in: enable, disable, upgrade, roll back, grant.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;
use serde_json::json;
use tracing::warn;

use super::{Inner, Migrate, PluginView, Registry, Standing, StartError, offered::Incoming};
use crate::{
    events::EventError,
    http::TableError,
    loader::{CheckedPlugin, Refusal},
    migrate::MigrateError,
    plugin::{
        instance::Running,
        lock::{LockError, LockRefusal},
        order::{Candidate, dependents_of, order},
    },
    postgres::roles::RoleError,
};

/// Why a change was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No file in the directory has this id.
    #[error("no file in {directory} is the plugin {id}{}", refusals(refused))]
    NoFile {
        /// The id.
        id: String,
        /// The plugin directory.
        directory: String,
        /// Files that were refused: one of them may be the one that is meant.
        refused: Vec<Refusal>,
    },
    /// The file that was offered is no plugin for this host.
    #[error(transparent)]
    File(Box<Refusal>),
    /// The file that was offered cannot be put into the plugin directory.
    #[error("cannot put {path} in place: {source}")]
    Place {
        /// Where it belongs.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// `plugins.lock` says no.
    #[error(transparent)]
    Locked(#[from] LockRefusal),
    /// `plugins.lock` cannot be read or written.
    #[error(transparent)]
    LockFile(#[from] LockError),
    /// It does not fit to the running plugins.
    #[error("{0}")]
    Order(String),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its routes clash.
    #[error(transparent)]
    Routes(#[from] TableError),
    /// Others need it.
    #[error("{} need {id}: disable them first, or all together with --cascade", dependents.join(", "))]
    Needed {
        /// The plugin.
        id: String,
        /// Who needs it.
        dependents: Vec<String>,
    },
    /// The audit log did not take it, and without an entry it is not done.
    #[error("the audit log takes no entry, so it was not done: {0}")]
    Audit(String),
    /// It does not run.
    #[error("{0} does not run")]
    NotRunning(String),
    /// It runs.
    #[error("{0} runs: disable it first")]
    Runs(String),
    /// It crashed the host again and again.
    #[error("{0}")]
    Quarantined(String),
    /// It is not left out because of crashes.
    #[error("{0} is not quarantined: nself plugin list says how it is")]
    NotQuarantined(String),
    /// What is known of crashes cannot be kept.
    #[error("cannot write crashes.toml: {0}")]
    Crashes(std::io::Error),
    /// The database did not let it be forgotten.
    #[error("the plugin's login cannot be removed: {0}")]
    Login(#[from] RoleError),
    /// Its cursors could not be removed.
    #[error("the plugin's cursors cannot be removed: {0}")]
    Cursors(#[from] EventError),
    /// Others need its data.
    #[error("{} need the data of {id}: disable them first", dependents.join(", "))]
    DataNeeded {
        /// The plugin.
        id: String,
        /// Who needs it.
        dependents: Vec<String>,
    },
    /// Its data was not dropped.
    #[error("the plugin's data cannot be dropped: {0}")]
    Data(#[from] Box<MigrateError>),
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// A file could not be removed.
    #[error("cannot remove {path}: {source}")]
    Remove {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

fn refusals(refused: &[Refusal]) -> String {
    refused.iter().fold(String::new(), |text, refusal| {
        text + "; " + &refusal.to_string()
    })
}

/// What becomes of an upgrade that somebody else signed than what it replaces, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewSigner {
    /// It is refused.
    Refuse,
    /// The operator knows of it.
    Accept,
}

/// What a change did, for the operator.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// The plugin.
    pub id: String,
    /// The version that runs now, if one does.
    pub version: Option<String>,
    /// The version that ran before, if one did.
    pub before: Option<String>,
    /// Whether other code runs now than before, also when both say that they are the same version.
    pub replaced: bool,
    /// What it may reach now.
    pub granted: Vec<String>,
    /// Whether everything under way could finish.
    pub clean: bool,
}

impl Registry {
    /// Accepts the file in the directory with what it asks for, and starts it.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing has changed then.
    pub async fn enable(&self, id: &str) -> Result<Changed, ChangeError> {
        let mut inner = self.state.lock().await;
        if let Some(running) = inner.running(id) {
            return Ok(changed(Some(running), None, true));
        }
        let checked = match inner.lock.plugins.get(id) {
            Some(locked) => match self.stored(id, &locked.version, &locked.sha256) {
                Some(kept) => kept,
                None => self.file(id)?,
            },
            None => self.file(id)?,
        };
        let mut lock = inner.lock.clone();
        lock.may_have(&checked.manifest)?;
        match lock.admit(&checked.manifest, &checked.sha256)? {
            Standing::New => {
                lock.accept(&checked.manifest, checked.sha256, checked.signer());
            }
            Standing::Enabled | Standing::Disabled => lock.set_enabled(id, true)?,
        }
        self.not_quarantined(id, &checked.sha256)?;
        Self::fits(&inner, &checked)?;
        let running = match self.bring_up(&checked, Migrate::Up, &inner.running).await {
            Ok(running) => running,
            Err(failure) => {
                // Nobody has accepted it: what is stored says so.
                let sha256 = checked.sha256.to_string();
                self.record(&checked.manifest, &sha256, "failed", false)
                    .await;
                return Err(failure.into());
            }
        };
        let mut all = inner.running.clone();
        all.push(Arc::clone(&running));
        self.record_deed("plugin.enabled", &running).await?;
        if let Err(refusal) = self.commit(&mut inner, lock, all, &running).await {
            self.record_end("plugin.enabling_failed", &running, "failed")
                .await;
            return Err(refusal);
        }
        self.refresh(&inner);
        Ok(changed(Some(&running), None, true))
    }

    /// Ends a plugin and those that need it, if `cascade` allows that; `drain` bounds how long requests may finish.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Needed`] names the dependents.
    pub async fn disable(
        &self,
        id: &str,
        drain: Duration,
        cascade: bool,
    ) -> Result<Vec<Changed>, ChangeError> {
        let mut inner = self.state.lock().await;
        if inner.running(id).is_none() {
            // Not running, perhaps because it failed: it shall not be tried again.
            let mut lock = inner.lock.clone();
            lock.set_enabled(id, false)?;
            lock.write(&self.lock_file)?;
            inner.lock = lock;
            inner.refused.remove(id);
            inner.quarantined.remove(id);
            inner.waiting.remove(id);
            self.note("plugin.disabled", id, json!({})).await;
            self.provide(&inner.running, &inner.lock);
            self.refresh(&inner);
            return Ok(Vec::new());
        }
        let mut ending = dependents_of(id, &candidates(&inner.running));
        if !ending.is_empty() && !cascade {
            return Err(ChangeError::Needed {
                id: id.to_owned(),
                dependents: ending,
            });
        }
        ending.push(id.to_owned());
        let mut lock = inner.lock.clone();
        for id in &ending {
            lock.set_enabled(id, false)?;
        }
        lock.write(&self.lock_file)?;
        inner.lock = lock;
        let mut done = Vec::new();
        for id in ending {
            let Some(at) = inner.running.iter().position(|running| running.id() == id) else {
                continue;
            };
            let running = Arc::clone(&inner.running[at]);
            // Its routes answer 503 with Retry-After while it drains; then they are gone.
            let clean = self.end(&running, drain).await;
            inner.running.remove(at);
            self.retired.fetch_add(1, Relaxed);
            self.swap(&inner.running, &inner.lock)?;
            if let Some(server) = self.server.get() {
                server.remove(&id, drain).await;
            }
            if let Err(failure) = self.settings.services.verifier.remove_keys(&id) {
                warn!(plugin = id, "{failure}");
            }
            self.record_end("plugin.disabled", &running, "stopped")
                .await;
            done.push(changed(None, Some(&running), clean));
        }
        self.refresh(&inner);
        Ok(done)
    }

    /// Loads the file in the directory beside the running version, swaps the routes, and drains the old one.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; the old version serves on then.
    pub async fn upgrade(
        &self,
        id: &str,
        drain: Duration,
        signer: NewSigner,
    ) -> Result<Changed, ChangeError> {
        let mut inner = self.state.lock().await;
        let checked = self.file(id)?;
        let (new, old) = self.upgrade_to(&mut inner, &checked, id, signer).await?;
        self.refresh(&inner);
        Ok(self.retire(&new, old.as_ref(), drain).await)
    }

    /// Upgrades to a file anywhere, which is copied into the plugin directory once its plugin runs.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; the old version serves on then and the directory is as it was. Only [`ChangeError::Place`] may
    /// come after the upgrade, when the directory changed meanwhile.
    pub async fn upgrade_file(
        &self,
        file: &Path,
        drain: Duration,
        signer: NewSigner,
    ) -> Result<Changed, ChangeError> {
        let mut inner = self.state.lock().await;
        let checked = self.offered(file)?;
        let id = &checked.manifest.id;
        if inner.running(id).is_none() && !inner.quarantined.contains(id) {
            return Err(ChangeError::NotRunning(id.clone()));
        }
        let incoming = Incoming::new(self.place_of(id)?, &checked)?;
        let name = file.display().to_string();
        let (new, old) = self.upgrade_to(&mut inner, &checked, &name, signer).await?;
        // Looked at when its file has its name: before, the directory holds another version than runs.
        let placed = incoming.place();
        self.refresh(&inner);
        placed?;
        Ok(self.retire(&new, old.as_ref(), drain).await)
    }

    /// The running plugin in the version of `checked`, and the one before, if one ran. `offer` is what the operator calls the file.
    async fn upgrade_to(
        &self,
        inner: &mut Inner,
        checked: &Arc<CheckedPlugin>,
        offer: &str,
        signer: NewSigner,
    ) -> Result<(Arc<Running>, Option<Arc<Running>>), ChangeError> {
        if signer == NewSigner::Refuse {
            let found = checked.signer();
            inner
                .lock
                .same_signer(&checked.manifest, found.as_deref(), offer)?;
        }
        let missing = inner.lock.missing(&checked.manifest);
        if !missing.is_empty() {
            return Err(LockRefusal::NotGranted {
                id: checked.manifest.id.clone(),
                version: checked.manifest.version.clone(),
                missing,
                offer: offer.to_owned(),
            }
            .into());
        }
        let mut lock = inner.lock.clone();
        lock.may_have(&checked.manifest)?;
        lock.accept(&checked.manifest, checked.sha256, checked.signer());
        self.replace(inner, lock, checked, Migrate::Up, "plugin.upgraded")
            .await
    }

    /// Goes back to the version that ran before the last upgrade.
    ///
    /// # Errors
    ///
    /// [`LockRefusal::NoPrevious`]; other [`ChangeError`]s leave the running version alone.
    pub async fn roll_back(&self, id: &str, drain: Duration) -> Result<Changed, ChangeError> {
        let mut inner = self.state.lock().await;
        let mut lock = inner.lock.clone();
        lock.roll_back(id)?;
        let locked = &lock.plugins[id];
        let kept = self
            .stored(id, &locked.version, &locked.sha256)
            .ok_or_else(|| {
                ChangeError::Order(format!(
                    "the copy of {id} {} is gone from the store: put its file into {} and upgrade",
                    locked.version,
                    self.directory.display()
                ))
            })?;
        let (new, old) = self
            .replace(&mut inner, lock, &kept, Migrate::No, "plugin.rolled_back")
            .await?;
        self.refresh(&inner);
        Ok(self.retire(&new, old.as_ref(), drain).await)
    }

    /// Grants what the file in the directory asks for beyond what was granted; what that is.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] when there is no such file or the lock cannot be written.
    pub async fn grant(&self, id: &str) -> Result<Vec<String>, ChangeError> {
        let mut inner = self.state.lock().await;
        let checked = self.file(id)?;
        self.grant_to(&mut inner, &checked).await
    }

    /// Grants what a file anywhere asks for beyond what was granted; its plugin, and what that is.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] when the file is refused or the lock cannot be written.
    pub async fn grant_file(&self, file: &Path) -> Result<(String, Vec<String>), ChangeError> {
        let mut inner = self.state.lock().await;
        let checked = self.offered(file)?;
        let granted = self.grant_to(&mut inner, &checked).await?;
        Ok((checked.manifest.id.clone(), granted))
    }

    async fn grant_to(
        &self,
        inner: &mut Inner,
        checked: &CheckedPlugin,
    ) -> Result<Vec<String>, ChangeError> {
        let id = &checked.manifest.id;
        let mut lock = inner.lock.clone();
        lock.may_have(&checked.manifest)?;
        let missing = lock.missing(&checked.manifest);
        let locked = lock
            .plugins
            .get_mut(id)
            .ok_or_else(|| LockRefusal::Unknown { id: id.clone() })?;
        locked.granted = checked.manifest.requires.clone();
        self.append("plugin.granted", id, json!({"granted": missing}))
            .await?;
        if let Err(failure) = lock.write(&self.lock_file) {
            self.note("plugin.granting_failed", id, json!({})).await;
            return Err(failure.into());
        }
        inner.lock = lock;
        Ok(missing)
    }

    /// A file anywhere, judged as one in the directory is.
    fn offered(&self, file: &Path) -> Result<Arc<CheckedPlugin>, ChangeError> {
        let checked = self.check(file);
        checked
            .map(Arc::new)
            .map_err(|refusal| ChangeError::File(Box::new(refusal)))
    }

    /// The file in the directory with this id.
    pub(super) fn file(&self, id: &str) -> Result<Arc<CheckedPlugin>, ChangeError> {
        let (mut matching, mut refused) = (Vec::new(), Vec::new());
        for checked in self.checked_files() {
            match checked {
                Ok(plugin) if plugin.manifest.id == id => matching.push(plugin),
                Ok(_) => {}
                Err(refusal) => refused.push(refusal),
            }
        }
        if matching.len() > 1 {
            let files: Vec<String> = matching
                .iter()
                .map(|checked| checked.path.display().to_string())
                .collect();
            return Err(ChangeError::Order(format!(
                "{id} is there twice ({}): keep one of them",
                files.join(", ")
            )));
        }
        matching
            .pop()
            .map(Arc::new)
            .ok_or_else(|| ChangeError::NoFile {
                id: id.to_owned(),
                directory: self.directory.display().to_string(),
                refused,
            })
    }

    /// Whether `checked` can run beside, or instead of its namesake among, the running plugins.
    pub(super) fn fits(inner: &Inner, checked: &CheckedPlugin) -> Result<(), ChangeError> {
        let id = &checked.manifest.id;
        let others: Vec<Arc<Running>> = inner
            .running
            .iter()
            .filter(|running| running.id() != id)
            .cloned()
            .collect();
        let mut all = candidates(&others);
        all.push(Candidate {
            manifest: &checked.manifest,
            file: &checked.path,
        });
        let mut refused = inner.refused.clone();
        // Whatever was wrong with it before, this is another attempt.
        refused.remove(id);
        // Its own refusal, or that of a running plugin which this version would leave without what it needs.
        match order(&all, &refused).refused.into_values().next() {
            Some(refusal) => Err(ChangeError::Order(refusal.to_string())),
            None => Ok(()),
        }
    }

    /// Brings `checked` up in the place of its running namesake, or of one that is quarantined: the new version and the old
    /// one, which is not drained yet. They are one when it runs already. `deed` is what the audit log calls it.
    async fn replace(
        &self,
        inner: &mut Inner,
        lock: super::Lock,
        checked: &Arc<CheckedPlugin>,
        migrate: Migrate,
        deed: &str,
    ) -> Result<(Arc<Running>, Option<Arc<Running>>), ChangeError> {
        let id = checked.manifest.id.clone();
        let old = inner.running(&id).cloned();
        match &old {
            Some(old) if *old.sha256() == checked.sha256 => {
                return Ok((Arc::clone(old), Some(Arc::clone(old))));
            }
            None if !inner.quarantined.contains(&id) => return Err(ChangeError::NotRunning(id)),
            Some(_) | None => {}
        }
        self.not_quarantined(&id, &checked.sha256)?;
        Self::fits(inner, checked)?;
        let new = match self.bring_up(checked, migrate, &inner.running).await {
            Ok(new) => new,
            Err(failure) => {
                self.record_still_running(old.as_ref()).await;
                return Err(failure.into());
            }
        };
        let mut all = inner.running.clone();
        match all.iter_mut().find(|running| running.id() == id) {
            Some(place) => *place = Arc::clone(&new),
            None => all.push(Arc::clone(&new)),
        }
        if let Err(refusal) = self.record_deed(deed, &new).await {
            self.record_still_running(old.as_ref()).await;
            return Err(refusal);
        }
        if let Err(refusal) = self.commit(inner, lock, all, &new).await {
            self.record_end("plugin.exchange_failed", &new, "failed")
                .await;
            self.record_still_running(old.as_ref()).await;
            return Err(refusal);
        }
        Ok((new, old))
    }

    async fn record_still_running(&self, old: Option<&Arc<Running>>) {
        if let Some(old) = old {
            self.record_running(old).await;
        }
    }

    /// Drains the version before.
    async fn retire(
        &self,
        new: &Arc<Running>,
        old: Option<&Arc<Running>>,
        drain: Duration,
    ) -> Changed {
        let Some(old) = old else {
            return changed(Some(new), None, true);
        };
        if Arc::ptr_eq(new, old) {
            return changed(Some(new), Some(old), true);
        }
        self.retired.fetch_add(1, Relaxed);
        let clean = old.end(drain).await;
        changed(Some(new), Some(old), clean)
    }

    /// Makes `all` the running plugins: lock file, routes, loops and port of the new one. A failure ends the new one.
    /// Whoever calls this refreshes what is shown when the plugin directory is as it will be.
    pub(super) async fn commit(
        &self,
        inner: &mut Inner,
        lock: super::Lock,
        all: Vec<Arc<Running>>,
        new: &Arc<Running>,
    ) -> Result<(), ChangeError> {
        let committed = lock
            .write(&self.lock_file)
            .map_err(ChangeError::from)
            .and_then(|()| Ok(self.swap(&all, &lock)?));
        if let Err(refusal) = committed {
            new.end(Duration::ZERO).await;
            // The file may hold the new state already; what runs is what counts.
            if let Err(failure) = inner.lock.write(&self.lock_file) {
                warn!("{failure}");
            }
            return Err(refusal);
        }
        inner.lock = lock;
        inner.running = all;
        inner.refused.remove(new.id());
        inner.quarantined.remove(new.id());
        inner.waiting.remove(new.id());
        self.run_loops(new);
        self.open_port(new.id()).await;
        Ok(())
    }

    /// What there is now, with files that were dropped in since the last change. While a change is under way, which may
    /// drain for long, it is what that change has published so far.
    pub fn look_again(&self) -> Vec<PluginView> {
        if let Ok(inner) = self.state.try_lock() {
            self.refresh(&inner);
        }
        self.plugins()
    }

    /// Looks at the directory again and publishes what there is.
    pub(super) fn refresh(&self, inner: &Inner) {
        let found = self.find_all(&inner.lock);
        self.publish(inner, &found.files);
    }
}

fn candidates(running: &[Arc<Running>]) -> Vec<Candidate<'_>> {
    running
        .iter()
        .map(|running| Candidate {
            manifest: running.manifest(),
            file: running.file(),
        })
        .collect()
}

fn changed(now: Option<&Arc<Running>>, before: Option<&Arc<Running>>, clean: bool) -> Changed {
    let version = |running: &Arc<Running>| running.manifest().version.to_string();
    let either = now.or(before);
    Changed {
        id: either
            .map(|running| running.id().to_owned())
            .unwrap_or_default(),
        version: now.map(version),
        before: before.map(version),
        replaced: now
            .zip(before)
            .is_some_and(|(now, before)| !Arc::ptr_eq(now, before)),
        granted: now
            .map(|running| running.manifest().requires.shown())
            .unwrap_or_default(),
        clean,
    }
}
