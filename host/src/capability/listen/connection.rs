//! An accepted connection: reads and writes go on independently, each one at a time.

use std::{future::Future, io, net::SocketAddr, num::NonZero, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use nself_plugin_api::abi::{bytes::Bytes, capability::listen::ConnectionProvider, error::Error};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, OwnedSemaphorePermit},
    time::timeout,
};

use crate::capability::error::error;

/// Most bytes of one read, whatever the plugin asks for.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Allocated at a time for reading, and only once there is something to read.
const BUFFER_BYTES: usize = 16 * 1024;
/// With less room than this left, a new buffer is better than a short read.
const SPARE_BYTES_MIN: usize = 2 * 1024;

/// A TCP connection; dropped, it closes and its place is free.
pub(super) struct TcpConnection {
    peer: SocketAddr,
    idle_max: Duration,
    read: Arc<Mutex<Reading>>,
    write: Arc<Mutex<OwnedWriteHalf>>,
}

struct Reading {
    half: OwnedReadHalf,
    /// Chunks are split off its front, so that short reads share one allocation.
    buffer: BytesMut,
    _place: OwnedSemaphorePermit,
}

impl TcpConnection {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        idle_max: Duration,
    ) -> Self {
        let (half, write) = stream.into_split();
        let read = Reading {
            half,
            buffer: BytesMut::new(),
            _place: place,
        };
        Self {
            peer,
            idle_max,
            read: Arc::new(Mutex::new(read)),
            write: Arc::new(Mutex::new(write)),
        }
    }
}

/// Bounds one wait for the peer.
async fn within<T>(
    idle_max: Duration,
    peer: SocketAddr,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Error> {
    match timeout(idle_max, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(cause)) => Err(error(
            502,
            "CONNECTION_BROKEN",
            "a connection has broken",
            format_args!("connection of {peer}: {cause}"),
        )),
        Err(_) => Err(error(
            504,
            "CONNECTION_IDLE",
            "a connection was idle for too long",
            format_args!(
                "connection of {peer}: nothing moved for {} ms",
                idle_max.as_millis()
            ),
        )),
    }
}

impl ConnectionProvider for TcpConnection {
    fn peer(&self) -> Bytes {
        self.peer.to_string().into()
    }

    fn read(&self, max: u32) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let (read, peer, idle_max) = (Arc::clone(&self.read), self.peer, self.idle_max);
        // None at all would look like the end.
        let bytes_max = usize::try_from(max)
            .unwrap_or(READ_BYTES_MAX)
            .clamp(1, READ_BYTES_MAX);
        async move {
            let mut read = read.lock().await;
            let Reading { half, buffer, .. } = &mut *read;
            within(idle_max, peer, half.readable()).await?;
            if buffer.capacity() < bytes_max.min(SPARE_BYTES_MIN) {
                buffer.reserve(BUFFER_BYTES);
            }
            within(idle_max, peer, half.read_buf(&mut buffer.limit(bytes_max))).await?;
            Ok(buffer.split().freeze().into())
        }
    }

    fn write(&self, bytes: Bytes) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (write, peer, idle_max) = (Arc::clone(&self.write), self.peer, self.idle_max);
        async move {
            let mut write = write.lock().await;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                // Each step is bounded, not the whole: a slow reader that goes on reading is no dead one.
                let written = within(idle_max, peer, async {
                    NonZero::new(write.write(rest).await?)
                        .ok_or_else(|| io::ErrorKind::WriteZero.into())
                })
                .await?
                .get();
                rest = &rest[written..];
            }
            Ok(())
        }
    }

    fn shutdown(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (write, peer, idle_max) = (Arc::clone(&self.write), self.peer, self.idle_max);
        async move { within(idle_max, peer, write.lock().await.shutdown()).await }
    }
}
