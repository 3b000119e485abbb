//! A socket that has left HTTP. What HTTP had around it (timers, buffers, layers that look at each byte) stays behind: whoever
//! has thousands of open sockets pays for what each of them holds.

use std::{io, time::Duration};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade};
use rustls::ServerConnection;
use tokio::net::TcpStream;

use super::{connection::Seat, io::Io};

/// The socket, and what comes with it.
pub(crate) struct Departed {
    pub(crate) stream: TcpStream,
    /// What is around what the socket carries, if something is.
    pub(crate) tls: Option<Box<ServerConnection>>,
    /// What the client sent behind its request, and nobody has read yet.
    pub(crate) ahead: Bytes,
    /// How long it may take nothing of what is written to it.
    pub(crate) write_timeout: Duration,
    /// Its place among the connections, kept as long as the socket is. Nothing where no listener counts it.
    pub(crate) seat: Option<Seat>,
}

impl TryFrom<Upgraded> for Departed {
    type Error = io::Error;

    fn try_from(upgraded: Upgraded) -> io::Result<Self> {
        let parts = upgrade::downcast::<TokioIo<Io>>(upgraded)
            .map_err(|_| io::Error::other("this connection is none of our listeners'"))?;
        Ok(match parts.io.into_inner() {
            Io::Plain(timed) => timed.leave(&parts.read_buf),
            Io::Tls(stream) => {
                let (timed, session) = stream.into_inner();
                Self {
                    tls: Some(Box::new(session)),
                    ..timed.leave(&parts.read_buf)
                }
            }
        })
    }
}
