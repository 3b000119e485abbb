//! The doors: the gateway's port, and one port per plugin that wants its own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::Redirect;
use super::connection::{Accepted, Phase, Seat, Serves, converse, protocols};
use super::handed;
use super::path::Gateway;
use super::port_holder::{self, PortHolder};
use super::tls::Tls;
use crate::exhaustion::{Exhaustion, files_max};

/// Longest time for callers to leave by themselves before idle connections are closed on them.
const LEAVING_MAX: Duration = Duration::from_millis(500);

/// Pause after the system refused a connection for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error("port {port} is taken{}: stop that, or choose another port with {setting}", .holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default(), port = .address.port())]
    Taken {
        /// Where.
        address: SocketAddr,
        /// Who, when the kernel tells.
        holder: Option<PortHolder>,
        /// The setting that changes the port.
        setting: String,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}; change it with {setting}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
        /// The setting that changes it.
        setting: String,
    },
    /// A shutdown has begun.
    #[error("cannot listen on {address}: the server is shutting down")]
    ShuttingDown {
        /// Where.
        address: SocketAddr,
    },
}

/// All listeners of the process. Cheap to share behind an `Arc`.
pub struct Server {
    gateway: Arc<Gateway>,
    protocols: Arc<Builder<TokioExecutor>>,
    permits: Arc<Semaphore>,
    tls: Option<Arc<Tls>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: Vec<Listener>,
    /// Phases of listeners on their way out: an abort must reach them, too.
    leaving: Vec<watch::Sender<Phase>>,
    closed: bool,
}

struct Listener {
    serves: Serves,
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    /// Ends when the accepting task and all connections have.
    alive: mpsc::Receiver<()>,
}

impl Server {
    /// A server without listeners.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self::with_tls(gateway, None)
    }

    /// The same, whose listeners speak TLS where there is one.
    pub fn with_tls(gateway: Arc<Gateway>, tls: Option<Arc<Tls>>) -> Self {
        let limits = &gateway.settings.limits;
        Self {
            protocols: Arc::new(protocols(limits)),
            permits: Arc::new(Semaphore::new(limits.connections_max)),
            tls,
            state: Mutex::default(),
            gateway,
        }
    }

    /// Opens a port: for one plugin's routes, or for all of them. Port 0 lets the system choose. A socket on that address that the
    /// process was handed at its start is taken instead. `setting` is what
    /// the operator changes to get another one, such as `http.port`.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the port, who holds it, and the setting.
    pub async fn listen(
        &self,
        plugin: Option<Arc<str>>,
        address: SocketAddr,
        setting: &str,
    ) -> Result<SocketAddr, ListenError> {
        let serves = plugin.map_or(Serves::All, Serves::Plugin);
        self.open(serves, self.tls.clone(), address, setting).await
    }

    /// Opens the port without TLS that sends callers on to the others; otherwise as [`listen`](Self::listen).
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the port, who holds it, and the setting.
    pub async fn listen_redirect(
        &self,
        redirect: Arc<Redirect>,
        address: SocketAddr,
        setting: &str,
    ) -> Result<SocketAddr, ListenError> {
        let serves = Serves::Redirect(redirect);
        self.open(serves, None, address, setting).await
    }

    async fn open(
        &self,
        serves: Serves,
        tls: Option<Arc<Tls>>,
        address: SocketAddr,
        setting: &str,
    ) -> Result<SocketAddr, ListenError> {
        let listener = match handed::listener(address) {
            Some(handed) => handed.and_then(TcpListener::from_std),
            None => TcpListener::bind(address).await,
        };
        let listener = listener.map_err(|error| refused(address, error, setting))?;
        let address = listener
            .local_addr()
            .map_err(|error| refused(address, error, setting))?;
        let (phase, watched) = watch::channel(Phase::Open);
        let (life, alive) = mpsc::channel(1);
        {
            let mut state = self.state();
            if state.closed {
                return Err(ListenError::ShuttingDown { address });
            }
            state.listeners.push(Listener {
                serves: serves.clone(),
                address,
                phase,
                alive,
            });
        }
        let plugin = serves.plugin().map(|plugin| &**plugin);
        let scheme = scheme(tls.is_some());
        info!(%address, plugin, scheme, "listening");
        let acceptor = Acceptor {
            gateway: Arc::clone(&self.gateway),
            protocols: Arc::clone(&self.protocols),
            permits: Arc::clone(&self.permits),
            tls,
            serves,
            phase: watched,
            life,
        };
        tokio::spawn(acceptor.run(listener));
        Ok(address)
    }

    /// How the addresses of its listeners begin.
    pub fn scheme(&self) -> &'static str {
        scheme(self.tls.is_some())
    }

    /// What its listeners speak, where that is not plain HTTP.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Who has to begin with a header of the PROXY protocol.
    pub fn proxies_that_tell(&self) -> Vec<IpNet> {
        let settings = &self.gateway.settings;
        if !settings.proxy_protocol {
            return Vec::new();
        }
        settings.trusted_proxies.clone()
    }

    /// Open ports, each with the plugin that it serves; without the one that only sends on to them.
    pub fn addresses(&self) -> Vec<(Option<Arc<str>>, SocketAddr)> {
        self.state()
            .listeners
            .iter()
            .filter(|listener| !matches!(listener.serves, Serves::Redirect(_)))
            .map(|listener| (listener.serves.plugin().cloned(), listener.address))
            .collect()
    }

    /// Closes a plugin's port and drains its connections for at most `deadline`; true when none was cut off.
    pub async fn remove(&self, plugin: &str, deadline: Duration) -> bool {
        let taken =
            self.take(|listener| listener.serves.plugin().is_some_and(|own| **own == *plugin));
        close(taken, deadline).await
    }

    /// Stops accepting and drains everything for at most `deadline`; true when no request was cut off.
    ///
    /// Event streams and sockets are asked to end at once. [`Self::abort`] cuts a running shutdown short.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.state().closed = true;
        for generation in self.gateway.routes.load().generations() {
            generation.end_streams();
        }
        let taken = self.take(|_| true);
        close(taken, deadline).await
    }

    /// Cuts off everything at once: what a second signal asks for.
    pub fn abort(&self) {
        let mut state = self.state();
        state.closed = true;
        let open = state.listeners.iter().map(|listener| &listener.phase);
        for phase in open.chain(&state.leaving) {
            phase.send_replace(Phase::Ended);
        }
    }

    fn take(&self, mut which: impl FnMut(&Listener) -> bool) -> Vec<Listener> {
        let mut state = self.state();
        let (taken, kept) = std::mem::take(&mut state.listeners)
            .into_iter()
            .partition::<Vec<_>, _>(|l| which(l));
        state.listeners = kept;
        state.leaving.retain(|phase| !phase.is_closed());
        state
            .leaving
            .extend(taken.iter().map(|listener| listener.phase.clone()));
        taken
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abort();
    }
}

/// How an address begins.
pub(crate) fn scheme(is_tls: bool) -> &'static str {
    if is_tls { "https" } else { "http" }
}

/// Moves listeners through their phases; false when something had to be cut off.
async fn close(mut listeners: Vec<Listener>, deadline: Duration) -> bool {
    let now = Instant::now();
    let steps = [
        (Phase::Leaving, now + LEAVING_MAX.min(deadline / 4)),
        (Phase::Draining, now + deadline),
    ];
    for (phase, until) in steps {
        for listener in &listeners {
            advance(&listener.phase, phase);
        }
        let all = async {
            for listener in &mut listeners {
                // Nobody ever sends: this is the end of the last sender.
                _ = listener.alive.recv().await;
            }
        };
        if timeout_at(until, all).await.is_ok() {
            return listeners
                .iter()
                .all(|listener| *listener.phase.borrow() != Phase::Ended);
        }
    }
    for listener in &listeners {
        advance(&listener.phase, Phase::Ended);
    }
    false
}

/// Forward only: an abort in between stays an abort.
fn advance(phase: &watch::Sender<Phase>, to: Phase) {
    phase.send_if_modified(|phase| {
        let forward = *phase < to;
        *phase = to.max(*phase);
        forward
    });
}

/// Accepts connections of one listener.
struct Acceptor {
    gateway: Arc<Gateway>,
    protocols: Arc<Builder<TokioExecutor>>,
    permits: Arc<Semaphore>,
    tls: Option<Arc<Tls>>,
    serves: Serves,
    phase: watch::Receiver<Phase>,
    life: mpsc::Sender<()>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let mut phase = self.phase.clone();
        let mut exhaustion = Exhaustion::default();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Open) => break,
                accepted = self.accept(&listener) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => self.spawn(stream, peer, permit),
                Err(error) if is_callers(&error) => {}
                Err(error) => {
                    if exhaustion.is_to_be_said() {
                        let limit = files_max();
                        warn!(%error, limit, "cannot accept connections, trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.take_in(listener);
    }

    /// A place first, then a connection: callers beyond the limit wait in the kernel's queue.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, permit))
    }

    /// The kernel has already shaken hands with whoever waits in the queue: they are served, not reset.
    fn take_in(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let (Ok(permit), Ok((stream, peer))) = (
            Arc::clone(&self.permits).try_acquire_owned(),
            listener.accept(),
        ) {
            if let Ok(stream) = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream))
            {
                self.spawn(stream, peer, permit);
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let connections = self.gateway.metrics.connections.clone();
        let accepted = Accepted {
            stream,
            peer,
            serves: self.serves.clone(),
            tls: self.tls.clone(),
            seat: Seat::new(connections, permit, self.life.clone()),
        };
        let (gateway, protocols) = (Arc::clone(&self.gateway), Arc::clone(&self.protocols));
        tokio::spawn(converse(accepted, gateway, protocols, self.phase.clone()));
    }
}

/// Errors of one caller's connection, which say nothing about the next.
fn is_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Why this address cannot be listened on, and who has it.
pub(crate) fn refused(address: SocketAddr, source: io::Error, setting: &str) -> ListenError {
    let setting = setting.to_owned();
    if source.kind() == io::ErrorKind::AddrInUse {
        return ListenError::Taken {
            address,
            holder: port_holder::find(address.port()),
            setting,
        };
    }
    ListenError::Refused {
        address,
        source,
        setting,
    }
}
