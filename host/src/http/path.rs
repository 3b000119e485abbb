//! The way of a request. [`answer`] is one function whose lines are the order; there is no other place where a
//! request can be changed or refused.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::header::{ALLOW, CONTENT_LENGTH, UPGRADE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use tracing::{error, info, warn};

use super::body::{BodyError, Fate, Hold};
use super::connection::Busy;
use super::generation::{InFlight, Refusal};
use super::metrics::RouteMetrics;
use super::peer::Peer;
use super::proxy_protocol::Refusals;
use super::rate::{Caller, Rates};
use super::table::{Entry, Found, RouteKind, Routes};
use super::{
    Admitted, Body, HttpMetrics, Problem, RequestBody, RequestId, Settings, address, headers, span,
};
use crate::identity::{IdentityError, Principal, Verdict, Verifier};
use crate::plugin::manifest::Access;
use crate::telemetry::trace::{Span, Trace, Tracer};

/// Pause to tell callers while a plugin is exchanged or full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Told to callers whose request was not done when its plugin had to end.
const CUT_OFF: &str = "this part was exchanged before it had finished: try again";

/// Everything that requests pass; one per process, shared by all listeners.
pub struct Gateway {
    pub(super) routes: Arc<Routes>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) settings: Settings,
    pub(super) metrics: HttpMetrics,
    /// Requests that no route took.
    unmatched: RouteMetrics,
    pub(super) refusals: Refusals,
    rates: Rates,
    hsts: Option<HeaderValue>,
    tracer: Option<Tracer>,
}

impl Gateway {
    /// Puts the parts together. `tracer` gets the spans of requests.
    pub fn new(
        routes: Arc<Routes>,
        verifier: Arc<Verifier>,
        settings: Settings,
        metrics: HttpMetrics,
        tracer: Option<Tracer>,
    ) -> Arc<Self> {
        let hsts = (settings.hsts_seconds > 0).then(|| {
            HeaderValue::from_str(&format!("max-age={}", settings.hsts_seconds))
                .expect("digits are header text")
        });
        let rates = Rates::new(settings.limits.rate_callers_max);
        Arc::new(Self {
            routes,
            verifier,
            settings,
            refusals: Refusals::new(metrics.proxy_protocol_refusals.clone()),
            unmatched: metrics.route("host", "none"),
            metrics,
            rates,
            hsts,
            tracer,
        })
    }

    /// The table in force, and the place to swap it.
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }
}

/// The way in: which plugin's port (`None` is the gateway's), and who is at the other end.
#[derive(Debug)]
pub struct Door {
    /// The plugin whose routes this port serves; all of them without one.
    pub plugin: Option<Arc<str>>,
    /// The other end of the socket, or whom it speaks for by the PROXY protocol.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted, or the caller's to the proxy was.
    pub is_tls: bool,
}

/// Answers a request.
///
/// `busy` keeps the connection from being seen as idle until the answer has been sent.
pub async fn answer(
    gateway: &Gateway,
    door: &Door,
    busy: Option<Busy>,
    request: Request<RequestBody>,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let mut call = Call::begin(gateway, door, &parts);
    let outcome = async {
        address::check(&parts)?;
        let Matched {
            entry,
            params,
            in_flight,
        } = match find(gateway, door, &mut call, &parts)? {
            Way::Route(matched) => matched,
            Way::Answer(response) => return Ok(response),
        };
        let principal = identify(gateway, &entry, &parts)?;
        permit(&entry, principal.as_deref())?;
        spend(gateway, &entry, principal.as_deref(), call.peer.address)?;
        let (body, fate) = limit(gateway, &entry, body)?;
        let upgrade = upgrade(&entry, &mut parts)?;
        let (kept, given) = share(&entry, in_flight);
        let admitted = Admitted {
            parts,
            body,
            params,
            principal,
            request_id: call.request_id.clone(),
            trace: call.trace.clone(),
            peer: call.peer.address,
            route: Arc::clone(&entry.route),
            upgrade,
            in_flight: given,
        };
        let response = run(&entry, admitted, &kept, &call).await;
        let mut response = verdict_of_body(&entry, fate.as_deref(), response)?;
        hold(&entry, response.body_mut(), kept, busy);
        Ok(response)
    };
    let mut response = outcome.await.unwrap_or_else(Problem::into_response);
    if call.method == Method::HEAD {
        drop_body(&mut response);
    }
    gateway
        .settings
        .cors
        .mark(call.origin.as_ref(), response.headers_mut());
    let hsts = gateway.hsts.as_ref().filter(|_| call.peer.tls);
    headers::secure(response.headers_mut(), &call.request_id, hsts);
    call.log(gateway, response.status());
    response
}

/// What is known about a request before and after its handler has it.
struct Call {
    started: Instant,
    request_id: RequestId,
    trace: Trace,
    span: Option<Box<Span>>,
    peer: Peer,
    method: Method,
    origin: Option<HeaderValue>,
    entry: Option<Arc<Entry>>,
}

impl Call {
    fn begin(gateway: &Gateway, door: &Door, parts: &Parts) -> Self {
        const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
        let trace = Trace::of_request(&parts.headers, gateway.tracer.as_ref());
        let peer = Peer::find(&gateway.settings, door, &parts.headers);
        Self {
            started: Instant::now(),
            request_id: RequestId::from_header(parts.headers.get(X_REQUEST_ID)),
            span: span::begin(&trace, parts, &peer),
            trace,
            peer,
            method: parts.method.clone(),
            origin: gateway.settings.cors.origin(&parts.headers),
            entry: None,
        }
    }

    /// The route stands for the address: addresses carry ids and codes that have no place in a log.
    fn log(&mut self, gateway: &Gateway, status: StatusCode) {
        let elapsed = self.started.elapsed();
        let entry = self.entry.as_deref();
        entry
            .map_or(&gateway.unmatched, |entry| &entry.metrics)
            .answered(status, elapsed);
        info!(
            target: "nself::access",
            request_id = %self.request_id,
            trace_id = %format_args!("{:032x}", self.trace.context().trace_id),
            plugin = entry.map(|entry| &*entry.plugin),
            method = %self.method,
            route = entry.map(|entry| &*entry.route.path),
            status = status.as_u16(),
            duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            peer = %self.peer.address.ip(),
            "request"
        );
        if let Some(mut span) = self.span.take() {
            span::end(&mut span, &self.request_id, &self.method, entry, status);
        }
    }
}

struct Matched {
    entry: Arc<Entry>,
    params: Vec<(Arc<str>, String)>,
    in_flight: InFlight,
}

enum Way {
    Route(Matched),
    Answer(Response<Body>),
}

/// Finds the route and a place in its generation. A request that meets a generation on its way out looks again for
/// as long as it finds a newer table: a successor is in force before its predecessor drains, and the thread may have
/// been held up between the look and the door, more than once.
fn find(gateway: &Gateway, door: &Door, call: &mut Call, parts: &Parts) -> Result<Way, Problem> {
    let mut table = gateway.routes.load();
    loop {
        let (entry, found) =
            match table.find(door.plugin.as_deref(), &parts.method, parts.uri.path()) {
                Found::Entry(entry, found) => (entry, found),
                Found::OtherMethods(allow) => {
                    return options(gateway, parts, allow).map(Way::Answer);
                }
                Found::Nothing => return Err(Problem::not_found()),
            };
        call.entry = Some(Arc::clone(entry));
        match entry.generation.enter(entry.kind.is_long()) {
            Ok(in_flight) => {
                let values = found.iter().map(|(_, value)| address::decode(value));
                let params = entry.params.iter().cloned().zip(values).collect();
                return Ok(Way::Route(Matched {
                    entry: Arc::clone(entry),
                    params,
                    in_flight,
                }));
            }
            Err(Refusal::Full) => {
                entry.metrics.shed();
                return Err(overloaded());
            }
            Err(Refusal::Draining) => {}
        }
        let newest = gateway.routes.load();
        if Arc::ptr_eq(&newest, &table) {
            return Err(stopping());
        }
        table = newest;
    }
}

fn overloaded() -> Problem {
    let message = "too many requests at once: try again";
    Problem::unavailable("OVERLOADED", message, RETRY_AFTER)
}

fn stopping() -> Problem {
    let message = "this part is being exchanged: try again";
    Problem::unavailable("PLUGIN_STOPPING", message, RETRY_AFTER)
}

fn options(
    gateway: &Gateway,
    parts: &Parts,
    allow: HeaderValue,
) -> Result<Response<Body>, Problem> {
    if parts.method != Method::OPTIONS {
        return Err(Problem::method_not_allowed(allow));
    }
    if let Some(preflight) = gateway
        .settings
        .cors
        .preflight(&parts.method, &parts.headers, &allow)
    {
        return Ok(preflight);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, allow);
    Ok(response)
}

fn identify(
    gateway: &Gateway,
    entry: &Entry,
    parts: &Parts,
) -> Result<Option<Arc<Principal>>, Problem> {
    match gateway.verifier.identify(&parts.headers) {
        Ok(principal) => Ok(principal),
        // A stale token must not keep anybody from signing in or refreshing it.
        Err(_) if entry.route.access == Access::Public => Ok(None),
        Err(IdentityError::Malformed) => {
            let error = IdentityError::Malformed;
            Err(Problem::unauthenticated(
                error.code(),
                error.to_string(),
                "invalid_request",
            ))
        }
        Err(error) => Err(Problem::unauthenticated(
            error.code(),
            error.to_string(),
            "invalid_token",
        )),
    }
}

fn permit(entry: &Entry, principal: Option<&Principal>) -> Result<(), Problem> {
    match entry.gate.admit(principal) {
        Verdict::Allow => Ok(()),
        Verdict::Unauthenticated => Err(Problem::unauthenticated(
            "UNAUTHENTICATED",
            "this needs an access token or an api key",
            "",
        )),
        Verdict::Forbidden => Err(Problem::forbidden()),
    }
}

fn spend(
    gateway: &Gateway,
    entry: &Entry,
    principal: Option<&Principal>,
    peer: SocketAddr,
) -> Result<(), Problem> {
    const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
    const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
    let Err(pause) = gateway
        .rates
        .take(Caller::of(principal, peer), entry.rate, Instant::now())
    else {
        return Ok(());
    };
    let (quota, seconds) = (entry.rate.per_minute, pause.as_secs() + 1);
    let text =
        |text: String| HeaderValue::from_str(&text).expect("digits and words are header text");
    let message = "too many requests: wait as long as retry-after says";
    Err(
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message)
            .header(RATELIMIT, text(format!("\"default\";r=0;t={seconds}")))
            .header(
                RATELIMIT_POLICY,
                text(format!("\"default\";q={quota};w=60")),
            )
            .retry_after(pause),
    )
}

fn limit(
    gateway: &Gateway,
    entry: &Entry,
    body: RequestBody,
) -> Result<(RequestBody, Option<Arc<Fate>>), Problem> {
    let limited = body.limit(entry.body_bytes_max, gateway.settings.limits.body_timeout);
    limited.map_err(|error| match error {
        BodyError::TooLarge { bytes_max } => Problem::body_too_large(bytes_max),
        BodyError::Stalled | BodyError::Broken(_) => Problem::body_timeout(),
    })
}

fn upgrade(entry: &Entry, parts: &mut Parts) -> Result<Option<OnUpgrade>, Problem> {
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    if entry.kind != RouteKind::Socket {
        return Ok(None);
    }
    upgrade.map(Some).ok_or_else(|| {
        let message =
            "this address speaks websocket over HTTP/1.1: open it with a websocket client";
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", message);
        problem.header(UPGRADE, HeaderValue::from_static("websocket"))
    })
}

/// One hold for the answer and one for the handler. A socket outlives its answer, so there the handler gets the
/// one that counts.
fn share(entry: &Entry, in_flight: InFlight) -> (InFlight, InFlight) {
    let other = in_flight.clone();
    if entry.kind == RouteKind::Socket {
        (other, in_flight)
    } else {
        (in_flight, other)
    }
}

/// The handler, behind the guard and with its deadline. It also ends when its plugin has to.
async fn run(
    entry: &Entry,
    admitted: Admitted,
    in_flight: &InFlight,
    call: &Call,
) -> Result<Response<Body>, Problem> {
    let handler = AssertUnwindSafe(async { entry.target.call(admitted).await }).catch_unwind();
    let outcome = tokio::select! {
        biased;
        outcome = tokio::time::timeout(entry.timeout, handler) => outcome,
        () = in_flight.cut() => {
            warn!(plugin = &*entry.plugin, route = &*entry.route.path, request_id = %call.request_id, "handler cut off: its plugin's time to finish is over");
            return Err(Problem::unavailable("PLUGIN_STOPPING", CUT_OFF, RETRY_AFTER));
        }
    };
    match outcome {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_panic)) => {
            entry.metrics.panicked();
            error!(plugin = &*entry.plugin, route = &*entry.route.path, request_id = %call.request_id, "handler panicked");
            Err(Problem::internal())
        }
        Err(_elapsed) => {
            warn!(plugin = &*entry.plugin, route = &*entry.route.path, request_id = %call.request_id, "handler timed out");
            Err(Problem::timeout(entry.timeout))
        }
    }
}

/// A body that broke its limits decides the answer: the handler saw an error and cannot know what it meant.
fn verdict_of_body(
    entry: &Entry,
    fate: Option<&Fate>,
    response: Result<Response<Body>, Problem>,
) -> Result<Response<Body>, Problem> {
    if fate.is_some_and(Fate::too_large) {
        return Err(Problem::body_too_large(entry.body_bytes_max));
    }
    if fate.is_some_and(Fate::stalled) {
        return Err(Problem::body_timeout());
    }
    response
}

fn hold(entry: &Entry, body: &mut Body, in_flight: InFlight, busy: Option<Busy>) {
    let is_events = entry.kind == RouteKind::Events;
    let ending = body.is_stream().then(|| {
        let clone = in_flight.clone();
        Box::pin(async move {
            if is_events {
                clone.ending().await;
                return None;
            }
            clone.cut().await;
            Some(CUT_OFF.into())
        }) as _
    });
    body.hold(Hold::new(in_flight, busy, ending));
}

fn drop_body(response: &mut Response<Body>) {
    let body = std::mem::take(response.body_mut());
    if let Some(size) = body.size_hint().exact()
        && !response.headers().contains_key(CONTENT_LENGTH)
        && !response.status().is_informational()
        && response.status() != StatusCode::NO_CONTENT
    {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
}
