//! What can be wrong with a channel, and what its caller is told.

use std::time::Duration;

use nself_plugin_api::Error;
use serde_json::Value;

use crate::{
    protocol::{Disconnect, Error as Refusal},
    session::No,
};

/// Pause after which something that failed on our side may go.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("namespaces.{name}: expected {expected}")]
    Namespace {
        name: String,
        expected: &'static str,
    },
    #[error("tables.{name}: expected {expected}")]
    Table {
        name: String,
        expected: &'static str,
    },
    #[error(
        "origins: {origin:?} is none: write scheme, host and port, such as https://app.example.org"
    )]
    OriginUnreadable { origin: String },
    #[error("pages of this origin may not connect")]
    Origin,
    #[error("stream.channels/1 has no method {method:?}: it has publish")]
    Method { method: String },
    #[error("{message}")]
    Publication { message: String },
    #[error("{message}")]
    TooLarge { message: String },
    #[error("{0}")]
    Request(String),
    #[error("this needs a token")]
    Unauthenticated,
    #[error("the token has ended: ask for a newer one")]
    TokenExpired,
    #[error("the token is none of ours")]
    TokenInvalid,
    #[error("no such channel")]
    UnknownChannel,
    #[error("the channel is not for this role")]
    ForbiddenChannel,
    #[error("too many connections or channels: close some")]
    Limit,
    #[error("not now: try again")]
    Unavailable,
}

/// What a client that only listens is told before anything was sent to it.
impl From<No> for StreamError {
    fn from(no: No) -> Self {
        match no {
            No::Refused(Refusal::UNAUTHORIZED) => Self::Unauthenticated,
            No::Refused(Refusal::TOKEN_EXPIRED) => Self::TokenExpired,
            No::Ended(Disconnect::INVALID_TOKEN) => Self::TokenInvalid,
            No::Refused(Refusal::UNKNOWN_CHANNEL) => Self::UnknownChannel,
            No::Refused(Refusal::PERMISSION_DENIED) => Self::ForbiddenChannel,
            No::Refused(Refusal::LIMIT_EXCEEDED) | No::Ended(Disconnect::CONNECTION_LIMIT) => {
                Self::Limit
            }
            No::Refused(Refusal::BAD_REQUEST) => {
                Self::Request("channel: this is no name of one".to_owned())
            }
            No::Refused(_) | No::Ended(_) => Self::Unavailable,
        }
    }
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        let text = error.to_string();
        match error {
            StreamError::Namespace { .. } => Self::invalid("STREAM_NAMESPACE", text),
            StreamError::Table { .. } => Self::invalid("STREAM_TABLE", text),
            StreamError::OriginUnreadable { .. } => Self::invalid("STREAM_ORIGINS", text),
            StreamError::Origin => Self::forbidden("STREAM_ORIGIN", text),
            StreamError::Method { .. } => Self::not_found("STREAM_METHOD", text),
            StreamError::Publication { .. } => Self::invalid("STREAM_PUBLICATION", text),
            StreamError::TooLarge { .. } => Self::new(413, "STREAM_PUBLICATION_TOO_LARGE", text),
            StreamError::Request(_) => Self::bad_request("STREAM_REQUEST", text),
            StreamError::Unauthenticated => Self::new(401, "UNAUTHENTICATED", text),
            StreamError::TokenExpired => Self::new(401, "TOKEN_EXPIRED", text),
            StreamError::TokenInvalid => Self::new(401, "TOKEN_INVALID", text),
            StreamError::UnknownChannel => Self::not_found("STREAM_CHANNEL_UNKNOWN", text),
            StreamError::ForbiddenChannel => Self::forbidden("STREAM_CHANNEL_FORBIDDEN", text),
            StreamError::Limit => Self::new(429, "STREAM_LIMIT", text),
            StreamError::Unavailable => Self::unavailable("STREAM_UNAVAILABLE", text, RETRY_AFTER),
        }
    }
}

/// Turns what the SQL functions say of bad input into an answer for the caller; everything else stays as it is.
pub(crate) fn refused(error: Error) -> Error {
    let message = || {
        let cause: Value = serde_json::from_str(error.cause()?).ok()?;
        Some(cause.get("message")?.as_str()?.to_owned())
    };
    match (error.sqlstate().as_deref(), message()) {
        (Some("54000"), Some(message)) => StreamError::TooLarge { message }.into(),
        // The last ones are what JSON may hold and Postgres may not: \u0000, half of a surrogate pair, a number without end.
        (Some("22023" | "22P05" | "22P02" | "22021" | "22003" | "54001"), Some(message)) => {
            StreamError::Publication { message }.into()
        }
        _ => error,
    }
}
