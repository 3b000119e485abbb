//! WebSockets: the host upgrades, frames and keeps alive; a plugin sees messages.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures_util::TryFutureExt;
use http::{HeaderValue, StatusCode, header};

use super::{Respond, Response};
use crate::{
    abi::{
        self,
        response::{Body, Upgrade, UpgradeProvider, message},
    },
    error::{Error, Result},
};

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// The end: code (RFC 6455, section 7.4) and reason.
    Close(u16, String),
}

impl From<Message> for abi::response::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self {
                kind: message::TEXT,
                code: 0,
                data: text.into(),
            },
            Message::Binary(bytes) => Self {
                kind: message::BINARY,
                code: 0,
                data: bytes.into(),
            },
            Message::Close(code, reason) => Self {
                kind: message::CLOSE,
                code: code.into(),
                data: reason.into(),
            },
        }
    }
}

impl From<abi::response::Message> for Message {
    fn from(message: abi::response::Message) -> Self {
        match message.kind {
            message::TEXT => Self::Text(message.data.to_text()),
            message::CLOSE => Self::Close(
                u16::try_from(message.code).unwrap_or(1005),
                message.data.to_text(),
            ),
            _ => Self::Binary(message.data.into()),
        }
    }
}

/// An open WebSocket. Dropping it closes with 1000.
pub struct Socket(abi::response::Socket);

impl Socket {
    /// The next message; [`Message::Close`] is the last.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub async fn receive(&self) -> Result<Message> {
        Ok(self.0.receive().await?.into())
    }

    /// Sends; resolves when the transport has taken it.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub async fn send(&self, message: Message) -> Result<()> {
        Ok(self.0.send(message.into()).await?)
    }

    /// What the hub calls it.
    pub(crate) fn number_in_hub(&self) -> Option<u64> {
        self.0.number_in_hub()
    }
}

/// Answers with 101 and then serves the socket: `WebSocket::new(|socket| async move { .. })`.
pub struct WebSocket {
    upgrade: Upgrade,
    protocol: Option<HeaderValue>,
}

struct Serve<F>(F);

impl<F, Fut> UpgradeProvider for Serve<F>
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    fn run(
        &self,
        socket: abi::response::Socket,
    ) -> impl Future<Output = Result<(), abi::error::Error>> + Send + 'static {
        // Not an async block: that would have room for it twice, for as long as the socket is open.
        (self.0)(Socket(socket)).map_err(Into::into)
    }
}

impl WebSocket {
    /// Serves the socket with `serve` until it resolves.
    pub fn new<F, Fut>(serve: F) -> Self
    where
        F: Fn(Socket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            upgrade: Upgrade::new(Arc::new(Serve(serve))),
            protocol: None,
        }
    }

    /// Answers with this subprotocol, which must be one that the client offered.
    ///
    /// # Errors
    ///
    /// When it is not a header value.
    pub fn protocol(mut self, protocol: &str) -> Result<Self> {
        self.protocol = Some(HeaderValue::from_str(protocol).map_err(Error::internal)?);
        Ok(self)
    }
}

impl Respond for WebSocket {
    const KIND: &'static str = "websocket";

    fn respond(self) -> Result<Response> {
        let response = Response::with(StatusCode::SWITCHING_PROTOCOLS, Body::Upgrade(self.upgrade));
        Ok(match self.protocol {
            Some(protocol) => response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol),
            None => response,
        })
    }
}
