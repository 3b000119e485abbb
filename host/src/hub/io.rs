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

use super::{connection::Connection, inflate::Inflater};
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

impl Reading {
    /// Reads onto the stack: a buffer of its own for each connection would be there while nothing comes. What there is no room for is
    /// kept until somebody asks again.
    fn poll_read(
        &mut self,
        connection: &Connection,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut stack = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut stack);
            ready!(Pin::new(&mut self.half).poll_read(context, &mut read))?;
            let read = read.filled();
            if !read.is_empty() {
                connection.heard();
            }
            let (taken, ahead) = read.split_at(read.len().min(buffer.remaining()));
            buffer.put_slice(taken);
            if !ahead.is_empty() {
                self.ahead = Bytes::copy_from_slice(ahead);
            }
        } else {
            let taken = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..taken]);
            self.ahead.advance(taken);
            if self.ahead.is_empty() {
                // Its block goes, too.
                self.ahead = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The same of what a client has compressed.
    fn poll_inflate(
        &mut self,
        inflater: &mut Inflater,
        connection: &Connection,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !inflater.read(&mut self.ahead, buffer)? {
            let mut stack = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut stack);
            ready!(Pin::new(&mut self.half).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            connection.heard();
            self.ahead = Bytes::copy_from_slice(read.filled());
        }
        if self.ahead.is_empty() {
            self.ahead = Bytes::new(); // as above
        }
        Poll::Ready(Ok(()))
    }
}

/// What the codec reads from and writes to.
pub(crate) struct Wire {
    reading: Reading,
    connection: Arc<Connection>,
    /// In a box: few clients have one.
    inflater: Option<Box<Inflater>>,
}

impl Wire {
    pub(super) fn new(reading: Reading, connection: Arc<Connection>) -> Self {
        let inflater = connection.deflater().map(|_| Box::default());
        Self {
            reading,
            connection,
            inflater,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            reading,
            connection,
            inflater,
        } = &mut *self;
        match inflater {
            Some(inflater) => reading.poll_inflate(inflater, connection, context, buffer),
            None => reading.poll_read(connection, context, buffer),
        }
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
