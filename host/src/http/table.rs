//! Which route answers: a radix tree per method, built whole and swapped in one move.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method};
use matchit::{InsertError, Params, Router};

use super::generation::Generation;
use super::metrics::{HttpMetrics, RouteMetrics};
use super::rate::Rate;
use super::{Limits, Target};
use crate::plugin::manifest::Route;

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

/// A route in force, with everything that a request needs worked out beforehand.
pub struct Entry {
    /// The plugin's id, or [`HOST`].
    pub plugin: Arc<str>,
    /// The route's number in the plugin's manifest.
    pub number: u32,
    /// What the manifest says.
    pub route: Arc<Route>,
    pub(super) method: Method,
    pub(super) target: Arc<dyn Target>,
    pub(super) generation: Arc<Generation>,
    pub(super) params: Vec<Arc<str>>,
    pub(super) metrics: RouteMetrics,
    pub(super) rate: Rate,
    pub(super) timeout: Duration,
    pub(super) body_bytes_max: u64,
    pub(super) kind: RouteKind,
    everywhere: bool,
}

/// What a route's answer is like, as far as the host must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteKind {
    /// Ends by itself.
    Answer,
    /// Goes on until one side stops it.
    Events,
    /// Leaves HTTP.
    Socket,
}

impl RouteKind {
    pub(super) fn is_long(self) -> bool {
        self != Self::Answer
    }
}

impl Entry {
    pub(super) fn is_host(&self) -> bool {
        &*self.plugin == HOST
    }

    fn name(&self) -> String {
        format!("{} {}", self.route.method, self.route.path)
    }
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
            (new, host.everywhere)
        });
        let mut table = Self::empty();
        for (new, everywhere) in host_routes.chain(plugins.into_iter().map(|new| (new, false))) {
            table.insert(Arc::new(entry(new, everywhere, limits, metrics)?))?;
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
        if !entry.is_host() {
            let shared = self
                .entries
                .iter()
                .filter(|entry| entry.everywhere)
                .cloned()
                .collect::<Vec<_>>();
            let directory = self.plugins.entry(Arc::clone(&entry.plugin)).or_default();
            if directory.methods.is_empty() {
                shared
                    .iter()
                    .try_for_each(|shared| directory.insert(shared, &[]))?;
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

fn entry(
    new: NewRoute,
    everywhere: bool,
    limits: &Limits,
    metrics: &HttpMetrics,
) -> Result<Entry, TableError> {
    let NewRoute {
        plugin,
        number,
        route,
        target,
        generation,
    } = new;
    let name = format!("{} {}", route.method, route.path);
    let refuse = |reason: &str| TableError::Route {
        plugin: plugin.to_string(),
        route: name.clone(),
        reason: reason.to_owned(),
    };
    let method = Method::from_bytes(route.method.as_bytes())
        .map_err(|_| refuse("its method is not an HTTP method"))?;
    if method
        .as_str()
        .bytes()
        .any(|byte| byte.is_ascii_lowercase())
    {
        return Err(refuse("its method must be written in upper case"));
    }
    if !route.path.starts_with('/') {
        return Err(refuse("its path must start with a slash"));
    }
    let kind = match &*route.kind {
        "json" | "stream" | "raw" => RouteKind::Answer,
        "sse" => RouteKind::Events,
        "websocket" if method == Method::GET => RouteKind::Socket,
        "websocket" => return Err(refuse("a websocket opens with GET")),
        _ => {
            return Err(refuse(
                "its kind must be json, stream, sse, websocket or raw",
            ));
        }
    };
    let rate = match route.rate_per_minute {
        Some(per_minute) => Rate::new(&[&*plugin, &*route.method, &*route.path], per_minute),
        None if &*plugin == HOST => Rate::new(&[HOST], 0),
        None => Rate::new(&[&*plugin], limits.rate_per_minute),
    };
    Ok(Entry {
        metrics: metrics.route(&plugin, &name),
        params: params(&route.path),
        timeout: route
            .timeout_ms
            .map_or(limits.request_timeout, Duration::from_millis),
        body_bytes_max: route.body_bytes_max.unwrap_or(limits.body_bytes_max),
        plugin,
        number,
        route,
        method,
        target,
        generation,
        rate,
        kind,
        everywhere,
    })
}

/// Names of `{name}` and `{*rest}`, in order.
fn params(path: &str) -> Vec<Arc<str>> {
    let inner = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'));
    inner
        .map(|(name, _)| Arc::from(name.trim_start_matches('*')))
        .collect()
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
