//! What can go wrong with messages between hosts, and how plugins see it.

use nself_plugin_api::abi::error::Error;

use super::{CHANNEL_BYTES_MAX, CHANNELS_MAX, MESSAGE_BYTES_MAX};
use crate::capability::error::{error, unavailable};

/// When a plugin may try again, in milliseconds.
const RETRY_AFTER_MS: u64 = 1000;

/// Errors of publishing and subscribing. Messages are not in the texts.
#[derive(Debug, thiserror::Error)]
pub enum PubSubError {
    /// Nothing carries messages.
    #[error(
        "no Redis is configured (`redis.url`), and nothing else carries messages between hosts"
    )]
    Off,
    /// A name that is none.
    #[error("the name of a channel is empty, not UTF-8 or longer than {CHANNEL_BYTES_MAX} bytes")]
    Channel,
    /// None, or too many at once.
    #[error("{count} channels, between 1 and {CHANNELS_MAX} are allowed")]
    Channels {
        /// How many.
        count: usize,
    },
    /// Over [`MESSAGE_BYTES_MAX`].
    #[error(
        "the message has {bytes} bytes, {MESSAGE_BYTES_MAX} are allowed: publish where the rest is"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// There is no connection: nothing was sent.
    #[error("Redis is not connected")]
    Away,
    /// It was sent, and nobody knows what became of it.
    #[error("Redis did not answer: {0}")]
    Uncertain(String),
    /// Redis knows the host and does not let it.
    #[error("Redis refuses: {0}")]
    Refused(String),
}

impl PubSubError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Off => "PUBSUB_OFF",
            Self::Channel | Self::Channels { .. } => "PUBSUB_CHANNEL_INVALID",
            Self::TooLarge { .. } => "PUBSUB_MESSAGE_TOO_LARGE",
            Self::Away => "PUBSUB_AWAY",
            Self::Uncertain(_) => "PUBSUB_UNCERTAIN",
            Self::Refused(_) => "PUBSUB_REFUSED",
        }
    }
}

impl From<PubSubError> for Error {
    fn from(failure: PubSubError) -> Self {
        let code = failure.code();
        match failure {
            PubSubError::Off => error(503, code, failure.to_string(), &failure),
            PubSubError::Channel | PubSubError::Channels { .. } => {
                error(400, code, failure.to_string(), &failure)
            }
            PubSubError::TooLarge { .. } => error(413, code, failure.to_string(), &failure),
            PubSubError::Away | PubSubError::Uncertain(_) => unavailable(
                code,
                "messages between hosts are not carried at the moment",
                RETRY_AFTER_MS,
                &failure,
            ),
            PubSubError::Refused(_) => error(
                500,
                code,
                "messages between hosts are not carried",
                &failure,
            ),
        }
    }
}
