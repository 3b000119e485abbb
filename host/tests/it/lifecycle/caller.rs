//! A client whose every failure is seen: one kept connection, no retries, no pool.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::project::PATIENCE;
use crate::http::fixture::Answer;

/// What went wrong, for people.
pub(crate) type Failure = String;

/// One connection.
pub(crate) struct Caller {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    token: Option<String>,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("connect: {error}"))?;
        Self::over(stream, address).await
    }

    /// The same over a connection that there is.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("handshake: {error}"))?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            address,
            token: None,
        })
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.try_get(path)
            .await
            .unwrap_or_else(|failure| panic!("{path}: {failure}"))
    }

    pub(crate) async fn try_get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).unwrap();
        let whole = async {
            self.sender
                .ready()
                .await
                .map_err(|error| format!("closed: {error:?}"))?;
            let answer = self.sender.send_request(request).await;
            let (parts, body) = answer
                .map_err(|error| format!("no answer: {error:?}"))?
                .into_parts();
            let body = body.collect().await;
            let body = body
                .map_err(|error| format!("{} cut: {error:?}", parts.status))?
                .to_bytes();
            Ok(Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            })
        };
        tokio::time::timeout(PATIENCE, whole)
            .await
            .map_err(|_| "no answer in time".to_owned())?
    }
}

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<TcpStream>;

pub(crate) async fn socket(address: SocketAddr, path: &str) -> Result<Socket, Failure> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("connect: {error}"))?;
    let opening = tokio_tungstenite::client_async(format!("ws://{address}{path}"), stream);
    let opened = tokio::time::timeout(PATIENCE, opening)
        .await
        .map_err(|_| "no upgrade in time".to_owned())?;
    let (socket, _) = opened.map_err(|error| format!("upgrade: {error}"))?;
    Ok(socket)
}

/// The text of a message.
pub(crate) fn text(message: &Message) -> &str {
    message.to_text().unwrap_or_default()
}
