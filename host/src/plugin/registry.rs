//! The registry: which plugins there are, which run, and every change of that while requests come in.
//!
//! One change at a time. A change first brings the new state up beside the old one, then swaps the route table in one move,
//! and only then drains what is no longer needed; when bringing up fails, nothing has changed.

mod change;
mod files;
mod offered;
mod quarantine;
mod record;
mod removal;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tracing::{error, warn};

use self::files::Found;
pub(crate) use self::offered::Incoming;
pub use self::{
    change::{ChangeError, NewSigner},
    quarantine::Released,
    removal::Data,
    view::{Connections, PluginView, State, Usage},
};
use super::{
    bridge::PluginRoute,
    crashes::Crashes,
    instance::Running,
    lock::{Lock, LockError, Standing},
    manifest::Manifest,
    order::{dependents_of, order},
    services::Services,
    start::{Migrate, StartError, Starter},
    supervise, trust,
};
use crate::{
    capability::{call::Provider, log},
    config::{Config, Provenance},
    http::{HostRoute, HttpMetrics, Limits, NewRoute, RouteTable, Routes, Server, TableError},
    loader::{self, CheckedPlugin, Host, Refusal, System, Trust},
};

/// What a registry is made of.
pub struct RegistrySettings {
    /// What the host has for plugins.
    pub services: Arc<Services>,
    /// The configuration, for the plugins' own tables and ports.
    pub config: Arc<Config>,
    /// Where its values came from, for errors.
    pub provenance: Arc<Provenance>,
    /// The route table in force.
    pub routes: Arc<Routes>,
    /// The host's own routes.
    pub host_routes: Vec<HostRoute>,
    /// Limits of routes.
    pub limits: Limits,
    /// Metrics of routes.
    pub http_metrics: HttpMetrics,
}

/// All plugins of this host.
pub struct Registry {
    settings: RegistrySettings,
    starter: Starter,
    system: System,
    /// Who may sign. Keys come and go while the host runs.
    trust: ArcSwap<Trust>,
    directory: PathBuf,
    lock_file: PathBuf,
    server: OnceLock<Arc<Server>>,
    /// What is known of crashes. Held for no longer than a small file takes to be written.
    crashes: Arc<Mutex<Crashes>>,
    state: tokio::sync::Mutex<Inner>,
    /// Versions that have ended; their code stays mapped until the process ends.
    retired: AtomicUsize,
    views: ArcSwap<Vec<PluginView>>,
}

/// What changes.
#[derive(Default)]
struct Inner {
    lock: Lock,
    /// Running plugins in the order in which they were started.
    running: Vec<Arc<Running>>,
    /// Why a plugin that should run does not.
    refused: BTreeMap<String, String>,
    /// Those of them that are left out because they crashed the host,
    quarantined: BTreeSet<String>,
    /// and those that need one of these.
    waiting: BTreeSet<String>,
}

impl Inner {
    fn running(&self, id: &str) -> Option<&Arc<Running>> {
        self.running.iter().find(|running| running.id() == id)
    }
}

impl Registry {
    /// A registry in which nothing runs yet.
    ///
    /// # Errors
    ///
    /// When `plugins.lock` does not read.
    pub fn new(settings: RegistrySettings) -> Result<Arc<Self>, LockError> {
        let lock_file = settings
            .config
            .resolve(std::path::Path::new("plugins.lock"));
        let inner = Inner {
            lock: Lock::read(&lock_file)?,
            ..Inner::default()
        };
        let state_directory = settings.config.state_directory();
        let store = state_directory.join("store");
        Ok(Arc::new(Self {
            starter: Starter {
                services: Arc::clone(&settings.services),
                store,
                step_timeout: Duration::from_millis(settings.config.plugins.start_timeout_ms),
                config: Arc::clone(&settings.config),
            },
            system: System::detect(),
            trust: ArcSwap::from_pointee(trust::of(&settings.config)),
            directory: settings.config.plugins_directory(),
            lock_file,
            server: OnceLock::new(),
            crashes: Arc::new(Mutex::new(Crashes::read(&state_directory))),
            state: tokio::sync::Mutex::new(inner),
            retired: AtomicUsize::new(0),
            views: ArcSwap::default(),
            settings,
        }))
    }

    /// The listeners, once they exist: plugins get ports of their own from then on.
    pub fn attach(&self, server: Arc<Server>) {
        // A second call would be a mistake of the host's start; the first server stays.
        let _ = self.server.set(server);
    }

    /// Starts every accepted plugin in the order of their dependencies. One that cannot start is refused, together with
    /// those that need it; the others run.
    ///
    /// # Errors
    ///
    /// Only when the host's own routes clash, which no plugin can cause.
    pub async fn start_all(&self) -> Result<(), TableError> {
        let mut inner = self.state.lock().await;
        self.tell_crashes().await;
        let mut found = self.find_all(&inner.lock);
        self.leave_out_quarantined(&mut inner, &mut found);
        inner.refused.clone_from(&found.refused);
        let candidates = found.candidates();
        let order = order(&candidates, &found.refused);
        for (id, refusal) in &order.refused {
            error!(plugin = id, "{refusal}");
            inner.refused.insert(id.clone(), refusal.to_string());
        }
        for id in &order.start {
            let Some(checked) = found
                .accepted
                .iter()
                .find(|checked| checked.manifest.id == *id)
            else {
                continue;
            };
            if inner.refused.contains_key(id) {
                continue;
            }
            match self.bring_up(checked, Migrate::Up, &inner.running).await {
                Ok(running) => {
                    self.record_running(&running).await;
                    inner.running.push(running);
                }
                Err(failure) => {
                    error!(plugin = id, "{failure}");
                    inner.refused.insert(id.clone(), failure.to_string());
                    for dependent in dependents_of(id, &candidates) {
                        let reason =
                            format!("{dependent} needs the plugin {id}, which did not start");
                        error!(plugin = dependent, "{reason}");
                        inner.refused.insert(dependent, reason);
                    }
                }
            }
        }
        self.note_signers(&mut inner, &found.accepted);
        self.swap(&inner.running, &inner.lock)?;
        for running in &inner.running {
            self.run_loops(running);
        }
        self.publish(&inner, &found.files);
        Ok(())
    }

    /// Keeps who signed what had been accepted before anybody had: from then on it is another signer who needs a consent.
    fn note_signers(&self, inner: &mut Inner, accepted: &[Arc<CheckedPlugin>]) {
        let mut lock = inner.lock.clone();
        for checked in accepted {
            let locked = lock.plugins.get_mut(&checked.manifest.id);
            if let Some(locked) = locked.filter(|locked| locked.signer.is_none()) {
                locked.signer = checked.signer();
            }
        }
        if lock == inner.lock {
            return;
        }
        match lock.write(&self.lock_file) {
            Ok(()) => inner.lock = lock,
            Err(failure) => warn!("{failure}"),
        }
    }

    /// Whose signatures count from now on; what runs already goes on until it is started again.
    pub fn set_trust(&self, trust: Trust) {
        self.trust.store(Arc::new(trust));
    }

    /// Judges a file as one that is to run here.
    fn check(&self, file: &Path) -> Result<CheckedPlugin, Refusal> {
        let trust = self.trust.load_full();
        loader::check(file, &Host::this(&self.system, &trust))
    }

    /// Opens the ports of the running plugins.
    pub async fn open_ports(&self) {
        let inner = self.state.lock().await;
        for running in &inner.running {
            self.open_port(running.id()).await;
        }
    }

    /// Ends all plugins in reverse order within `grace`; true when nothing was cut off.
    pub async fn stop_all(&self, grace: Duration) -> bool {
        let mut inner = self.state.lock().await;
        let deadline = tokio::time::Instant::now() + grace;
        let mut clean = true;
        for running in std::mem::take(&mut inner.running).into_iter().rev() {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            clean &= self.end(&running, left).await;
        }
        clean
    }

    /// What there is, as of the last change, with each plugin's health as of now.
    pub fn plugins(&self) -> Vec<PluginView> {
        self.views
            .load()
            .iter()
            .map(PluginView::refreshed)
            .collect()
    }

    /// Versions that have ended and stay mapped, about half a megabyte each: what a restart would give back.
    pub fn retired(&self) -> usize {
        self.retired.load(Relaxed)
    }

    /// Tells every running plugin what the host reads of its log now. Waits while a change is under way: whatever that
    /// starts is told as well.
    pub async fn push_log_level(&self) {
        let inner = self.state.lock().await;
        let level = log::level();
        for running in &inner.running {
            running.instance().set_log_level(level);
        }
    }

    /// The running version of a plugin. Waits while a change is under way.
    pub async fn running(&self, id: &str) -> Option<Arc<Running>> {
        self.state.lock().await.running(id).cloned()
    }

    /// Checks the configuration and starts the plugin beside those that run. That it runs is for the caller to store, with why.
    async fn bring_up(
        &self,
        checked: &Arc<CheckedPlugin>,
        migrate: Migrate,
        running: &[Arc<Running>],
    ) -> Result<Arc<Running>, StartError> {
        let RegistrySettings {
            config, provenance, ..
        } = &self.settings;
        let manifest = &checked.manifest;
        let plugin_config: Value = config
            .plugin_config(&manifest.id, &manifest.config, provenance)
            .map_err(Box::new)?;
        let sha256 = checked.sha256.to_string();
        // Before it runs: what it emits while it starts is judged by what is stored.
        self.record(manifest, &sha256, "loaded", true).await;
        let others = running.iter().map(|running| &**running.manifest());
        let beside: Vec<&Manifest> = others.filter(|other| other.id != manifest.id).collect();
        let started = self
            .starter
            .start(checked, plugin_config, migrate, &beside)
            .await;
        if started.is_err() {
            self.record(manifest, &sha256, "failed", true).await;
        }
        started
    }

    /// Puts the routes and capabilities of `running` in force.
    fn swap(&self, running: &[Arc<Running>], lock: &Lock) -> Result<(), TableError> {
        let RegistrySettings {
            host_routes,
            limits,
            http_metrics,
            ..
        } = &self.settings;
        let routes = running
            .iter()
            .flat_map(|running| routes_of(running, limits));
        let routes = routes.collect();
        let table = RouteTable::build(host_routes, routes, limits, http_metrics)?;
        // Before the routes: a request that comes by a new route finds whom its plugin has to ask.
        self.provide(running, lock);
        self.settings.routes.swap(table);
        Ok(())
    }

    /// Puts what `running` offer in force. What others offer that are to run, as `lock` has it, and do not, is told from what
    /// nobody offers.
    fn provide(&self, running: &[Arc<Running>], lock: &Lock) {
        let enabled = lock.plugins.values().filter(|locked| locked.enabled);
        let mut providers: HashMap<String, Weak<dyn Provider>> = enabled
            .flat_map(|locked| &locked.provides)
            .map(|capability| (capability.clone(), Weak::<Running>::new() as _))
            .collect();
        providers.extend(running.iter().flat_map(|running| {
            running.manifest().provides.iter().map(|capability| {
                let provider: Arc<dyn Provider> = Arc::clone(running) as _;
                (capability.clone(), Arc::downgrade(&provider))
            })
        }));
        let services = &self.settings.services;
        services.providers.replace(providers);
        services.handlers.replace(running);
    }

    /// Drains and ends a plugin. Who follows what plugins declare is told first, and sends it nothing more.
    async fn end(&self, running: &Running, grace: Duration) -> bool {
        running.drain();
        self.settings.services.handlers.touch();
        running.end(grace).await
    }

    fn run_loops(&self, running: &Arc<Running>) {
        let Services { leases, events, .. } = &*self.settings.services;
        supervise::start(running, leases, events);
        self.forget_after_good_run(running);
    }

    async fn open_port(&self, id: &str) {
        let (Some(server), Some(port)) = (self.server.get(), self.settings.config.plugin_port(id))
        else {
            return;
        };
        if server
            .addresses()
            .iter()
            .any(|(plugin, _)| plugin.as_deref() == Some(id))
        {
            return;
        }
        let address = SocketAddr::new(self.settings.config.http.bind, port);
        if let Err(failure) = server
            .listen(Some(id.into()), address, &format!("plugins.{id}.port"))
            .await
        {
            // Its routes are on the gateway as well, so this is no reason not to run.
            warn!(plugin = id, "{failure}");
        }
    }

    fn publish(&self, inner: &Inner, files: &BTreeMap<String, Found>) {
        self.show_crashes(inner);
        self.views.store(Arc::new(view::of(
            inner,
            files,
            &self.settings.config,
            &self.trust.load(),
        )));
    }
}

fn routes_of(running: &Arc<Running>, limits: &Limits) -> Vec<NewRoute> {
    let route = |(number, route): (u32, &super::manifest::Route)| NewRoute {
        plugin: running.id().into(),
        number,
        route: Arc::new(route.clone()),
        target: Arc::new(PluginRoute::new(Arc::clone(running), number, limits)),
        generation: Arc::clone(running.generation()),
    };
    (0..).zip(&running.manifest().routes).map(route).collect()
}
