//! Requests to the authority. Its directory is the operator's word, so that it may be anywhere, also in the house; it has to be trusted by its
//! certificate, and to answer soon and briefly.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    AcmeSettings,
    error::{AttemptError, chain},
};
use crate::{capability::http::Egress, postgres::tls::system_roots};

/// For the head of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer: a chain of certificates has some 6 KB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// When the authority wants to be asked again, as far as it has said so while it refused.
pub(super) type RetryAfter = Arc<Mutex<Option<Duration>>>;

/// Asks one authority.
pub(super) struct Outgoing {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    retry_after: RetryAfter,
}

impl Outgoing {
    /// Trusts the system's certificates, and those that the operator names.
    pub(super) async fn new(
        settings: &AcmeSettings,
        retry_after: RetryAfter,
    ) -> Result<Self, AttemptError> {
        let ca = settings.ca.clone();
        let roots = spawn_blocking(move || match ca {
            None => Ok(system_roots()),
            Some(path) => Egress::roots_and(system_roots(), &path)
                .map_err(|reason| AttemptError::Setup(format!("http.tls.acme.ca: {reason}"))),
        });
        let roots = roots.await.map_err(|error| setup(&error))??;
        let tls = Egress::client(roots).map_err(|error| setup(&error))?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_all_versions()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            retry_after,
        })
    }
}

fn setup(error: &(dyn std::error::Error + 'static)) -> AttemptError {
    AttemptError::Setup(chain(error))
}

impl HttpClient for Outgoing {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let origin = origin(&request);
        let answer = self.client.request(request);
        let retry_after = Arc::clone(&self.retry_after);
        Box::pin(async move {
            let unreachable = |reason| {
                let origin = origin.clone();
                Error::Other(Box::new(AttemptError::Unreachable { origin, reason }))
            };
            let answer = timeout(PATIENCE, answer).await;
            let answer = answer.map_err(|_| unreachable("it does not answer".to_owned()))?;
            let answer = answer.map_err(|error| unreachable(chain(&error)))?;
            if !answer.status().is_success() && !is_json(&answer) {
                let said = format!("{origin} says {}", answer.status());
                return Err(Error::Other(Box::new(AttemptError::Strange(said))));
            }
            let wanted = answer.headers().get(header::RETRY_AFTER);
            let wanted = wanted.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            if !answer.status().is_success() {
                let mut pause = retry_after.lock().unwrap_or_else(PoisonError::into_inner);
                *pause = wanted.map(Duration::from_secs);
            }
            let answer = answer.map(|body| Limited::new(body, ANSWER_BYTES_MAX));
            Ok(BytesResponse::from(answer))
        })
    }
}

fn origin<B>(request: &Request<B>) -> String {
    let uri = request.uri();
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map(ToString::to_string);
    format!("{scheme}://{}", authority.unwrap_or_default())
}

/// Refusals of the protocol are problems (RFC 7807); what else stands in the way has pages.
fn is_json(answer: &Response<Incoming>) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}
