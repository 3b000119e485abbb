//! One route, worked out before the first request asks for it.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{HOST, NewRoute, TableError};
use crate::http::generation::Generation;
use crate::http::metrics::{HttpMetrics, RouteMetrics};
use crate::http::rate::Rate;
use crate::http::{Limits, Target};
use crate::identity::Gate;
use crate::plugin::manifest::Route;

/// A route in force, with everything that a request needs worked out beforehand.
pub struct Entry {
    /// The plugin's id, or [`HOST`].
    pub plugin: Arc<str>,
    /// The route's number in the plugin's manifest.
    pub number: u32,
    /// What the manifest says.
    pub route: Arc<Route>,
    /// Its access rule, worked out.
    pub(in crate::http) gate: Gate,
    pub(in crate::http) method: Method,
    pub(in crate::http) target: Arc<dyn Target>,
    pub(in crate::http) generation: Arc<Generation>,
    pub(in crate::http) params: Vec<Arc<str>>,
    pub(in crate::http) metrics: RouteMetrics,
    pub(in crate::http) rate: Rate,
    pub(in crate::http) timeout: Duration,
    pub(in crate::http) body_bytes_max: u64,
    pub(in crate::http) kind: RouteKind,
    /// Whether it is the host's own: outside every plugin's limits.
    pub(in crate::http) host: bool,
    /// Whether it answers on each plugin's port, too.
    pub(in crate::http) everywhere: bool,
}

/// What a route's answer is like, as far as the host must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum RouteKind {
    /// Ends by itself.
    Answer,
    /// Goes on until one side stops it.
    Events,
    /// Leaves HTTP.
    Socket,
}

impl RouteKind {
    pub(in crate::http) fn is_long(self) -> bool {
        self != Self::Answer
    }
}

impl Entry {
    pub(in crate::http) fn name(&self) -> String {
        format!("{} {}", self.route.method, self.route.path)
    }
}

/// Whose route it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Host { everywhere: bool },
    Plugin,
}

/// Works a route out, or says why it cannot be read.
pub(super) fn work_out(
    new: NewRoute,
    origin: Origin,
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
    if matches!(origin, Origin::Plugin) && &*plugin == HOST {
        return Err(refuse("the plugin's id is the host's own name"));
    }
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
        None if !matches!(origin, Origin::Plugin) => Rate::new(&[HOST], 0),
        None => Rate::new(&[&*plugin], limits.rate_per_minute),
    };
    Ok(Entry {
        gate: Gate::new(&route.access),
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
        host: !matches!(origin, Origin::Plugin),
        everywhere: matches!(origin, Origin::Host { everywhere: true }),
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
