//! Byte streams to servers: plain, by TLS, or turned into TLS in between.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use nself_plugin_api::{Context, Result, capability::connect::Tls};
//! # async fn greet(context: Context) -> Result<()> {
//! let timeout = Duration::from_secs(10);
//! let server = context.connect().open("mail.example.org", 587, Tls::No, timeout).await?;
//! let greeting = server.read(512).await?;
//! server.set_deadline(timeout);
//! server.write("STARTTLS\r\n").await?;
//! let answer = server.read(512).await?;
//! server.start_tls().await?;
//! # Ok(())
//! # }
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{granted, millis};
use crate::{abi::capability::connect as raw, cx::Handles, error::Result};

/// Whether a stream is protected from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// It is plain, until [`Outgoing::start_tls`].
    No,
    /// It is.
    Yes,
}

/// Connects to servers, and trusts the certificates that the system trusts.
pub struct Connect<'a>(pub(crate) &'a Arc<Handles>);

impl Connect<'_> {
    /// One that trusts these certificates (PEM), too.
    ///
    /// # Errors
    ///
    /// `EGRESS_CERTIFICATES` when there is none among them, or one that does not read.
    pub async fn trusting(&self, certificates: impl Into<Bytes>) -> Result<Connector> {
        let connect = granted!(self, connect, "nself.connect/1")?;
        Ok(Connector(
            connect.trusting(certificates.into().into()).await?,
        ))
    }

    /// Connects to a port of a host, which is a name or an address. `timeout` bounds this, and whatever follows until
    /// [`Outgoing::set_deadline`] says otherwise.
    ///
    /// # Errors
    ///
    /// `EGRESS_DENIED` when the server is not among the granted ones, `EGRESS_FAILED` when it cannot be reached,
    /// `EGRESS_TLS_FAILED` when it cannot be trusted, `EGRESS_TIMEOUT`.
    pub async fn open(
        &self,
        host: &str,
        port: u16,
        tls: Tls,
        timeout: Duration,
    ) -> Result<Outgoing> {
        let connect = granted!(self, connect, "nself.connect/1")?;
        open(connect, host, port, tls, timeout).await
    }
}

/// Connects to servers, and trusts certificates beside those that the system trusts.
pub struct Connector(raw::Connect);

impl Connector {
    /// As [`Connect::open`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn open(
        &self,
        host: &str,
        port: u16,
        tls: Tls,
        timeout: Duration,
    ) -> Result<Outgoing> {
        open(&self.0, host, port, tls, timeout).await
    }
}

async fn open(
    connect: &raw::Connect,
    host: &str,
    port: u16,
    tls: Tls,
    timeout: Duration,
) -> Result<Outgoing> {
    let tls = match tls {
        Tls::No => raw::tls::NONE,
        Tls::Yes => raw::tls::FIRST,
    };
    let opened = connect.open(host.into(), port.into(), tls, millis(timeout));
    Ok(Outgoing(opened.await?))
}

/// A byte stream to a server; dropped, it closes.
pub struct Outgoing(raw::Outgoing);

impl Outgoing {
    /// Address of the server.
    pub fn peer(&self) -> String {
        self.0.peer().to_text()
    }

    /// All that is read, written and negotiated from now on must be done within this time, together.
    pub fn set_deadline(&self, timeout: Duration) {
        self.0.set_deadline(millis(timeout));
    }

    /// The next bytes, at most `max`; empty at the end.
    ///
    /// # Errors
    ///
    /// `CONNECTION_BROKEN`, or `EGRESS_TIMEOUT` when the deadline has passed.
    pub async fn read(&self, max: u32) -> Result<Bytes> {
        Ok(self.0.read(max).await?.into())
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// `CONNECTION_BROKEN`, or `EGRESS_TIMEOUT` when the deadline has passed.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> Result<()> {
        Ok(self.0.write(bytes.into().into()).await?)
    }

    /// Ends the sending side.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn shutdown(&self) -> Result<()> {
        Ok(self.0.shutdown().await?)
    }

    /// Turns the stream into TLS; the server's certificate must be good for the host that was opened.
    ///
    /// What was read before came from anybody: throw away every answer that TLS may change, and refuse to go on when bytes
    /// came behind the server's consent. They would be taken for what the server says under TLS.
    ///
    /// # Errors
    ///
    /// `EGRESS_TLS_FAILED`, after which the stream is closed, or `EGRESS_TIMEOUT`.
    pub async fn start_tls(&self) -> Result<()> {
        Ok(self.0.start_tls().await?)
    }
}
