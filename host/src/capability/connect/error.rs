//! Why a stream was not opened or broke, and what the plugin is told. Errors name host and port, and nothing of what was sent.

use std::{io, net::IpAddr, sync::Arc};

use nself_plugin_api::abi::error::Error;

use crate::capability::error::{denied, error};

/// Why there is no stream, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("connections to {host}:{port}")]
    NotGranted { host: String, port: u32 },
    #[error(
        "connections to {address}, which {origin} resolves to and which is not a public address"
    )]
    Private { origin: Arc<str>, address: IpAddr },
    #[error("a connection {reason}")]
    Request { reason: &'static str },
    #[error("certificates that a plugin brings: {reason}")]
    Certificates { reason: String },
    #[error("{origin}: not done in time")]
    Late { origin: Arc<str> },
    #[error("{origin}: {cause}")]
    Failed { origin: Arc<str>, cause: io::Error },
    #[error("{origin}: no TLS: {cause}")]
    Untrusted { origin: Arc<str>, cause: io::Error },
    #[error("{origin}: {cause}")]
    Broken { origin: Arc<str>, cause: io::Error },
}

impl ConnectError {
    pub(super) fn late(origin: &Arc<str>) -> Self {
        let origin = Arc::clone(origin);
        Self::Late { origin }
    }

    pub(super) fn failed(origin: &Arc<str>, cause: io::Error) -> Self {
        let origin = Arc::clone(origin);
        Self::Failed { origin, cause }
    }

    pub(super) fn untrusted(origin: &Arc<str>, cause: io::Error) -> Self {
        let origin = Arc::clone(origin);
        Self::Untrusted { origin, cause }
    }

    pub(super) fn broken(origin: &Arc<str>, cause: io::Error) -> Self {
        let origin = Arc::clone(origin);
        Self::Broken { origin, cause }
    }

    /// The error as it crosses.
    pub(super) fn for_plugin(&self, plugin: &str) -> Error {
        let (status, code, message) = match self {
            Self::NotGranted { .. } | Self::Private { .. } => {
                return denied("EGRESS_DENIED", plugin, self);
            }
            Self::Request { .. } => (
                500,
                "EGRESS_INVALID_REQUEST",
                "a request to another service is not valid",
            ),
            Self::Certificates { .. } => (
                500,
                "EGRESS_CERTIFICATES",
                "the certificates to trust do not read",
            ),
            Self::Late { .. } => (
                504,
                "EGRESS_TIMEOUT",
                "another service did not answer in time",
            ),
            Self::Failed { .. } => (502, "EGRESS_FAILED", "another service did not answer"),
            Self::Untrusted { .. } => (
                502,
                "EGRESS_TLS_FAILED",
                "another service offers no TLS that is trusted",
            ),
            Self::Broken { .. } => (502, "CONNECTION_BROKEN", "a connection has broken"),
        };
        error(status, code, message, self)
    }
}
