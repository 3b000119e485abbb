//! WebSocket callers.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{Failure, Result, client::Http};

/// An open socket.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut http = Http::over(stream);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let answer = http.send(request.as_bytes()).await?;
        if answer.status != 101 {
            return Err(Failure::from(format!("{path} answered {}", answer.status)));
        }
        let stream = http.into_stream();
        Ok(Self(
            WebSocketStream::from_raw_socket(stream, Role::Client, None).await,
        ))
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, text: String) -> Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// The next message; nothing when the connection has ended without a word.
    pub(crate) async fn receive(&mut self) -> Result<Option<Message>> {
        Ok(self.0.next().await.transpose()?)
    }

    /// Sends a message and waits for it to come back; false when the server closed in the proper way instead.
    pub(crate) async fn echo(&mut self, message: &Message) -> Result<bool> {
        if self.0.send(message.clone()).await.is_err() {
            // The close frame may have been there already.
            return self.closed().await;
        }
        match self.0.next().await {
            Some(Ok(Message::Close(Some(_)))) => {
                while self.0.next().await.is_some() {}
                Ok(false)
            }
            Some(Ok(back)) if back == *message => Ok(true),
            other => Err(Failure::from(format!("instead of the echo: {other:?}"))),
        }
    }

    async fn closed(&mut self) -> Result<bool> {
        while let Some(message) = self.0.next().await {
            if matches!(message, Ok(Message::Close(Some(_)))) {
                return Ok(false);
            }
        }
        Err(Failure::from("the socket broke off without a close frame"))
    }
}
