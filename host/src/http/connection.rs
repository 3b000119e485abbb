//! One connection: what it is doing, and the conversation on it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;
use tower::Layer as _;
use tracing::debug;

use super::io::Io;
use super::path::{Door, Gateway, answer};
use super::proxy_protocol::{self, Told};
use super::timed::Timed;
use super::tls::{Tls, shake};
use super::{Body, Limits, Redirect, RequestBody, encoding};

/// How a listener and its connections come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// As usual.
    Open,
    /// No new connections; every answer says that it is the last one. Callers that are in the middle of a burst
    /// leave by themselves, and none of them meets a closed door.
    Leaving,
    /// Idle connections are closed, busy ones after their answer.
    Draining,
    /// Whatever is left is cut off.
    Ended,
}

/// What the timers of a connection need to know about it.
#[derive(Debug)]
pub(super) struct Connection {
    opened: Instant,
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// Requests that have begun, ever.
    begun: AtomicU64,
    /// Nanoseconds from `opened` to the moment when the last request was finished.
    quiet_since: AtomicU64,
    http2: AtomicBool,
    upgraded: AtomicBool,
    linger: AtomicBool,
    /// The next answer is the last one.
    leaving: AtomicBool,
}

impl Connection {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            busy: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            quiet_since: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            linger: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
        })
    }

    fn begin(self: &Arc<Self>, version: Version) -> Busy {
        self.busy.fetch_add(1, SeqCst);
        self.begun.fetch_add(1, SeqCst);
        if version == Version::HTTP_2 {
            self.http2.store(true, Relaxed);
        }
        Busy(Arc::clone(self))
    }

    /// Since when nothing has been asked; `None` while something is being answered, and on upgraded connections.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        if self.busy.load(SeqCst) > 0 || self.upgraded.load(Relaxed) {
            return None;
        }
        Some(self.opened + Duration::from_nanos(self.quiet_since.load(SeqCst)))
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Closes gently: the caller is still sending what nobody will read.
    pub(super) fn linger(&self) {
        self.linger.store(true, Relaxed);
    }

    pub(super) fn lingers(&self) -> bool {
        self.linger.load(Relaxed)
    }
}

/// A request is being answered on this connection, so it is not idle.
#[derive(Debug)]
pub struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.0.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.quiet_since.store(nanos, SeqCst);
        self.0.busy.fetch_sub(1, SeqCst);
    }
}

/// HTTP/1.1 and HTTP/2 by prior knowledge, with every limit set. Built once per server.
pub(super) fn protocols(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // `Timed` closes earlier and tells idle from slow. This is the second line, and hyper drops it without a word
    // when it has no timer.
    let head_timeout = limits.idle_timeout + limits.head_timeout;
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(limits.head_bytes_max.max(8_192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.idle_timeout / 2)
        .keep_alive_timeout(limits.head_timeout);
    builder
}

/// What a listener is there for.
#[derive(Debug, Clone)]
pub(super) enum Serves {
    /// The routes of all plugins.
    All,
    /// Those of one.
    Plugin(Arc<str>),
    /// Nothing but the way to the others.
    Redirect(Arc<Redirect>),
}

impl Serves {
    pub(super) fn plugin(&self) -> Option<&Arc<str>> {
        match self {
            Self::Plugin(plugin) => Some(plugin),
            Self::All | Self::Redirect(_) => None,
        }
    }
}

/// What a connection is accepted with.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) serves: Serves,
    /// What is spoken first, where that is not HTTP at once.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) seat: Seat,
}

/// A place among the connections. It lives as long as the socket does, also after an upgrade.
pub(crate) struct Seat {
    connections: IntGauge,
    _permit: OwnedSemaphorePermit,
    /// The listener's shutdown waits for the last of these.
    _life: mpsc::Sender<()>,
}

impl Seat {
    pub(super) fn new(
        connections: IntGauge,
        permit: OwnedSemaphorePermit,
        life: mpsc::Sender<()>,
    ) -> Self {
        connections.inc();
        Self {
            connections,
            _permit: permit,
            _life: life,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.dec();
    }
}

/// Holds the conversation until one side ends it.
pub(super) async fn converse(
    accepted: Accepted,
    gateway: Arc<Gateway>,
    protocols: Arc<Builder<TokioExecutor>>,
    mut phase: watch::Receiver<Phase>,
) {
    let Accepted {
        stream,
        peer,
        serves,
        tls,
        seat,
    } = accepted;
    // Answers are written whole; waiting for more to send would only delay them. Without it all still works.
    let _ = stream.set_nodelay(true);
    let connection = Connection::new();
    let limits = &gateway.settings.limits;
    let mut timed = Timed::new(stream, Arc::clone(&connection), limits, seat);
    let mut told = Told {
        peer,
        is_tls: false,
    };
    if gateway.settings.proxy_protocol {
        let (settings, refusals) = (&gateway.settings, &gateway.refusals);
        let receiving =
            proxy_protocol::receive(&mut timed, peer, settings, refusals, phase.clone());
        match Box::pin(receiving).await {
            Some(by_proxy) => told = by_proxy,
            None => return,
        }
    }
    let peer = told.peer;
    let is_tls = tls.is_some() || told.is_tls;
    let io = match tls {
        None => Io::Plain(timed),
        Some(tls) => {
            // In a box: who speaks plainly has no room for it.
            let shaking = shake(tls, timed, Arc::clone(&connection), peer, phase.clone());
            match Box::pin(shaking).await {
                Some(stream) => Io::Tls(stream),
                None => return,
            }
        }
    };
    let side = Arc::new(Side {
        gateway,
        door: Door {
            plugin: serves.plugin().cloned(),
            peer,
            is_tls,
        },
        redirect: match serves {
            Serves::Redirect(redirect) => Some(redirect),
            Serves::All | Serves::Plugin(_) => None,
        },
        connection: Arc::clone(&connection),
    });
    let service = tower::service_fn(move |request| Arc::clone(&side).answer(request));
    let service = TowerToHyperService::new(encoding::layer().layer(service));
    let mut conversation =
        pin!(protocols.serve_connection_with_upgrades(TokioIo::new(io), service));
    loop {
        tokio::select! {
            biased;
            ended = conversation.as_mut() => {
                if let Err(error) = ended {
                    debug!(%peer, error = &*error, "connection ended");
                }
                return;
            }
            changed = phase.changed() => {
                let now = if changed.is_ok() { *phase.borrow_and_update() } else { Phase::Ended };
                connection.leaving.store(now != Phase::Open, Relaxed);
                match now {
                    Phase::Open => {}
                    // HTTP/2 has a word for "this is my last": GOAWAY. HTTP/1.1 says it in each answer.
                    Phase::Leaving if !connection.is_http2() => {}
                    Phase::Leaving | Phase::Draining => conversation.as_mut().graceful_shutdown(),
                    Phase::Ended => return,
                }
            }
        }
    }
}

/// The host's side of a conversation.
struct Side {
    gateway: Arc<Gateway>,
    door: Door,
    /// What is answered in the place of all routes.
    redirect: Option<Arc<Redirect>>,
    connection: Arc<Connection>,
}

impl Side {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let version = request.version();
        let busy = self.connection.begin(version);
        let request = request.map(|body| RequestBody::incoming(body, &self.connection));
        let mut response = match &self.redirect {
            Some(redirect) => redirect.answer(&self.door, &request),
            None => answer(&self.gateway, &self.door, Some(busy), request).await,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.connection.upgraded.store(true, Relaxed);
        } else if version < Version::HTTP_2 && self.connection.leaving.load(Relaxed) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}
