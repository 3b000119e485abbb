//! The two directions of a socket. What is read becomes messages here; what a client is to be answered by the rules of framing (a pong, the echo of
//! its close) goes into the queue of the connection, as all that is written.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use super::{
    connection::Connection,
    decoder::{Broken, Decoder, Said},
    frame::{self, PONG},
    inflate::Inflater,
    outbound::Sink,
    tls::{self, TlsReading, TlsWriting},
};
use crate::http::{Departed, Seat};

/// What is read from.
enum Half {
    Plain(OwnedReadHalf),
    Tls(TlsReading),
}

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(context, buffer),
            Self::Tls(half) => Pin::new(half).poll_read(context, buffer),
        }
    }
}

/// What is written to.
pub(super) enum Writing {
    Plain(OwnedWriteHalf),
    Tls(TlsWriting),
}

impl Sink for Writing {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write(bytes),
            Self::Tls(half) => half.try_write(bytes),
        }
    }

    fn holds_back(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(half) => half.holds_back(),
        }
    }
}

impl AsyncWrite for Writing {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_write(context, bytes),
            Self::Tls(half) => Pin::new(half).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_flush(context),
            Self::Tls(half) => Pin::new(half).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_shutdown(context),
            Self::Tls(half) => Pin::new(half).poll_shutdown(context),
        }
    }
}

/// Bytes that are read in one call.
const READ_BYTES: usize = 8 * 1024;

/// The reading side of a socket.
pub(super) struct Reading {
    half: Half,
    /// What was read and is not taken yet.
    ahead: Bytes,
    _seat: Option<Seat>,
}

pub(super) fn split(departed: Departed) -> (Reading, Writing) {
    let (half, writing) = match departed.tls {
        None => {
            let (half, writing) = departed.stream.into_split();
            (Half::Plain(half), Writing::Plain(writing))
        }
        Some(session) => {
            let (half, writing) = tls::split(departed.stream, *session);
            (Half::Tls(half), Writing::Tls(writing))
        }
    };
    let reading = Reading {
        half,
        ahead: departed.ahead,
        _seat: departed.seat,
    };
    (reading, writing)
}

/// Why nothing more is heard of a client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unheard {
    /// It broke the rules.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It cannot be read from, or what it had compressed cannot be inflated.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// It has gone without a word, or has said that it goes.
    #[error("closed without a close frame")]
    Over,
}

/// What comes from a client.
pub(crate) struct Incoming {
    reading: Reading,
    connection: Arc<Connection>,
    /// In a box: few clients have one.
    inflater: Option<Box<Inflater>>,
    decoder: Decoder,
    /// Whatever comes means nothing any more.
    is_over: bool,
}

impl Incoming {
    pub(super) fn new(reading: Reading, connection: Arc<Connection>) -> Self {
        let inflater = connection.deflater().map(|_| Box::default());
        Self {
            reading,
            connection,
            inflater,
            decoder: Decoder::default(),
            is_over: false,
        }
    }

    /// The next that the client says. Pings are answered, and so is a close, which is the last.
    ///
    /// # Errors
    ///
    /// When there is nothing more to hear.
    pub(crate) async fn next(&mut self) -> Result<Said, Unheard> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, Unheard>> {
        if self.is_over {
            return Poll::Ready(Err(Unheard::Over));
        }
        let said = ready!(self.poll_said(context));
        match &said {
            Ok(Said::Ping(payload)) => self.connection.answer(&frame::encode(PONG, payload)),
            Ok(Said::Close(close)) => {
                self.is_over = true;
                let (code, reason) = close
                    .as_ref()
                    .map_or((1005, ""), |(code, reason)| (*code, reason.as_str()));
                self.connection.answer(&frame::close(code, reason));
            }
            Ok(_) => {}
            Err(_) => self.is_over = true,
        }
        Poll::Ready(said)
    }

    fn poll_said(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, Unheard>> {
        loop {
            let ahead = match &mut self.inflater {
                Some(inflater) => inflater.ready(&mut self.reading.ahead)?,
                None => &mut self.reading.ahead,
            };
            if ahead.is_empty() {
                if let Some(said) = ready!(self.poll_read(context))? {
                    return Poll::Ready(Ok(said));
                }
                continue;
            }
            let mut bytes = &ahead[..];
            let said = self.decoder.read(&mut bytes);
            let taken = ahead.len() - bytes.len();
            ahead.advance(taken);
            if let Some(said) = said? {
                return Poll::Ready(Ok(said));
            }
        }
    }

    /// Reads onto the stack: a buffer of its own for each connection would be there while nothing comes. What is more than the next that
    /// is said is kept until somebody asks again.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Said>, Unheard>> {
        // Nothing is in it, and its block goes, too.
        self.reading.ahead = Bytes::new();
        let mut stack = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut self.reading.half).poll_read(context, &mut read))?;
        let mut read = read.filled();
        if read.is_empty() {
            return Poll::Ready(Err(Unheard::Over));
        }
        self.connection.heard();
        let said = match self.inflater {
            Some(_) => None,
            None => self.decoder.read(&mut read)?,
        };
        if !read.is_empty() {
            self.reading.ahead = Bytes::copy_from_slice(read);
        }
        Poll::Ready(Ok(said))
    }

    /// Reads until the client has gone, and looks at nothing.
    pub(crate) async fn drain(&mut self) {
        let gone = poll_fn(|context| {
            loop {
                let mut stack = [MaybeUninit::uninit(); READ_BYTES];
                let mut read = ReadBuf::uninit(&mut stack);
                let half = Pin::new(&mut self.reading.half);
                match ready!(half.poll_read(context, &mut read)) {
                    Ok(()) if !read.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
        });
        gone.await;
    }
}
