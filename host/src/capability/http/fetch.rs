//! What the command line fetches: an address that the operator wrote, and what it leads to, through the same gates as the calls of
//! plugins.
//!
//! The operator's own address may be anywhere, also in the house. What others name from there on - a redirect, an address in an
//! index - may be the same server or a public one: nobody out there gets to say what this machine asks its neighbours.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;
use url::Url;

use super::{
    Egress,
    connect::Guarded,
    destination::{Destination, Host},
    list::EgressList,
};

/// Redirects in a row that are followed.
const REDIRECTS_MAX: usize = 5;
/// For the head of an answer, and for each next piece of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing was fetched. Neither path nor query is named: both may hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address of the web.
    #[error("{0} is no http or https address")]
    Url(String),
    /// Nobody answered, or a gate is closed, or the answer ended before it was whole.
    #[error("{origin} does not answer: {reason}")]
    Failed {
        /// Scheme, host and port.
        origin: String,
        /// The chain of causes.
        reason: String,
    },
    /// It took too long.
    #[error("{0} does not go on answering")]
    Late(String),
    /// Another status than 200.
    #[error("{origin} answers {status}")]
    Status {
        /// Scheme, host and port.
        origin: String,
        /// What it answers.
        status: StatusCode,
    },
    /// A redirect that is not followed.
    #[error("{origin} sends on to {to}, which is not followed")]
    Redirect {
        /// Scheme, host and port.
        origin: String,
        /// Where to, likewise.
        to: String,
    },
    /// More bytes than were asked for.
    #[error("{origin} sends more than {max} bytes")]
    Large {
        /// Scheme, host and port.
        origin: String,
        /// The limit.
        max: u64,
    },
}

/// Fetches for the operator.
pub struct Fetcher {
    client: Client<HttpsConnector<Guarded>, Empty<Bytes>>,
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

impl Fetcher {
    /// One who may go to `url`, wherever that is, and from there to public servers.
    ///
    /// # Errors
    ///
    /// [`FetchError::Url`].
    pub fn to(url: &Url, egress: &Egress) -> Result<Self, FetchError> {
        let refused = || FetchError::Url(origin(url));
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused());
        }
        let host = url.host_str().unwrap_or_default();
        let host = Host::parse(host.trim_start_matches('[').trim_end_matches(']'));
        let destination = Destination {
            host: host.ok_or_else(refused)?,
            port: url.port_or_known_default().ok_or_else(refused)?,
        };
        let list = Arc::new(EgressList::public_and(destination));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(egress.tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(Guarded::new(list, Arc::clone(&egress.resolver)));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client })
    }

    /// The content at `url`, if it has at most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`FetchError`]; a part of a content is none.
    pub async fn get(&self, url: &Url, max: u64) -> Result<Vec<u8>, FetchError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&url).await?;
            if answer.status() == StatusCode::OK {
                return whole(answer, origin(&url), max).await;
            }
            let location = answer.headers().get(header::LOCATION);
            let location = location.filter(|_| answer.status().is_redirection());
            let Some(location) = location.and_then(|location| location.to_str().ok()) else {
                return Err(FetchError::Status {
                    origin: origin(&url),
                    status: answer.status(),
                });
            };
            let next = url.join(location).map_err(|_| FetchError::Redirect {
                origin: origin(&url),
                to: "no address".to_owned(),
            })?;
            // Whoever asked for an encrypted answer gets no other.
            let same_or_better = next.scheme() == url.scheme() || next.scheme() == "https";
            if !same_or_better || !next.has_host() {
                return Err(FetchError::Redirect {
                    origin: origin(&url),
                    to: origin(&next),
                });
            }
            url = next;
        }
        Err(FetchError::Redirect {
            origin: origin(&url),
            to: "yet another place".to_owned(),
        })
    }

    async fn ask(&self, url: &Url) -> Result<Response<Incoming>, FetchError> {
        let failed = |error: &(dyn StdError + 'static)| FetchError::Failed {
            origin: origin(url),
            reason: chain(error),
        };
        let request = Request::get(url.as_str())
            .header(
                header::USER_AGENT,
                concat!("nself/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|error| failed(&error))?;
        let answer = timeout(PATIENCE, self.client.request(request)).await;
        answer
            .map_err(|_| FetchError::Late(origin(url)))?
            .map_err(|error| failed(&error))
    }
}

async fn whole(
    answer: Response<Incoming>,
    origin: String,
    max: u64,
) -> Result<Vec<u8>, FetchError> {
    let mut body = answer.into_body();
    let mut content = Vec::new();
    loop {
        let Ok(frame) = timeout(PATIENCE, body.frame()).await else {
            return Err(FetchError::Late(origin));
        };
        match frame {
            None => return Ok(content),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if (content.len() + data.len()) as u64 > max {
                    return Err(FetchError::Large { origin, max });
                }
                content.extend_from_slice(&data);
            }
            Some(Err(error)) => {
                let reason = chain(&error);
                return Err(FetchError::Failed { origin, reason });
            }
        }
    }
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text = format!("{text}: {current}");
        cause = current.source();
    }
    text
}
