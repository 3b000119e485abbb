//! Extractors: typed parts of a request, in a handler's arguments.

mod body;
mod misfit;
mod path;

use std::future::Future;

use http::HeaderMap;
use serde::de::DeserializeOwned;

pub use self::{
    body::{Body, BodyStream},
    misfit::misfit,
    path::Path,
};
use crate::{
    abi,
    error::{Error, Result},
    principal::Principal,
    respond::Json,
    schema::{Schema, Shape},
};

/// A request as extractors see it: asked lazily, nothing is copied that is not asked for.
pub struct Request {
    pub(crate) raw: abi::request::Request,
}

impl Request {
    /// Upper-case method.
    pub fn method(&self) -> &str {
        self.raw.method()
    }

    /// Path as received.
    pub fn path(&self) -> &str {
        self.raw.path()
    }

    /// Query string without `?`.
    pub fn query(&self) -> Option<&str> {
        self.raw.query()
    }

    /// Text of the first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.raw.header(name)?).ok()
    }

    /// All headers.
    pub fn headers(&self) -> HeaderMap {
        (0..)
            .map_while(|index| self.raw.header_at(index))
            .filter_map(|(name, value)| {
                Some((
                    name.parse::<http::HeaderName>().ok()?,
                    http::HeaderValue::from_bytes(value).ok()?,
                ))
            })
            .collect()
    }

    /// Path parameters: names and percent-decoded values.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..).map_while(|index| self.raw.param(index))
    }

    /// Address of the caller.
    pub fn peer(&self) -> &str {
        self.raw.peer()
    }

    /// Id of the request, as in `x-request-id`.
    pub fn id(&self) -> &str {
        self.raw.request_id()
    }

    /// W3C trace context of the request.
    pub fn traceparent(&self) -> &str {
        self.raw.traceparent()
    }

    /// Who calls.
    pub fn principal(&self) -> Option<Principal> {
        Principal::read(&self.raw.principal()?)
    }
}

/// A part of a request.
pub trait Extract: Sized + Send {
    /// Shape of the path's parameters, if this reads them: of the only one, of a tuple by position, of an object by name.
    const PATH: Option<&'static Shape> = None;
    /// Shape of the body, if this reads it.
    const BODY: Option<&'static Shape> = None;
    /// Shape of the query, if this reads it.
    const QUERY: Option<&'static Shape> = None;

    /// Reads the part.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, for the caller.
    fn extract(request: &mut Request) -> impl Future<Output = Result<Self>> + Send;
}

impl Extract for Principal {
    async fn extract(request: &mut Request) -> Result<Self> {
        request
            .principal()
            .ok_or_else(|| Error::new(401, "UNAUTHENTICATED", "this needs a token"))
    }
}

impl Extract for Option<Principal> {
    async fn extract(request: &mut Request) -> Result<Self> {
        Ok(request.principal())
    }
}

impl Extract for HeaderMap {
    async fn extract(request: &mut Request) -> Result<Self> {
        Ok(request.headers())
    }
}

/// What the request says about itself: id, peer, method, path.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// Id, as in `x-request-id`.
    pub id: String,
    /// Address of the caller.
    pub peer: String,
    /// Upper-case method.
    pub method: String,
    /// Path as received.
    pub path: String,
    /// Query string.
    pub query: Option<String>,
    /// W3C trace context.
    pub traceparent: String,
}

impl Extract for RequestInfo {
    async fn extract(request: &mut Request) -> Result<Self> {
        Ok(Self {
            id: request.id().to_owned(),
            peer: request.peer().to_owned(),
            method: request.method().to_owned(),
            path: request.path().to_owned(),
            query: request.query().map(str::to_owned),
            traceparent: request.traceparent().to_owned(),
        })
    }
}

/// The query string read into a type.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Schema + Send> Extract for Query<T> {
    const QUERY: Option<&'static Shape> = Some(&T::SHAPE);

    async fn extract(request: &mut Request) -> Result<Self> {
        serde_urlencoded::from_str(request.query().unwrap_or_default())
            .map(Self)
            .map_err(|error| Error::bad_request("QUERY_INVALID", format!("query string: {error}")))
    }
}

impl<T: DeserializeOwned + Schema + Send> Extract for Json<T> {
    const BODY: Option<&'static Shape> = Some(&T::SHAPE);

    async fn extract(request: &mut Request) -> Result<Self> {
        let is_json = request.header("content-type").is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
        });
        if !is_json {
            return Err(Error::new(
                415,
                "CONTENT_TYPE",
                "the body must be sent as application/json",
            ));
        }
        let Body(bytes) = Body::extract(request).await?;
        // serde also reads a list as the fields of a struct, in their order, of which no schema says a word.
        let is_list = bytes.trim_ascii_start().starts_with(b"[");
        if is_list && matches!(T::SHAPE.value(), Shape::Object(_)) {
            return Err(Error::invalid(
                "BODY_INVALID",
                "body: a list, expected an object",
            ));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| misfit(&error))
    }
}
