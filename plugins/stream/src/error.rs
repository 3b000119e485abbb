//! What can be wrong with a channel, and what its caller is told.

use std::time::Duration;

use nself_plugin_api::Error;
use serde_json::{Value, json};

use crate::{
    protocol::{Disconnect, Error as Refusal},
    session::No,
};

/// Why somebody does not watch, and when they might.
#[derive(Debug)]
pub(crate) struct Denial {
    /// What is in the way: `per_user`, `bedtime`.
    pub reason: String,
    /// What there may be of it at most.
    pub limit: Option<i64>,
    /// What there is.
    pub active: Option<i64>,
    pub retry_after: Option<Duration>,
}

impl Denial {
    /// Adds what the caller may know.
    fn add_to(self, error: Error) -> Error {
        let seconds = self.retry_after.map(|after| after.as_secs());
        let details = json!({
            "reason": self.reason,
            "limit": self.limit,
            "active": self.active,
            "retry_after": seconds,
        });
        let error = error.with_details(details);
        match self.retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        }
    }
}

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
    ConnectionLimit,
    #[error("not now: try again")]
    Unavailable,
    #[error(
        "media.playback_url: expected an address with {{content}} as a part of its path, found {found:?}"
    )]
    PlaybackUrl { found: String },
    #[error("no such media session")]
    Session,
    #[error("the media session has ended: ask for a new one")]
    Ended { reason: String },
    #[error("there is nothing of that id to play")]
    Content,
    #[error("the family has no such device")]
    Device,
    #[error("it cannot be played yet, or not any more")]
    NotReady,
    #[error("this is not for you to watch")]
    NotEntitled(Denial),
    #[error("the time for watching is used up")]
    Quota(Denial),
    #[error("too many play at the moment")]
    Limit(Denial),
    #[error("the address is not signed, was changed, or is too old")]
    Unsigned,
    #[error("the address plays nothing any more")]
    Refused,
    #[error("there is no GraphQL here: the configuration names no Hasura")]
    GraphqlOff,
    #[error("Hasura does not answer")]
    GraphqlAway,
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
                Self::ConnectionLimit
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
            StreamError::ConnectionLimit => Self::new(429, "STREAM_CONNECTION_LIMIT", text),
            StreamError::Unavailable => Self::unavailable("STREAM_UNAVAILABLE", text, RETRY_AFTER),
            StreamError::PlaybackUrl { .. } => Self::invalid("STREAM_PLAYBACK_URL", text),
            StreamError::Session => Self::not_found("STREAM_SESSION_NOT_FOUND", text),
            StreamError::Ended { reason } => {
                Self::new(410, "STREAM_SESSION_ENDED", text).with_details(json!({"reason": reason}))
            }
            StreamError::Content => Self::not_found("STREAM_CONTENT_NOT_FOUND", text),
            StreamError::Device => Self::not_found("STREAM_DEVICE_NOT_FOUND", text),
            StreamError::NotReady => Self::conflict("STREAM_CONTENT_NOT_READY", text),
            StreamError::NotEntitled(denial) => {
                denial.add_to(Self::forbidden("STREAM_NOT_ENTITLED", text))
            }
            StreamError::Quota(denial) => denial.add_to(Self::forbidden("STREAM_QUOTA", text)),
            StreamError::Limit(denial) => denial.add_to(Self::new(429, "STREAM_LIMIT", text)),
            StreamError::Unsigned => Self::new(401, "STREAM_ADDRESS_UNSIGNED", text),
            StreamError::GraphqlOff => Self::not_found("STREAM_GRAPHQL_OFF", text),
            StreamError::GraphqlAway => Self::new(502, "STREAM_GRAPHQL_AWAY", text),
            StreamError::Refused => Self::forbidden("STREAM_ADDRESS_REFUSED", text),
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
