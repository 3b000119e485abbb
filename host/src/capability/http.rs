//! Outgoing HTTP: `nself.http/1` for one plugin instance.
//!
//! A request passes two gates. [`list`] compares host and port of the URL with the plugin's egress list before anything
//! happens; `connect` compares every address with it right before the connection is made, and connects to that address
//! and no other, so that a name whose answer changes between two look-ups gains nothing. Both sit below the pool: there is
//! no way to a socket around them.
//!
//! Redirects are not followed. An answer of 3xx goes back to the plugin, whose next request passes the gates again.
//! Nothing is decompressed, no cookies are kept, no proxy is used.

pub mod address;
mod answer;
mod body;
mod connect;
pub mod destination;
mod error;
pub mod fetch;
pub mod list;
mod request;

use std::{future::Future, io, path::Path, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::StatusCode;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::http::HttpProvider,
    error::Error,
    response::Response,
    stream::Stream,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use self::{
    answer::Limits,
    body::RequestBody,
    connect::Guarded,
    error::EgressError,
    list::{EgressList, RuleError},
    request::Prepared,
};
use super::Grant;
use crate::{
    postgres::tls::system_roots,
    telemetry::trace::{self, Kind, Span},
};

pub use connect::{Resolver, SystemResolver};

/// Longest exchange, whatever the plugin asks for.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Exchanges of one plugin at a time, bodies included; more wait within their own timeout.
pub const IN_FLIGHT_MAX: usize = 256;
/// Unused connections that one plugin keeps per host.
const IDLE_PER_HOST_MAX: usize = 16;
/// Pause between pings of an HTTP/2 connection in use; all requests of a dead one would wait for their timeouts.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Headers of an HTTP/2 answer; hyper bounds those of HTTP/1.1.
const ANSWER_HEADER_BYTES_MAX: u32 = 64 * 1024;
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What the clients of all plugins share: trusted roots, TLS sessions, and the resolver. Streams of
/// [`connect`](super::connect) are made with the same.
///
/// The pools are not shared. A connection is handed out by host and port alone, so a plugin that may not reach an address
/// could otherwise ride on the connection of one that may.
#[derive(Clone)]
pub struct Egress {
    tls: rustls::ClientConfig,
    roots: Arc<RootCertStore>,
    resolver: Arc<dyn Resolver>,
}

impl Egress {
    /// Trusts the system's certificates, or Mozilla's when the system has none (a minimal container).
    ///
    /// # Errors
    ///
    /// When the TLS library refuses its own defaults.
    pub fn new() -> Result<Self, rustls::Error> {
        let roots = Arc::new(system_roots());
        Ok(Self {
            tls: Self::client(Arc::clone(&roots))?,
            roots,
            resolver: Arc::new(SystemResolver),
        })
    }

    /// A TLS client that trusts these roots.
    pub(crate) fn client(
        roots: impl Into<Arc<RootCertStore>>,
    ) -> Result<rustls::ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(config)
    }

    /// The client that trusts the system's certificates.
    pub(crate) fn tls(&self) -> rustls::ClientConfig {
        self.tls.clone()
    }

    /// The same, and those of a PEM file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub(crate) fn tls_and(&self, path: &Path) -> Result<rustls::ClientConfig, String> {
        let roots = Self::roots_and(self.roots(), path)?;
        Self::client(roots).map_err(|error| error.to_string())
    }

    /// These roots and the certificates of a PEM file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub(crate) fn roots_and(
        mut roots: RootCertStore,
        path: &Path,
    ) -> Result<RootCertStore, String> {
        let unusable = |reason: &str| format!("{}: {reason}", path.display());
        let named = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let named: Vec<_> = named.map_err(|error| unusable(&error.to_string()))?;
        match roots.add_parsable_certificates(named) {
            (0, _) => Err(unusable("it holds no certificate")),
            _ => Ok(roots),
        }
    }

    /// The system's certificates.
    pub(super) fn roots(&self) -> RootCertStore {
        (*self.roots).clone()
    }

    /// Asks for the addresses of `name`.
    pub(super) fn resolve(&self, name: String) -> BoxFuture<'static, Resolved> {
        self.resolver.resolve(name)
    }

    /// Uses this TLS configuration, for roots of one's own. Its ALPN list must be empty.
    #[must_use]
    pub fn with_tls(self, tls: rustls::ClientConfig) -> Self {
        Self { tls, ..self }
    }

    /// Resolves names this way.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, ..self }
    }
}

type PooledClient = Client<HttpsConnector<Guarded>, RequestBody>;

/// `nself.http/1` of one plugin instance.
pub struct HttpCapability {
    plugin: Arc<str>,
    list: Arc<EgressList>,
    client: PooledClient,
    in_flight: Arc<Semaphore>,
}

impl HttpCapability {
    /// The client of the plugin that holds `grant`.
    ///
    /// # Errors
    ///
    /// When an entry of the egress list cannot be read.
    pub fn new(egress: &Egress, grant: &Grant) -> Result<Self, RuleError> {
        let list = Arc::new(EgressList::of(grant)?);
        let guarded = Guarded::new(Arc::clone(&list), Arc::clone(&egress.resolver));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(egress.tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(guarded);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_max_header_list_size(ANSWER_HEADER_BYTES_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build(connector);
        Ok(Self {
            plugin: Arc::clone(&grant.plugin),
            list,
            client,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        })
    }
}

impl HttpProvider for HttpCapability {
    fn send(
        &self,
        method: Str<'_>,
        url: Str<'_>,
        headers: Bytes,
        bytes: Bytes,
        stream: Stream,
        timeout_ms: u64,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'static {
        let timeout = Duration::from_millis(timeout_ms).min(TIMEOUT_MAX);
        let deadline = Instant::now() + timeout;
        let mut span = trace::begin(Kind::Client, "HTTP");
        let prepare =
            || request::prepare(&self.list, method, url, headers.as_slice(), bytes, stream);
        let prepared = match &span {
            // What is asked continues the trace below this span.
            Some(span) => span.trace().sync_scope(prepare),
            None => prepare(),
        };
        if let (Some(span), Ok(prepared)) = (&mut span, &prepared) {
            describe(span, &prepared.request);
        }
        let (plugin, client, in_flight) = (
            Arc::clone(&self.plugin),
            self.client.clone(),
            Arc::clone(&self.in_flight),
        );
        async move {
            let answer = match prepared {
                Ok(prepared) => exchange(client, prepared, in_flight, deadline, timeout).await,
                Err(error) => Err(error),
            };
            let result = answer.map_err(|error| error.for_plugin(&plugin));
            if let Some(mut span) = span {
                conclude(
                    &mut span,
                    result.as_ref().map(|(answer, _)| answer.status()),
                );
            }
            result.map(|(answer, limits)| answer::convert(answer, limits, plugin))
        }
    }
}

/// Sends the request and waits for the head of the answer. The body takes over place and deadline.
async fn exchange(
    client: PooledClient,
    prepared: Prepared,
    in_flight: Arc<Semaphore>,
    deadline: Instant,
    timeout: Duration,
) -> Result<(http::Response<Incoming>, Limits), EgressError> {
    let Prepared { request, origin } = prepared;
    let late = || EgressError::TimedOut {
        origin: Arc::clone(&origin),
        timeout,
    };
    let place = timeout_at(deadline, in_flight.acquire_owned())
        .await
        .map_err(|_| late())?
        .expect("the semaphore lives as long as the client and is never closed");
    let answer = timeout_at(deadline, client.request(request))
        .await
        .map_err(|_| late())?
        .map_err(|error| EgressError::from_client(&origin, &error))?;
    Ok((
        answer,
        Limits {
            origin,
            _place: place,
            deadline,
            timeout,
        },
    ))
}

/// What is asked of whom. Paths are keys to some services, as queries are: neither is shown.
fn describe(span: &mut Span, request: &http::Request<RequestBody>) {
    let (method, uri) = (request.method(), request.uri());
    let host = uri.host().unwrap_or_default();
    let scheme = uri.scheme_str().unwrap_or_default();
    let port = connect::port(uri);
    span.rename(method.to_string());
    span.text("http.request.method", method.as_str())
        .text("server.address", host)
        .number("server.port", port.into())
        .text("url.full", &format!("{scheme}://{host}:{port}/REDACTED"));
}

/// What came of it, as far as the head of the answer says.
fn conclude(span: &mut Span, answered: Result<StatusCode, &Error>) {
    let status = match answered {
        Ok(status) => status,
        Err(error) => return span.fail(&error.code.to_text()),
    };
    span.number("http.response.status_code", status.as_u16().into());
    if status.is_client_error() || status.is_server_error() {
        span.fail(status.as_str());
    } else {
        span.succeed();
    }
}

/// An I/O error of the network, boxed as hyper wants it.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a look-up gives.
type Resolved = io::Result<Vec<std::net::IpAddr>>;
