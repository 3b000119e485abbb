//! An open stream: reads and writes go on independently, each one at a time, and all of them within one deadline.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use nself_plugin_api::abi::{bytes::Bytes, capability::connect::OutgoingProvider, error::Error};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Mutex, OwnedSemaphorePermit},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{TIMEOUT_MAX, error::ConnectError, stream::Stream};

/// Most bytes of one read, whatever the plugin asks for.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Allocated at a time for reading.
const BUFFER_BYTES: usize = 16 * 1024;
/// With less room than this left, a new buffer is better than a short read.
const SPARE_BYTES_MIN: usize = 2 * 1024;

/// When what is done with a stream must have come to an end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout.min(TIMEOUT_MAX))
    }

    pub(super) fn end(self) -> Instant {
        self.0
    }
}

/// What a stream is to: for errors, and for TLS that begins in between.
pub(super) struct Server {
    pub(super) plugin: Arc<str>,
    pub(super) origin: Arc<str>,
    pub(super) peer: SocketAddr,
    pub(super) tls: TlsConnector,
    /// Who it has to prove to be.
    pub(super) name: ServerName<'static>,
}

/// A stream to a server; dropped, it closes and its place is free.
pub(super) struct OpenStream(Arc<Shared>);

struct Shared {
    server: Server,
    deadline: StdMutex<Deadline>,
    /// Nothing once TLS was begun and did not come about: what was plain is over, too.
    read: Mutex<Option<Reading>>,
    write: Mutex<Option<WriteHalf<Stream>>>,
    _place: OwnedSemaphorePermit,
}

struct Reading {
    half: ReadHalf<Stream>,
    /// Chunks are split off its front, so that short reads share one allocation.
    buffer: BytesMut,
}

impl OpenStream {
    pub(super) fn new(
        server: Server,
        stream: Stream,
        deadline: Deadline,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (read, write) = halves(stream);
        Self(Arc::new(Shared {
            server,
            deadline: StdMutex::new(deadline),
            read: Mutex::new(Some(read)),
            write: Mutex::new(Some(write)),
            _place: place,
        }))
    }

    /// Does `work` within the deadline as it is now.
    fn within<T, F>(
        &self,
        work: impl FnOnce(Arc<Shared>) -> F,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static
    where
        F: Future<Output = Result<T, ConnectError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        let end = shared.deadline().end();
        let work = work(Arc::clone(&shared));
        async move {
            let server = &shared.server;
            let outcome = match timeout_at(end, work).await {
                Ok(outcome) => outcome,
                Err(_) => Err(ConnectError::late(&server.origin)),
            };
            outcome.map_err(|error| error.for_plugin(&server.plugin))
        }
    }
}

impl Shared {
    fn deadline(&self) -> std::sync::MutexGuard<'_, Deadline> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self, cause: impl Into<io::Error>) -> ConnectError {
        ConnectError::broken(&self.server.origin, cause.into())
    }

    fn closed(&self) -> ConnectError {
        self.broken(io::ErrorKind::NotConnected)
    }

    async fn read(&self, bytes_max: usize) -> Result<Bytes, ConnectError> {
        let mut read = self.read.lock().await;
        let Reading { half, buffer } = read.as_mut().ok_or_else(|| self.closed())?;
        if buffer.capacity() < bytes_max.min(SPARE_BYTES_MIN) {
            buffer.reserve(BUFFER_BYTES);
        }
        let read = half.read_buf(&mut buffer.limit(bytes_max)).await;
        read.map_err(|cause| self.broken(cause))?;
        Ok(buffer.split().freeze().into())
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), ConnectError> {
        let mut write = self.write.lock().await;
        let half = write.as_mut().ok_or_else(|| self.closed())?;
        let written = half.write_all(bytes).await;
        written.map_err(|cause| self.broken(cause))?;
        // TLS keeps what it could not send at once.
        half.flush().await.map_err(|cause| self.broken(cause))
    }

    async fn shutdown(&self) -> Result<(), ConnectError> {
        let mut write = self.write.lock().await;
        let half = write.as_mut().ok_or_else(|| self.closed())?;
        half.shutdown().await.map_err(|cause| self.broken(cause))
    }

    /// The host keeps nothing of the plain stream back that could be taken for what TLS protects: all that it had read it has
    /// handed out, and what comes next is the handshake.
    async fn start_tls(&self) -> Result<(), ConnectError> {
        let (mut read, mut write) = (self.read.lock().await, self.write.lock().await);
        let (Some(reading), Some(half)) = (read.take(), write.take()) else {
            return Err(self.closed());
        };
        let tcp = match reading.half.unsplit(half) {
            Stream::Plain(tcp) => tcp,
            encrypted @ Stream::Tls(_) => {
                let (reading, half) = halves(encrypted);
                (*read, *write) = (Some(reading), Some(half));
                return Err(ConnectError::Request {
                    reason: "that is encrypted shall be encrypted again",
                });
            }
        };
        let server = &self.server;
        let stream = server.tls.connect(server.name.clone(), tcp).await;
        let stream = stream.map_err(|cause| ConnectError::untrusted(&server.origin, cause))?;
        let (reading, half) = halves(Stream::Tls(Box::new(stream)));
        (*read, *write) = (Some(reading), Some(half));
        Ok(())
    }
}

fn halves(stream: Stream) -> (Reading, WriteHalf<Stream>) {
    let (half, write) = tokio::io::split(stream);
    let buffer = BytesMut::new();
    (Reading { half, buffer }, write)
}

impl OutgoingProvider for OpenStream {
    fn peer(&self) -> Bytes {
        self.0.server.peer.to_string().into()
    }

    fn set_deadline(&self, timeout_ms: u64) {
        *self.0.deadline() = Deadline::after(Duration::from_millis(timeout_ms));
    }

    fn read(&self, max: u32) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        // None at all would look like the end.
        let bytes_max = usize::try_from(max)
            .unwrap_or(READ_BYTES_MAX)
            .clamp(1, READ_BYTES_MAX);
        self.within(move |shared| async move { shared.read(bytes_max).await })
    }

    fn write(&self, bytes: Bytes) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.within(move |shared| async move { shared.write(bytes.as_slice()).await })
    }

    fn shutdown(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.within(move |shared| async move { shared.shutdown().await })
    }

    fn start_tls(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.within(move |shared| async move { shared.start_tls().await })
    }
}
