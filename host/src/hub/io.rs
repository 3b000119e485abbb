//! The two directions of a socket. Frames are read by the WebSocket codec; what the codec answers by itself (pongs, the echo of a
//! close) goes into the queue of the connection, as all that is written.

use std::{
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

use super::connection::Connection;
use crate::http::{Departed, Seat};

pub(super) type Writing = OwnedWriteHalf;

/// Bytes that are read in one call.
const READ_BYTES: usize = 8 * 1024;

/// The reading side of a socket.
pub(super) struct Reading {
    half: OwnedReadHalf,
    /// What was read and is not taken yet.
    ahead: Bytes,
    _seat: Option<Seat>,
}

pub(super) fn split(departed: Departed) -> (Reading, Writing) {
    let (half, writing) = departed.stream.into_split();
    let reading = Reading {
        half,
        ahead: departed.ahead,
        _seat: departed.seat,
    };
    (reading, writing)
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
    /// Reads onto the stack: a buffer of its own for each connection would be there while nothing comes. What the codec has no
    /// room for is kept until it asks again.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            reading,
            connection,
        } = &mut *self;
        if reading.ahead.is_empty() {
            let mut stack = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut stack);
            ready!(Pin::new(&mut reading.half).poll_read(context, &mut read))?;
            let read = read.filled();
            if !read.is_empty() {
                connection.heard();
            }
            let (taken, ahead) = read.split_at(read.len().min(buffer.remaining()));
            buffer.put_slice(taken);
            if !ahead.is_empty() {
                reading.ahead = Bytes::copy_from_slice(ahead);
            }
        } else {
            let taken = reading.ahead.len().min(buffer.remaining());
            buffer.put_slice(&reading.ahead[..taken]);
            reading.ahead.advance(taken);
            if reading.ahead.is_empty() {
                // Its block goes, too.
                reading.ahead = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
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
