//! `nself.listen/1`: TCP ports of a plugin, such as the SMTP port of a mail catcher.
//!
//! The host binds; accepted connections cross as byte streams. [`Ports`] is shared by all plugins: two generations of one
//! plugin get the same socket, so that an upgrade neither fails on its own port nor refuses a connection.

mod connection;

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use nself_plugin_api::abi::{
    capability::listen::{Connection, Listen, ListenProvider, Listener, ListenerProvider},
    error::Error,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
};

use self::connection::TcpConnection;
use super::{
    Grant,
    error::{denied, error},
};
use crate::exhaustion::{Exhaustion, files_max};

/// Open connections of one port; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 1_000;
/// How long a read or write may wait for the peer. RFC 5321 (4.5.3.2.7) asks an SMTP server for at least five minutes.
pub const IDLE_MAX: Duration = Duration::from_secs(10 * 60);
/// Pause after the machine ran out of file descriptors or memory; until then every accept would fail again.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Where a plugin's ports go. The operator's, not the plugin's.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// The address to bind: `127.0.0.1`, or `0.0.0.0` for every interface.
    pub address: IpAddr,
    /// Ports to use in place of the manifest's; 0 takes any free one.
    pub ports: BTreeMap<u16, u16>,
    /// Open connections of one port, [`CONNECTIONS_MAX`] by default.
    pub connections_max: usize,
    /// Longest wait for the peer, [`IDLE_MAX`] by default.
    pub idle_max: Duration,
    /// How errors call the table of the operator's configuration that holds `ports`, such as `plugins.mail.ports`.
    pub setting: String,
}

impl ListenOptions {
    /// Defaults for ports at `address`.
    pub fn new(address: IpAddr, setting: impl Into<String>) -> Self {
        Self {
            address,
            ports: BTreeMap::new(),
            connections_max: CONNECTIONS_MAX,
            idle_max: IDLE_MAX,
            setting: setting.into(),
        }
    }
}

/// Why a port cannot be bound.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("port {port}")]
    NotGranted { port: u32 },
    #[error("port 0, which stands for the only port of the manifest: it lists {count}")]
    Ambiguous { count: usize },
    #[error(
        "port {port} at {address} is taken: stop what holds it, or give plugin {plugin} another one with `{wanted} = <port>` under [{setting}]"
    )]
    Taken {
        plugin: Arc<str>,
        address: IpAddr,
        port: u16,
        wanted: u16,
        setting: String,
    },
    #[error(
        "cannot bind port {port} at {address} for plugin {plugin} (choose another one with `{wanted} = <port>` under [{setting}]): {source}"
    )]
    Failed {
        plugin: Arc<str>,
        address: IpAddr,
        port: u16,
        wanted: u16,
        setting: String,
        source: io::Error,
    },
}

impl ListenError {
    fn for_plugin(&self, plugin: &str) -> Error {
        match self {
            Self::NotGranted { .. } | Self::Ambiguous { .. } => {
                denied("PORT_NOT_GRANTED", plugin, self)
            }
            Self::Taken { .. } => error(500, "PORT_TAKEN", "a port of this plugin is taken", self),
            Self::Failed { .. } => error(
                500,
                "PORT_FAILED",
                "a port of this plugin cannot be bound",
                self,
            ),
        }
    }
}

/// A plugin, a port of its manifest, and where the operator wants it.
type PortKey = (Arc<str>, u16, SocketAddr);

/// The ports that plugins have bound in this process.
#[derive(Default)]
pub struct Ports {
    bound: Mutex<HashMap<PortKey, Weak<BoundPort>>>,
}

/// One listening socket; the port is free once the last holder is gone.
struct BoundPort {
    listener: TcpListener,
    address: SocketAddr,
    places: Arc<Semaphore>,
}

impl Ports {
    /// The plugin's socket for the manifest's port `wanted`, bound if it is not yet.
    async fn bind(
        &self,
        plugin: &Arc<str>,
        wanted: u16,
        options: &ListenOptions,
    ) -> Result<Arc<BoundPort>, ListenError> {
        let (port, address) = (
            options.ports.get(&wanted).copied().unwrap_or(wanted),
            options.address,
        );
        // Held over the system call, so that two generations that start at once do not both bind.
        let mut bound = self.bound.lock().await;
        bound.retain(|_, port| port.strong_count() > 0);
        let key = (Arc::clone(plugin), wanted, SocketAddr::new(address, port));
        if let Some(existing) = bound.get(&key).and_then(Weak::upgrade) {
            return Ok(existing);
        }
        let fail = |source: io::Error| {
            let (plugin, setting) = (Arc::clone(plugin), options.setting.clone());
            match source.kind() {
                io::ErrorKind::AddrInUse => ListenError::Taken {
                    plugin,
                    address,
                    port,
                    wanted,
                    setting,
                },
                _ => ListenError::Failed {
                    plugin,
                    address,
                    port,
                    wanted,
                    setting,
                    source,
                },
            }
        };
        let listener = TcpListener::bind((address, port)).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let places = Arc::new(Semaphore::new(options.connections_max));
        let port = Arc::new(BoundPort {
            listener,
            address,
            places,
        });
        bound.insert(key, Arc::downgrade(&port));
        Ok(port)
    }
}

/// `nself.listen/1` of one plugin instance.
pub struct ListenCapability {
    grant: Grant,
    ports: Arc<Ports>,
    options: Arc<ListenOptions>,
}

impl ListenCapability {
    /// Binds ports for the plugin that holds `grant`.
    pub fn new(grant: Grant, ports: Arc<Ports>, options: ListenOptions) -> Self {
        Self {
            grant,
            ports,
            options: Arc::new(options),
        }
    }

    /// The handle that crosses.
    pub fn into_handle(self) -> Listen {
        Listen::new(Arc::new(self))
    }
}

/// The port of the manifest that the plugin means.
fn granted_port(granted: &[u16], port: u32) -> Result<u16, ListenError> {
    match (port, granted) {
        (0, [only]) => Ok(*only),
        (0, _) => Err(ListenError::Ambiguous {
            count: granted.len(),
        }),
        _ => granted
            .iter()
            .copied()
            .find(|granted| u32::from(*granted) == port)
            .ok_or(ListenError::NotGranted { port }),
    }
}

impl ListenProvider for ListenCapability {
    fn bind(&self, port: u32) -> impl Future<Output = Result<Listener, Error>> + Send + 'static {
        let wanted = granted_port(&self.grant.requires.ports, port);
        let (plugin, ports, options) = (
            Arc::clone(&self.grant.plugin),
            Arc::clone(&self.ports),
            Arc::clone(&self.options),
        );
        async move {
            let bound = match wanted {
                Ok(wanted) => ports.bind(&plugin, wanted, &options).await,
                Err(error) => Err(error),
            };
            match bound {
                Ok(bound) => Ok(Listener::new(Arc::new(TcpPort {
                    plugin,
                    bound,
                    idle_max: options.idle_max,
                }))),
                Err(error) => Err(error.for_plugin(&plugin)),
            }
        }
    }
}

/// A plugin's hold on a bound port.
struct TcpPort {
    plugin: Arc<str>,
    bound: Arc<BoundPort>,
    idle_max: Duration,
}

impl ListenerProvider for TcpPort {
    fn port(&self) -> u32 {
        self.bound.address.port().into()
    }

    fn accept(&self) -> impl Future<Output = Result<Connection, Error>> + Send + 'static {
        let (plugin, bound, idle_max) = (
            Arc::clone(&self.plugin),
            Arc::clone(&self.bound),
            self.idle_max,
        );
        async move {
            match accept(&plugin, &bound).await {
                Ok((stream, peer, place)) => Ok(Connection::new(Arc::new(TcpConnection::new(
                    stream, peer, place, idle_max,
                )))),
                Err(cause) => Err(error(
                    500,
                    "LISTENER_BROKEN",
                    "a port of this plugin has broken",
                    format_args!(
                        "plugin {plugin} cannot accept at {}: {cause}",
                        bound.address
                    ),
                )),
            }
        }
    }
}

/// Waits for a free place first: what cannot be served stays in the kernel's queue, which is the back pressure.
async fn accept(
    plugin: &str,
    bound: &BoundPort,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(&bound.places)
        .acquire_owned()
        .await
        .expect("the semaphore lives as long as the port and is never closed");
    let mut exhaustion = Exhaustion::default();
    loop {
        let cause = match bound.listener.accept().await {
            Ok((stream, peer)) => {
                stream.set_nodelay(true)?;
                return Ok((stream, peer, place));
            }
            Err(cause) => cause,
        };
        match rustix::io::Errno::from_io_error(&cause) {
            // That connection is gone before it was accepted; the next one is another matter (accept(2)).
            Some(
                rustix::io::Errno::CONNABORTED
                | rustix::io::Errno::CONNRESET
                | rustix::io::Errno::INTR
                | rustix::io::Errno::PERM
                | rustix::io::Errno::PROTO,
            ) => {}
            Some(
                rustix::io::Errno::MFILE
                | rustix::io::Errno::NFILE
                | rustix::io::Errno::NOBUFS
                | rustix::io::Errno::NOMEM,
            ) => {
                if exhaustion.is_to_be_said() {
                    let limit = files_max();
                    tracing::warn!(plugin, error = %cause, limit, "no resources to accept a connection");
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            _ => return Err(cause),
        }
    }
}
