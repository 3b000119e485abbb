//! Why a request did not go out or got no answer, and what the plugin is told.
//!
//! A URL's path and query, its userinfo and the headers often are secrets (webhook addresses, tokens): errors name only
//! the method, scheme, host and port.

use std::{error::Error as StdError, net::IpAddr, sync::Arc, time::Duration};

use nself_plugin_api::abi::error::Error;

use crate::capability::error::{denied, error};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum EgressError {
    #[error("requests to {host}:{port}")]
    NotGranted { host: String, port: u16 },
    #[error("requests to {address}, which {host} resolves to and which is not a public address")]
    Private { host: String, address: IpAddr },
    #[error("the url of an outgoing request {reason}")]
    Url { reason: &'static str },
    #[error("an outgoing request {reason}")]
    Request { reason: &'static str },
    #[error("{origin}: no complete answer within {} ms", timeout.as_millis())]
    TimedOut { origin: Arc<str>, timeout: Duration },
    #[error("{origin}: {reason}")]
    Failed { origin: Arc<str>, reason: String },
}

impl EgressError {
    /// What hyper's client says; a refusal of our connector comes back out of it.
    pub(super) fn from_client(
        origin: &Arc<str>,
        error: &hyper_util::client::legacy::Error,
    ) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(current) = cause {
            match current.downcast_ref::<Self>() {
                Some(Self::NotGranted { host, port }) => {
                    return Self::NotGranted {
                        host: host.clone(),
                        port: *port,
                    };
                }
                Some(Self::Private { host, address }) => {
                    return Self::Private {
                        host: host.clone(),
                        address: *address,
                    };
                }
                _ => cause = current.source(),
            }
        }
        Self::failed(origin, error)
    }

    /// A failure with its whole chain of causes.
    pub(super) fn failed(origin: &Arc<str>, error: &(dyn StdError + 'static)) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(current) = cause {
            let text = current.to_string();
            // Some layers repeat the text of their source.
            if !reason.ends_with(&text) {
                reason.push_str(": ");
                reason.push_str(&text);
            }
            cause = current.source();
        }
        Self::Failed {
            origin: Arc::clone(origin),
            reason,
        }
    }

    /// The error as it crosses.
    pub(super) fn for_plugin(&self, plugin: &str) -> Error {
        match self {
            Self::NotGranted { .. } | Self::Private { .. } => denied("EGRESS_DENIED", plugin, self),
            Self::Url { .. } => error(
                500,
                "EGRESS_INVALID_URL",
                "the address of another service is not valid",
                self,
            ),
            Self::Request { .. } => error(
                500,
                "EGRESS_INVALID_REQUEST",
                "a request to another service is not valid",
                self,
            ),
            Self::TimedOut { .. } => error(
                504,
                "EGRESS_TIMEOUT",
                "another service did not answer in time",
                self,
            ),
            Self::Failed { .. } => {
                error(502, "EGRESS_FAILED", "another service did not answer", self)
            }
        }
    }
}
