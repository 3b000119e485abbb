//! A request of a test, over a real connection.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, Method, Response, Uri, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use nself_plugin_api::manifest::Role;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use uuid::Uuid;

use crate::{
    answer::{Answer, EventReader},
    host::TestHost,
    wait::within,
};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A request being built.
#[must_use = "nothing is sent until `send`, `open`, `events` or `websocket`"]
pub struct Request<'a> {
    host: &'a TestHost,
    request: http::Request<Body>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(host: &'a TestHost, method: Method, path: &str) -> Self {
        let uri = format!("http://{}{path}", host.address());
        let uri: Uri = uri
            .parse()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut request = http::Request::new(whole(Bytes::new()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        Self { host, request }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a header has a name");
        let value = HeaderValue::try_from(value).expect("a header has a value");
        self.request.headers_mut().append(name, value);
        self
    }

    /// Sends this access token or API key.
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Calls as somebody with that role in `family`.
    pub fn role(self, role: Role, family: Uuid) -> Self {
        let token = self.host.token(role, family);
        self.token(&token)
    }

    /// Calls as an operator.
    pub fn operator(self) -> Self {
        self.token(TestHost::OPERATOR_KEY)
    }

    /// Sends these bytes.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = whole(body.into());
        self
    }

    /// Sends JSON.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sends a body chunk by chunk, as the stream yields them.
    pub fn stream(mut self, chunks: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        let frames = chunks.map(|chunk| Ok(Frame::data(chunk)));
        *self.request.body_mut() = BodyExt::boxed_unsync(StreamBody::new(frames));
        self
    }

    /// Sends it to another replica instead.
    pub fn at(mut self, address: SocketAddr) -> Self {
        let path = self
            .request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let uri = format!("http://{address}{path}").parse();
        *self.request.uri_mut() = uri.expect("an address and a path make a URI");
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    ///
    /// When the connection breaks or the answer does not come.
    pub async fn send(self) -> Answer {
        let what = self.name();
        let response = self.open().await;
        let (head, body) = response.into_parts();
        let body = within(&what, body.collect()).await;
        let body = body.unwrap_or_else(|error| panic!("{what}: the answer broke off: {error}"));
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
            what,
        }
    }

    /// Sends it and reads the head of the answer.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub async fn open(self) -> Response<Incoming> {
        let what = self.name();
        let sent = within(&what, self.host.client.request(self.request)).await;
        sent.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends it and reads the answer as server-sent events.
    ///
    /// # Panics
    ///
    /// When the answer is no stream of events.
    pub async fn events(self) -> EventReader {
        let what = self.name();
        let response = self.header("accept", "text/event-stream").open().await;
        assert_eq!(response.status(), 200, "{what}");
        let kind = response.headers().get(header::CONTENT_TYPE);
        assert_eq!(
            kind.map(HeaderValue::as_bytes),
            Some(&b"text/event-stream"[..]),
            "{what}"
        );
        EventReader::new(response.into_body())
    }

    /// Opens a WebSocket, or says with which status it was refused.
    ///
    /// # Errors
    ///
    /// The status of the answer that was not 101.
    ///
    /// # Panics
    ///
    /// When the connection breaks.
    pub async fn websocket(self) -> Result<WebSocketStream<TcpStream>, u16> {
        let what = self.name();
        let stream = TcpStream::connect(self.host.address()).await;
        let stream = stream.expect("the host listens");
        let address = self.request.uri().to_string().replacen("http", "ws", 1);
        let mut request = tungstenite::client::IntoClientRequest::into_client_request(address)
            .expect("an address makes a request");
        request.headers_mut().extend(self.request.headers().clone());
        match within(&what, client_async(request, stream)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{what}: {error}"),
        }
    }

    fn name(&self) -> String {
        format!("{} {}", self.request.method(), self.request.uri().path())
    }
}

fn whole(body: Bytes) -> Body {
    BodyExt::boxed_unsync(Full::new(body))
}
