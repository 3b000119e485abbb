//! A running Hasura, and other places that the command line asks over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

/// An engine that inspects a large schema takes its time.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The metadata of a large installation has some megabytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why it did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address is none.
    #[error("{0:?} is no address: write http://host:port")]
    Address(String),
    /// The secret is no header.
    #[error("the admin secret has characters that a header cannot carry")]
    Secret,
    /// Nobody answers.
    #[error("{address} cannot be reached: {problem}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        problem: String,
    },
    /// It says no.
    #[error("{address} answers {status}: {problem}")]
    Refused {
        /// The address.
        address: String,
        /// The status.
        status: StatusCode,
        /// What it says.
        problem: String,
    },
    /// It speaks another language.
    #[error("{address} does not answer in JSON")]
    Answer {
        /// The address.
        address: String,
    },
}

/// A Hasura engine.
pub struct Engine {
    endpoint: String,
    secret: Option<HeaderValue>,
}

impl Engine {
    /// The engine at that address; `secret` is its admin secret.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Secret`].
    pub fn new(endpoint: &str, secret: Option<&str>) -> Result<Self, RemoteError> {
        let secret = secret.map(HeaderValue::from_str).transpose();
        let mut secret = secret.map_err(|_| RemoteError::Secret)?;
        if let Some(secret) = &mut secret {
            secret.set_sensitive(true);
        }
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            secret,
        })
    }

    /// Replaces its metadata, if it finds nothing wrong with it.
    ///
    /// # Errors
    ///
    /// What Hasura says, with the path in the document.
    pub async fn replace(&self, document: &Value) -> Result<Value, RemoteError> {
        self.ask(&json!({
            "type": "replace_metadata",
            "version": 2,
            "args": {"allow_inconsistent_metadata": false, "metadata": document},
        }))
        .await
    }

    /// What it has now.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace).
    pub async fn export(&self) -> Result<Value, RemoteError> {
        let request = json!({"type": "export_metadata", "version": 2, "args": {}});
        let mut answer = self.ask(&request).await?;
        Ok(answer["metadata"].take())
    }

    async fn ask(&self, request: &Value) -> Result<Value, RemoteError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = &self.secret {
            headers.insert("x-hasura-admin-secret", secret.clone());
        }
        let address = format!("{}/v1/metadata", self.endpoint);
        let body = Bytes::from(request.to_string());
        let (_, answer) = send(Method::POST, &address, headers, body).await?;
        Ok(answer)
    }
}

/// What is at that address, as JSON, and the headers that came with it.
///
/// # Errors
///
/// As [`Engine::replace`].
pub async fn get(address: &str) -> Result<(HeaderMap, Value), RemoteError> {
    send(Method::GET, address, HeaderMap::new(), Bytes::new()).await
}

async fn send(
    method: Method,
    address: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(HeaderMap, Value), RemoteError> {
    let invalid = || RemoteError::Address(address.to_owned());
    let unreachable = |problem: String| RemoteError::Unreachable {
        address: address.to_owned(),
        problem,
    };
    let mut request = Request::builder().method(method).uri(address);
    request.headers_mut().ok_or_else(invalid)?.extend(headers);
    let request = request.body(Full::new(body)).map_err(|_| invalid())?;
    let client: Client<HttpsConnector<HttpConnector>, _> = Client::builder(TokioExecutor::new())
        .build(connector().map_err(|error| unreachable(error.to_string()))?);
    let exchange = async {
        let response = client.request(request).await;
        // Its own text says no more than that; why stands behind it.
        let response = response.map_err(|error| unreachable(reason(&error)))?;
        let (head, body) = response.into_parts();
        let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let whole = whole.map_err(|error| unreachable(error.to_string()))?;
        Ok((head, whole.to_bytes()))
    };
    let (head, whole) = tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| unreachable(format!("no answer within {TIMEOUT:?}")))??;
    let answer: Option<Value> = serde_json::from_slice(&whole).ok();
    if !head.status.is_success() {
        return Err(RemoteError::Refused {
            address: address.to_owned(),
            status: head.status,
            problem: told(answer.as_ref()),
        });
    }
    let answer = answer.ok_or_else(|| RemoteError::Answer {
        address: address.to_owned(),
    })?;
    Ok((head.headers, answer))
}

fn connector() -> std::io::Result<HttpsConnector<HttpConnector>> {
    Ok(HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_all_versions()
        .build())
}

fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Hasura says `error`, `path` and `code`, and sometimes more in `internal`.
fn told(answer: Option<&Value>) -> String {
    let Some(answer) = answer else {
        return "nothing that is JSON".to_owned();
    };
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let mut problem = text("error");
    if !text("path").is_empty() {
        problem = format!("{problem} (at {})", text("path"));
    }
    for one in answer["internal"].as_array().into_iter().flatten().take(5) {
        let (name, reason) = (&one["name"], one["reason"].as_str().unwrap_or_default());
        problem = format!("{problem}; {}: {reason}", name.as_str().unwrap_or("?"));
    }
    problem
}
