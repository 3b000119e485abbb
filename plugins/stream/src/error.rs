//! What can be wrong with a channel, and what its caller is told.

use nself_plugin_api::Error;
use serde_json::Value;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("namespaces.{name}: expected {expected}")]
    Namespace {
        name: String,
        expected: &'static str,
    },
    #[error("stream.channels/1 has no method {method:?}: it has publish")]
    Method { method: String },
    #[error("{message}")]
    Publication { message: String },
    #[error("{message}")]
    TooLarge { message: String },
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        let text = error.to_string();
        match error {
            StreamError::Namespace { .. } => Self::invalid("STREAM_NAMESPACE", text),
            StreamError::Method { .. } => Self::not_found("STREAM_METHOD", text),
            StreamError::Publication { .. } => Self::invalid("STREAM_PUBLICATION", text),
            StreamError::TooLarge { .. } => Self::new(413, "STREAM_PUBLICATION_TOO_LARGE", text),
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
