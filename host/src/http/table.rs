//! Which route answers: a radix tree per method, built whole and swapped in one move.

mod entry;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method};
use matchit::{InsertError, Params, Router};

use super::generation::Generation;
use super::metrics::HttpMetrics;
use super::{Limits, Target};
use crate::plugin::manifest::Route;
use entry::{Origin, work_out};

pub use entry::Entry;
pub(super) use entry::RouteKind;

/// The name under which the host's own routes stand.
pub const HOST: &str = "host";

/// A plugin's route on its way into a table.
pub struct NewRoute {
    /// The plugin's id.
    pub plugin: Arc<str>,
    /// The route's number in the plugin's manifest.
    pub number: u32,
    /// What the manifest says.
    pub route: Arc<Route>,
    /// What answers.
    pub target: Arc<dyn Target>,
    /// The loaded version that it belongs to.
    pub generation: Arc<Generation>,
}

/// A route of the host itself: outside every plugin's limits.
#[derive(Clone)]
pub struct HostRoute {
    /// Method, path, access.
    pub route: Arc<Route>,
    /// What answers.
    pub target: Arc<dyn Target>,
    /// Whether it answers on each plugin's port, too.
    pub everywhere: bool,
}

/// Why a table cannot be built. The one in force stays.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TableError {
    /// Two routes want the same requests.
    #[error(
        "plugin {plugin:?} declares {route}, which plugin {other_plugin:?} already answers with {other_route}: disable one of them, or change a path"
    )]
    Conflict {
        /// The later plugin.
        plugin: String,
        /// Its route.
        route: String,
        /// The earlier plugin.
        other_plugin: String,
        /// Its route.
        other_route: String,
    },
    /// The route cannot be read.
    #[error("plugin {plugin:?} declares {route}: {reason}")]
    Route {
        /// The plugin.
        plugin: String,
        /// Its route.
        route: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where a request belongs.
pub(super) enum Found<'table, 'path> {
    Entry(&'table Arc<Entry>, Params<'table, 'path>),
    /// The path exists for these methods.
    OtherMethods(HeaderValue),
    Nothing,
}

/// The routes of all plugins and of the host. Immutable: a change is a new table.
pub struct RouteTable {
    entries: Vec<Arc<Entry>>,
    gateway: Directory,
    /// Each plugin's port serves that plugin alone, so a path that another plugin catches on the gateway is free here.
    plugins: HashMap<Arc<str>, Directory>,
    openapi: OnceLock<Bytes>,
}

#[derive(Default)]
struct Directory {
    /// A handful of methods: walking beats hashing.
    methods: Vec<(Method, Router<Arc<Entry>>)>,
}

impl RouteTable {
    /// Builds a table, or says which two routes cannot stand together.
    ///
    /// # Errors
    ///
    /// [`TableError`] names the plugin and the route.
    pub fn build(
        host: &[HostRoute],
        plugins: Vec<NewRoute>,
        limits: &Limits,
        metrics: &HttpMetrics,
    ) -> Result<Self, TableError> {
        let host_generation = Generation::new(HOST, usize::MAX, usize::MAX);
        let host_routes = host.iter().map(|host| {
            let new = NewRoute {
                plugin: Arc::clone(host_generation.plugin()),
                number: 0,
                route: Arc::clone(&host.route),
                target: Arc::clone(&host.target),
                generation: Arc::clone(&host_generation),
            };
            let everywhere = host.everywhere;
            (new, Origin::Host { everywhere })
        });
        let mut table = Self::empty();
        let plugin_routes = plugins.into_iter().map(|new| (new, Origin::Plugin));
        for (new, origin) in host_routes.chain(plugin_routes) {
            table.insert(Arc::new(work_out(new, origin, limits, metrics)?))?;
        }
        Ok(table)
    }

    fn empty() -> Self {
        Self {
            entries: Vec::new(),
            gateway: Directory::default(),
            plugins: HashMap::new(),
            openapi: OnceLock::new(),
        }
    }

    fn insert(&mut self, entry: Arc<Entry>) -> Result<(), TableError> {
        self.gateway.insert(&entry, &self.entries)?;
        if !entry.host {
            let directory = self.plugins.entry(Arc::clone(&entry.plugin)).or_default();
            if directory.methods.is_empty() {
                for shared in self.entries.iter().filter(|entry| entry.everywhere) {
                    directory.insert(shared, &[])?;
                }
            }
            directory.insert(&entry, &self.entries)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Finds the route of a request; `scope` is the plugin whose port it came through.
    pub(super) fn find<'table, 'path>(
        &'table self,
        scope: Option<&str>,
        method: &Method,
        path: &'path str,
    ) -> Found<'table, 'path> {
        let directory = match scope {
            None => &self.gateway,
            Some(plugin) => match self.plugins.get(plugin) {
                Some(directory) => directory,
                None => return self.find_everywhere(method, path),
            },
        };
        directory.find(method, path)
    }

    /// A plugin without routes still has a port with health on it.
    fn find_everywhere<'table, 'path>(
        &'table self,
        method: &Method,
        path: &'path str,
    ) -> Found<'table, 'path> {
        match self.gateway.find(method, path) {
            Found::Entry(entry, params) if entry.everywhere => Found::Entry(entry, params),
            _ => Found::Nothing,
        }
    }

    /// Every route, the host's first.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Every generation, once.
    pub fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        let mut seen: Vec<*const Generation> = Vec::new();
        self.entries
            .iter()
            .map(|entry| &entry.generation)
            .filter(move |generation| {
                let new = !seen.contains(&Arc::as_ptr(generation));
                seen.extend(new.then_some(Arc::as_ptr(generation)));
                new
            })
    }

    /// The OpenAPI document of this table; written on the first call.
    pub fn openapi(&self) -> Bytes {
        self.openapi
            .get_or_init(|| super::openapi::document(&self.entries))
            .clone()
    }
}

impl Directory {
    fn insert(&mut self, entry: &Arc<Entry>, earlier: &[Arc<Entry>]) -> Result<(), TableError> {
        let known = self
            .methods
            .iter()
            .position(|(method, _)| *method == entry.method);
        let at = known.unwrap_or_else(|| {
            self.methods.push((entry.method.clone(), Router::new()));
            self.methods.len() - 1
        });
        self.methods[at]
            .1
            .insert(&*entry.route.path, Arc::clone(entry))
            .map_err(|error| refused(entry, earlier, &error))
    }

    fn find<'table, 'path>(
        &'table self,
        method: &Method,
        path: &'path str,
    ) -> Found<'table, 'path> {
        if let Some(found) = self.at(method, path) {
            return Found::Entry(found.value, found.params);
        }
        // HEAD is GET without the body (RFC 9110 9.3.2), unless a route says otherwise.
        if *method == Method::HEAD
            && let Some(found) = self.at(&Method::GET, path)
        {
            return Found::Entry(found.value, found.params);
        }
        let allowed = self.allowed(path);
        let value = allowed.is_empty().then_some(Found::Nothing);
        value.unwrap_or_else(|| {
            Found::OtherMethods(
                HeaderValue::from_str(&allowed.join(", ")).expect("methods are header words"),
            )
        })
    }

    fn at<'table, 'path>(
        &'table self,
        method: &Method,
        path: &'path str,
    ) -> Option<matchit::Match<'table, 'path, &'table Arc<Entry>>> {
        let (_, router) = self.methods.iter().find(|(known, _)| known == method)?;
        router.at(path).ok()
    }

    fn allowed(&self, path: &str) -> Vec<&str> {
        let known = self
            .methods
            .iter()
            .filter(|(_, router)| router.at(path).is_ok());
        let mut allowed = known.map(|(method, _)| method.as_str()).collect::<Vec<_>>();
        if allowed.contains(&"GET") && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        if !allowed.is_empty() && !allowed.contains(&"OPTIONS") {
            allowed.push("OPTIONS");
        }
        allowed.sort_unstable();
        allowed
    }
}

fn refused(entry: &Entry, earlier: &[Arc<Entry>], error: &InsertError) -> TableError {
    let (plugin, route) = (entry.plugin.to_string(), entry.name());
    let other = match error {
        InsertError::Conflict { with } => earlier
            .iter()
            .find(|other| other.method == entry.method && other.route.path == *with),
        _ => None,
    };
    match other {
        Some(other) => TableError::Conflict {
            plugin,
            route,
            other_plugin: other.plugin.to_string(),
            other_route: other.name(),
        },
        None => TableError::Route {
            plugin,
            route,
            reason: error.to_string(),
        },
    }
}

/// The table in force. Readers never wait; a swap is one store.
pub struct Routes(ArcSwap<RouteTable>);

impl Routes {
    /// Starts without routes: the host's own ones need the routes that they describe.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(RouteTable::empty())))
    }

    /// Puts another table in force and returns the old one, whose vanished generations can now be drained.
    pub fn swap(&self, table: RouteTable) -> Arc<RouteTable> {
        self.0.swap(Arc::new(table))
    }

    /// The table in force.
    pub fn load(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.0.load()
    }
}
