//! Byte streams to servers: `nself.connect/1` for one plugin instance.
//!
//! A stream passes the same two gates as a request of [`http`](super::http). Host and port are compared with the plugin's
//! egress list before anything is looked up; every address of the answer is compared with it, and a connection goes to an
//! address that passed and to no other. TLS is the host's: a plugin brings certificates to trust besides the system's, and
//! never a way to trust anybody.

mod error;
mod outgoing;
pub(crate) mod stream;
mod target;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::connect::{Connect, ConnectProvider, Outgoing},
    error::Error,
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use self::{
    error::ConnectError,
    outgoing::{Deadline, OpenStream, Server},
    stream::Stream,
    target::Target,
};
use super::{
    Grant,
    http::{
        Egress,
        destination::Host,
        list::{EgressList, RuleError},
    },
};

/// Longest time that a plugin may give the use of a stream.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Streams of one plugin at a time; more wait within their own timeout.
pub const STREAMS_MAX: usize = 256;
/// Bytes of certificates that a plugin may bring.
const CERTIFICATE_BYTES_MAX: usize = 1024 * 1024;

/// `nself.connect/1` of one plugin instance.
#[derive(Clone)]
pub struct ConnectCapability {
    plugin: Arc<str>,
    list: Arc<EgressList>,
    egress: Egress,
    tls: TlsConnector,
    places: Arc<Semaphore>,
}

impl ConnectCapability {
    /// Connects for the plugin that holds `grant`.
    ///
    /// # Errors
    ///
    /// When an entry of the egress list cannot be read.
    pub fn new(egress: &Egress, grant: &Grant) -> Result<Self, RuleError> {
        Ok(Self {
            plugin: Arc::clone(&grant.plugin),
            list: Arc::new(EgressList::of(grant)?),
            egress: egress.clone(),
            tls: TlsConnector::from(Arc::new(egress.tls())),
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
        })
    }

    /// The handle that crosses.
    pub fn into_handle(self) -> Connect {
        Connect::new(Arc::new(self))
    }

    fn with_certificates(&self, pem: &[u8]) -> Result<Self, ConnectError> {
        let tls = trusting(&self.egress, pem)?;
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls)),
            ..self.clone()
        })
    }

    async fn connect(&self, target: Target, deadline: Deadline) -> Result<Outgoing, ConnectError> {
        let end = deadline.end();
        let late = || ConnectError::late(&target.origin);
        let place = timeout_at(end, Arc::clone(&self.places).acquire_owned())
            .await
            .map_err(|_| late())?
            .expect("the semaphore lives as long as the capability and is never closed");
        let dialled = timeout_at(end, self.dial(&target, end)).await;
        let (tcp, peer) = dialled.map_err(|_| late())??;
        let stream = if target.is_tls {
            let shaken = timeout_at(end, self.tls.connect(target.name.clone(), tcp)).await;
            let tls = shaken
                .map_err(|_| late())?
                .map_err(|cause| ConnectError::untrusted(&target.origin, cause))?;
            Stream::Tls(Box::new(tls))
        } else {
            Stream::Plain(tcp)
        };
        let server = Server {
            plugin: Arc::clone(&self.plugin),
            origin: target.origin,
            peer,
            tls: self.tls.clone(),
            name: target.name,
        };
        let open = OpenStream::new(server, stream, deadline, place);
        Ok(Outgoing::new(Arc::new(open)))
    }

    /// Connects to the first address that answers; each has its share of the time.
    async fn dial(
        &self,
        target: &Target,
        end: Instant,
    ) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let addresses = self.addresses(target).await?;
        let failed = |cause| ConnectError::failed(&target.origin, cause);
        let mut failure = failed(io::Error::other("it has no address"));
        for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let share = end.saturating_duration_since(Instant::now()) / left;
            let peer = SocketAddr::new(address, target.port);
            let Ok(dialled) = timeout(share, TcpStream::connect(peer)).await else {
                failure = ConnectError::late(&target.origin);
                continue;
            };
            match dialled.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)) {
                Ok(tcp) => return Ok((tcp, peer)),
                Err(cause) => failure = failed(cause),
            }
        }
        Err(failure)
    }

    /// The addresses that a connection may go to: what is dialled is what was checked.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, ConnectError> {
        let name = match &target.host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        let found = self.egress.resolve(name.clone()).await;
        let found = found.map_err(|cause| ConnectError::failed(&target.origin, cause))?;
        let (granted, refused): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|address| self.list.grants_resolved(name, *address, target.port));
        match refused.first() {
            Some(&address) if granted.is_empty() => Err(ConnectError::Private {
                origin: Arc::clone(&target.origin),
                address,
            }),
            _ => Ok(granted),
        }
    }
}

impl ConnectProvider for ConnectCapability {
    fn trusting(
        &self,
        certificates: Bytes,
    ) -> impl Future<Output = Result<Connect, Error>> + Send + 'static {
        let this = self.clone();
        async move {
            let trusting = this.with_certificates(certificates.as_slice());
            match trusting {
                Ok(trusting) => Ok(trusting.into_handle()),
                Err(error) => Err(error.for_plugin(&this.plugin)),
            }
        }
    }

    fn open(
        &self,
        host: Str<'_>,
        port: u32,
        tls: u32,
        timeout_ms: u64,
    ) -> impl Future<Output = Result<Outgoing, Error>> + Send + 'static {
        let this = self.clone();
        let deadline = Deadline::after(Duration::from_millis(timeout_ms));
        let target = Target::check(&self.list, host.to_option().unwrap_or_default(), port, tls);
        async move {
            let opened = match target {
                Ok(target) => this.connect(target, deadline).await,
                Err(error) => Err(error),
            };
            opened.map_err(|error| error.for_plugin(&this.plugin))
        }
    }
}

/// TLS that trusts the certificates of `pem` beside the system's.
fn trusting(egress: &Egress, pem: &[u8]) -> Result<ClientConfig, ConnectError> {
    let refuse = |reason: String| ConnectError::Certificates { reason };
    if pem.len() > CERTIFICATE_BYTES_MAX {
        return Err(refuse("they are larger than 1 MiB".to_owned()));
    }
    let mut roots = egress.roots();
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| refuse(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(refuse(
            "there is no certificate among them: expected PEM".to_owned(),
        ));
    }
    Egress::client(roots).map_err(|error| refuse(error.to_string()))
}
