//! The two directions of a socket. Frames are read by the WebSocket codec; what the codec answers by itself (pongs, the echo of a
//! close) goes into the queue of the connection, as all that is written.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};

use super::connection::Connection;

pub(super) type Reading = ReadHalf<TokioIo<Upgraded>>;
pub(super) type Writing = WriteHalf<TokioIo<Upgraded>>;

pub(super) fn split(upgraded: Upgraded) -> (Reading, Writing) {
    tokio::io::split(TokioIo::new(upgraded))
}

/// What the codec reads from and writes to.
pub(crate) struct Wire {
    reading: Reading,
    connection: Arc<Connection>,
}

impl Wire {
    pub(super) fn new(reading: Reading, connection: Arc<Connection>) -> Self {
        Self {
            reading,
            connection,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.reading).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.heard();
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection.answer(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
