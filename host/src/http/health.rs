//! Whether the process lives, whether it is ready, and its numbers: the host's own routes for machines.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::{Admitted, Body, HostRoute, Target};
use crate::plugin::manifest::{Access, Route};

/// What `/readyz` says.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// One line per plugin, and per part of the host that can be missing, such as `postgres`.
    pub parts: BTreeMap<String, Part>,
}

/// The state of one part.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Whether it does its work.
    pub ready: bool,
    /// Its state in one word, such as `started` or `degraded`.
    pub state: String,
    /// What is wrong, for people; no secrets, anybody can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A handler of the host that answers at once.
struct Fixed<F>(F);

impl<F: Fn(&Admitted) -> Response<Body> + Send + Sync + 'static> Target for Fixed<F> {
    fn call(&self, request: Admitted) -> BoxFuture<'static, Response<Body>> {
        Box::pin(ready((self.0)(&request)))
    }
}

/// A host route from a function that answers at once.
pub fn host_route<F>(
    path: &str,
    summary: &str,
    access: Access,
    everywhere: bool,
    answer: F,
) -> HostRoute
where
    F: Fn(&Admitted) -> Response<Body> + Send + Sync + 'static,
{
    let route = Route {
        method: "GET".to_owned(),
        path: path.to_owned(),
        access,
        summary: summary.to_owned(),
        body_bytes_max: Some(0),
        timeout_ms: None,
        rate_per_minute: None,
        params: None,
        request: None,
        query: None,
        response: None,
        kind: "raw".to_owned(),
        graphql: None,
    };
    HostRoute {
        route: Arc::new(route),
        target: Arc::new(Fixed(answer)),
        everywhere,
    }
}

/// `/livez` with `/health` and `/healthz`, `/readyz` with `/ready`: on the gateway and on every plugin's port.
pub fn health_routes(readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> Vec<HostRoute> {
    let readiness = Arc::new(readiness);
    let alive = ["/livez", "/health", "/healthz"].map(|path| {
        host_route(
            path,
            "Whether the process lives",
            Access::Public,
            true,
            |_| {
                text(
                    "application/json",
                    Bytes::from_static(br#"{"status":"ok"}"#),
                )
            },
        )
    });
    let ready = ["/readyz", "/ready"].map(|path| {
        let readiness = Arc::clone(&readiness);
        host_route(
            path,
            "Whether it can do its work, part by part",
            Access::Public,
            true,
            move |_| {
                let readiness = readiness();
                let json = serde_json::to_vec(&readiness)
                    .expect("texts and truth values can be written as JSON");
                let mut response = text("application/json", json.into());
                if !readiness.ready {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                response
            },
        )
    });
    alive.into_iter().chain(ready).collect()
}

/// `/metrics` in Prometheus' text format, on the gateway only.
pub fn metrics_route(
    access: Access,
    render: impl Fn() -> String + Send + Sync + 'static,
) -> HostRoute {
    host_route(
        "/metrics",
        "Numbers in Prometheus' text format",
        access,
        false,
        move |_| text("text/plain; version=0.0.4; charset=utf-8", render().into()),
    )
}

/// An answer that no cache keeps.
pub(super) fn text(kind: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
