//! Answers: typed values that become a status, headers and a body.

mod sse;
mod websocket;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

pub use self::{
    sse::{Sse, SseEvent},
    websocket::{Message, Socket, WebSocket},
};
use crate::{
    abi::{self, response::push_header},
    error::{Error, Result},
    schema::{Schema, Shape},
};

/// Room for the headers of most answers.
const HEADERS_BYTES: usize = 128;

/// An answer on its way to the host.
pub struct Response {
    status: StatusCode,
    /// The block that crosses, written header by header: nobody on this side reads one back.
    headers: Vec<u8>,
    body: abi::response::Body,
}

impl Response {
    /// An answer with a body of bytes.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::with(status, abi::response::Body::Bytes(body.into().into()))
    }

    /// An answer whose body comes chunk by chunk. An error ends the body early, which a client sees as a cut connection.
    pub fn stream<S>(status: StatusCode, body: S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        let body = body.map(|chunk| chunk.map(Into::into).map_err(Into::into));
        Self::with(
            status,
            abi::response::Body::Stream(abi::stream::Stream::new(body)),
        )
    }

    pub(crate) fn with(status: StatusCode, body: abi::response::Body) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// Adds a header.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "by value, as in the http crate's own builders"
    )]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if self.headers.capacity() == 0 {
            self.headers.reserve(HEADERS_BYTES);
        }
        push_header(&mut self.headers, name.as_str(), value.as_bytes());
        self
    }

    /// Sets the content type.
    #[must_use]
    pub fn content_type(self, value: &'static str) -> Self {
        self.header(http::header::CONTENT_TYPE, HeaderValue::from_static(value))
    }

    pub(crate) fn into_abi(self) -> abi::response::Response {
        abi::response::Response::new(self.status.as_u16(), self.headers, self.body)
    }
}

/// What a handler may return.
pub trait Respond {
    /// Shape of `data`, for the API reference.
    const SHAPE: Option<&'static Shape> = None;
    /// What it is: `json`, `stream`, `sse`, `websocket` or `raw`.
    const KIND: &'static str = "raw";

    /// Becomes an answer.
    ///
    /// # Errors
    ///
    /// When it cannot be serialised.
    fn respond(self) -> Result<Response>;
}

impl Respond for Response {
    fn respond(self) -> Result<Response> {
        Ok(self)
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    let bytes = serde_json::to_vec(value).map_err(Error::internal)?;
    // The vector crosses as it is; `bytes::Bytes` in between would take two blocks of memory more.
    let body = abi::response::Body::Bytes(bytes.into());
    Ok(Response::with(status, body).content_type("application/json"))
}

/// JSON as it is, for surfaces whose shape a standard dictates; as an extractor, the JSON body.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: Serialize + Schema> Respond for Json<T> {
    const SHAPE: Option<&'static Shape> = Some(&T::SHAPE);
    const KIND: &'static str = "raw";

    fn respond(self) -> Result<Response> {
        json(StatusCode::OK, &self.0)
    }
}

#[derive(Serialize)]
struct Envelope<T> {
    data: T,
}

/// 200 with `{"data": ..}`: the house's own shape of success.
#[derive(Debug, Clone, Copy)]
pub struct Data<T>(pub T);

impl<T: Serialize + Schema> Respond for Data<T> {
    const SHAPE: Option<&'static Shape> = Some(&T::SHAPE);
    const KIND: &'static str = "json";

    fn respond(self) -> Result<Response> {
        json(StatusCode::OK, &Envelope { data: self.0 })
    }
}

/// 201 with `{"data": ..}`.
#[derive(Debug, Clone, Copy)]
pub struct Created<T>(pub T);

impl<T: Serialize + Schema> Respond for Created<T> {
    const SHAPE: Option<&'static Shape> = Some(&T::SHAPE);
    const KIND: &'static str = "json";

    fn respond(self) -> Result<Response> {
        json(StatusCode::CREATED, &Envelope { data: self.0 })
    }
}

/// 204.
#[derive(Debug, Clone, Copy)]
pub struct NoContent;

impl Respond for NoContent {
    fn respond(self) -> Result<Response> {
        Ok(Response::new(StatusCode::NO_CONTENT, Bytes::new()))
    }
}
