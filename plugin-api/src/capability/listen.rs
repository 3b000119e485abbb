//! TCP listeners on ports that the manifest asks for.

use std::sync::Arc;

use bytes::Bytes;

use super::granted;
use crate::{abi::capability::listen as raw, cx::Handles, error::Result};

/// Binds ports.
pub struct Listen<'a>(pub(crate) &'a Arc<Handles>);

impl Listen<'_> {
    /// Binds a port of the manifest; the operator may have put it elsewhere.
    ///
    /// # Errors
    ///
    /// `PORT_NOT_GRANTED`, or `PORT_TAKEN` with what to change.
    pub async fn bind(&self, port: u16) -> Result<Listener> {
        Ok(Listener(
            granted!(self, listen, "nself.listen/1")?
                .bind(port.into())
                .await?,
        ))
    }
}

/// A bound port; dropped, it is free.
pub struct Listener(raw::Listener);

impl Listener {
    /// The port that was bound.
    pub fn port(&self) -> u16 {
        u16::try_from(self.0.port()).unwrap_or_default()
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// When the listener broke.
    pub async fn accept(&self) -> Result<Connection> {
        Ok(Connection(self.0.accept().await?))
    }
}

/// A byte stream with a peer; dropped, it closes.
pub struct Connection(raw::Connection);

impl Connection {
    /// Address of the peer.
    pub fn peer(&self) -> String {
        self.0.peer().to_text()
    }

    /// The next bytes, at most `max`; empty at the end.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub async fn read(&self, max: u32) -> Result<Bytes> {
        Ok(self.0.read(max).await?.into())
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> Result<()> {
        Ok(self.0.write(bytes.into().into()).await?)
    }

    /// Ends the sending side.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub async fn shutdown(&self) -> Result<()> {
        Ok(self.0.shutdown().await?)
    }
}
