//! HTTP: listen, route, admit, dispatch. What happens to a request stands in [`path::answer`], and only there.
//!
//! Put together in this order: [`Routes::new`], the host's own routes ([`health`], [`openapi`], [`mod@reference`]),
//! [`RouteTable::build`] from those and the plugins' routes, [`Routes::swap`], [`Gateway::new`], [`Server::new`],
//! [`Server::listen`] for each port. A plugin comes, goes or changes by building the next table, swapping it in,
//! and draining the [`Generation`] that is no longer in it.

pub mod generation;
pub mod health;
pub mod listen;
pub mod metrics;
pub mod openapi;
pub mod path;
pub mod problem;
pub mod reference;
pub mod table;
pub mod tls;

mod address;
mod body;
mod challenges;
mod connection;
mod cors;
mod departed;
mod encoding;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod handed;
mod headers;
mod io;
mod peer;
mod port_holder;
mod proxy_protocol;
mod rate;
mod redirect;
mod request_id;
mod settings;
mod span;
mod timed;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::identity::Principal;
use crate::plugin::manifest::Route;
use crate::telemetry::trace::Trace;

pub use body::{Body, BodyError, BoxError, RequestBody};
pub use challenges::Challenges;
pub use connection::Busy;
pub(crate) use connection::Seat;
pub use cors::{Cors, CorsError};
pub(crate) use departed::Departed;
pub use generation::{Generation, InFlight};
pub use listen::{ListenError, Server};
pub use metrics::HttpMetrics;
pub use path::{Door, Gateway};
pub use port_holder::PortHolder;
pub use problem::Problem;
pub use redirect::{OriginError, Redirect, origin};
pub use request_id::RequestId;
pub(crate) use request_id::unique_u64;
pub use settings::{Limits, Settings};
pub use table::{HostRoute, NewRoute, RouteTable, Routes, TableError};
pub use trace::TraceContext;

/// What answers a route: the bridge to a plugin, or one of the host's own handlers.
pub trait Target: Send + Sync + 'static {
    /// Answers one request. Panics are caught, and the future is dropped when the deadline passes or the caller
    /// goes away.
    fn call(&self, request: Admitted) -> BoxFuture<'static, http::Response<Body>>;
}

/// A request that has passed every check, and what the host found out about it.
#[derive(Debug)]
pub struct Admitted {
    /// Method, address, version, headers.
    pub parts: http::request::Parts,
    /// The body, held to the route's limit.
    pub body: RequestBody,
    /// Path parameters, decoded, in the order of the path.
    pub params: Vec<(Arc<str>, String)>,
    /// Who calls; `None` only on public routes.
    pub principal: Option<Arc<Principal>>,
    /// Names the request in logs and in the answer.
    pub request_id: RequestId,
    /// The trace, with the host's span as the current one.
    pub trace: Trace,
    /// The caller's address, behind trusted proxies the one that they saw (then with port 0).
    pub peer: SocketAddr,
    /// The route that matched.
    pub route: Arc<Route>,
    /// The raw connection after a `101` answer; set on `websocket` routes only.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// Keeps the plugin's generation from ending. Whatever outlives the answer (a socket's task) must hold it, and
    /// should stop when [`InFlight::ending`] resolves.
    pub in_flight: InFlight,
}
