//! Outgoing HTTP, by the host's client: pooled, with timeouts, TLS and a guard against requests into private networks.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, de::DeserializeOwned};

use super::millis;
use crate::{
    abi::{
        self,
        response::{Body, headers, push_header},
    },
    cx::Handles,
    error::{Error, Result},
};

/// The client.
pub struct Http<'a>(pub(crate) &'a Arc<Handles>);

impl<'a> Http<'a> {
    /// A request: `cx.http().request("POST", url).json(&body)?.send().await?`.
    pub fn request(&self, method: &'a str, url: &'a str) -> HttpRequest<'a> {
        HttpRequest {
            handles: self.0,
            method,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(30),
        }
    }

    /// A GET.
    pub fn get(&self, url: &'a str) -> HttpRequest<'a> {
        self.request("GET", url)
    }
}

/// A request being built.
pub struct HttpRequest<'a> {
    handles: &'a Arc<Handles>,
    method: &'a str,
    url: &'a str,
    headers: Vec<u8>,
    body: Bytes,
    timeout: Duration,
}

impl HttpRequest<'_> {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        push_header(&mut self.headers, name, value.as_bytes());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body and its content type.
    ///
    /// # Errors
    ///
    /// When it cannot be serialised.
    pub fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(Error::internal)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Bounds the whole exchange, 30 s otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it. Resolves with the head; any status is an answer, not an error.
    ///
    /// # Errors
    ///
    /// `EGRESS_DENIED` when the host is not among the granted ones, `EGRESS_FAILED` when there was no answer,
    /// `EGRESS_TIMEOUT`.
    pub async fn send(self) -> Result<HttpResponse> {
        let http = self
            .handles
            .http
            .as_ref()
            .ok_or_else(|| Error::not_granted("nself.http/1"))?;
        let response = http
            .send(
                self.method.into(),
                self.url.into(),
                self.headers.into(),
                self.body.into(),
                abi::stream::Stream::empty(),
                millis(self.timeout),
            )
            .await?;
        let (status, block, body) = response.into_parts();
        let headers = headers(block.as_slice())
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::from_bytes(name).ok()?,
                    HeaderValue::from_bytes(value).ok()?,
                ))
            })
            .collect();
        Ok(HttpResponse {
            status,
            headers,
            body,
        })
    }
}

/// An answer.
pub struct HttpResponse {
    status: u16,
    headers: HeaderMap,
    body: Body,
}

impl HttpResponse {
    /// Its status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next chunk of the body.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match &mut self.body {
            Body::Bytes(bytes) => {
                let bytes = Bytes::from(std::mem::take(bytes));
                Ok((!bytes.is_empty()).then_some(bytes))
            }
            Body::Stream(stream) => Ok(stream.next().await.transpose()?.map(Into::into)),
            Body::Upgrade(_) => Ok(None),
        }
    }

    /// The whole body, at most `bytes_max`.
    ///
    /// # Errors
    ///
    /// `EGRESS_TOO_LARGE` when it is longer; when the connection broke.
    pub async fn bytes(mut self, bytes_max: usize) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > bytes_max {
                return Err(Error::new(
                    502,
                    "EGRESS_TOO_LARGE",
                    format!("the answer is longer than {bytes_max} bytes"),
                ));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The body read as JSON, at most 1 MiB.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and `EGRESS_INVALID` when it does not read.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let bytes = self.bytes(1024 * 1024).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(
                502,
                "EGRESS_INVALID",
                "the answer of another service does not read",
            )
            .with_cause(error.to_string())
        })
    }
}
