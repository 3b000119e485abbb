//! A socket with patience that ends.
//!
//! HTTP libraries time a request's head, and only once they know which protocol they speak. This sits below and
//! sees every way to hold a connection open for nothing: saying nothing, saying it slowly, never reading.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{Connection, Seat};
use super::{Departed, Limits};

/// How long, and for how many bytes, a caller that is still sending is listened to after the last answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The socket of one connection.
pub(super) struct Timed {
    stream: TcpStream,
    connection: Arc<Connection>,
    head_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    /// When the first byte of a request's head came, and how many requests had begun by then.
    head: Option<(u64, Instant)>,
    reading: Pin<Box<Sleep>>,
    /// Only while the other side does not read.
    writing: Option<Pin<Box<Sleep>>>,
    lingering: Option<Pin<Box<Sleep>>>,
    linger_bytes_left: usize,
    shut: bool,
    seat: Seat,
}

impl Timed {
    pub(super) fn new(
        stream: TcpStream,
        connection: Arc<Connection>,
        limits: &Limits,
        seat: Seat,
    ) -> Self {
        Self {
            stream,
            connection,
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            head: None,
            reading: Box::pin(sleep_until(Instant::now() + limits.head_timeout)),
            writing: None,
            lingering: None,
            linger_bytes_left: LINGER_BYTES_MAX,
            shut: false,
            seat,
        }
    }

    /// For who has left HTTP: from here on its patience is somebody else's. What was read already is copied, as it is little or nothing
    /// and lies in HTTP's whole buffer.
    pub(super) fn leave(self, ahead: &[u8]) -> Departed {
        Departed {
            stream: self.stream,
            tls: None,
            ahead: Bytes::copy_from_slice(ahead),
            write_timeout: self.write_timeout,
            seat: Some(self.seat),
        }
    }

    /// The first byte that the caller sends, which stays to be read; nothing when it goes away without one.
    pub(super) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let count = self.peek(&mut first).await?;
        Ok((count > 0).then_some(first[0]))
    }

    /// What the caller has sent and nobody has read, as far as there is room for it; it stays to be read. 0 when it has gone away.
    pub(super) async fn peek(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        std::future::poll_fn(|context| {
            if let Poll::Ready(peeked) = self.stream.poll_peek(context, &mut buffer) {
                return Poll::Ready(peeked);
            }
            self.poll_patience(context).map(Err)
        })
        .await
    }

    /// Reads away so many bytes of what was seen. They begin no request.
    pub(super) async fn discard(&mut self, mut count: usize) -> io::Result<()> {
        let mut scratch = [0; 512];
        while count > 0 {
            let next = count.min(scratch.len());
            let read = self.stream.read(&mut scratch[..next]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            count -= read;
        }
        Ok(())
    }

    /// When the caller's silence has lasted too long; `None` while it is the host's turn.
    fn read_deadline(&self) -> Option<Instant> {
        let quiet_since = self.connection.quiet_since()?;
        let begun = self.connection.begun();
        if begun == 0 {
            return Some(quiet_since + self.head_timeout);
        }
        let idle = quiet_since + self.idle_timeout;
        match self.head {
            // On HTTP/2 bytes between requests are mostly pings, which begin nothing.
            Some((at, first_byte)) if at == begun && !self.connection.is_http2() => {
                Some(idle.min(first_byte + self.head_timeout))
            }
            _ => Some(idle),
        }
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let now = Instant::now();
            let deadline = self.read_deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the caller was silent for too long",
                ));
            }
            // While the host is busy nobody tells this side when that ends: look again after a while.
            let next = deadline.unwrap_or(now + self.idle_timeout);
            if self.reading.is_elapsed() || (deadline.is_some() && self.reading.deadline() > next) {
                self.reading.as_mut().reset(next);
            }
            ready!(self.reading.as_mut().poll(context));
        }
    }

    fn poll_written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let deadline = Instant::now() + self.write_timeout;
        let writing = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(writing.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the caller does not read",
        )))
    }

    /// Reads away what the caller still sends: a socket that is closed over unread bytes resets the connection,
    /// and the answer that is on its way is lost with it.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 8 * 1024];
        while self.linger_bytes_left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.connection.linger();
                    self.linger_bytes_left =
                        self.linger_bytes_left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending if !self.connection.lingers() => break,
                Poll::Pending => {
                    let deadline = Instant::now() + LINGER;
                    let lingering = self
                        .lingering
                        .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                    return lingering.as_mut().poll(context);
                }
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            let begun = self.connection.begun();
            if buffer.filled().len() > before
                && self.connection.quiet_since().is_some()
                && self.head.is_none_or(|(at, _)| at != begun)
            {
                self.head = Some((begun, Instant::now()));
            }
            return Poll::Ready(read);
        }
        self.poll_patience(context).map(Err)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.poll_written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.poll_written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.shut = true;
        }
        self.poll_linger(context).map(Ok)
    }
}
