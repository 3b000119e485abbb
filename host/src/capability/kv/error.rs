//! What can go wrong with the key-value store, and how plugins see it.

use std::{error::Error as _, fmt::Write as _};

use nself_plugin_api::abi::error::Error;

use super::{KEY_BYTES_MAX, OPERATION_LIMIT, VALUE_BYTES_MAX};
use crate::capability::error::{error, unavailable};

/// When a plugin may try again after the store was away, in milliseconds.
const RETRY_AFTER_MS: u64 = 1000;

/// Errors of the store. Keys and values are not in the texts: they may be addresses or tokens of people.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The configured URL is none of Redis.
    #[error(
        "the Redis URL cannot be read ({0}): write redis://user:password@host:port/database, rediss:// for TLS, or redis+unix:///path"
    )]
    Url(&'static str),
    /// Empty, not UTF-8, or with a NUL.
    #[error("the key is empty, not UTF-8 or has a NUL in it")]
    KeyInvalid,
    /// Over [`KEY_BYTES_MAX`].
    #[error("the key has {bytes} bytes, {KEY_BYTES_MAX} are allowed: hash what makes it long")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Over [`VALUE_BYTES_MAX`].
    #[error("the value has {bytes} bytes, {VALUE_BYTES_MAX} are allowed: put it into a table")]
    ValueTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A counter was asked of something else, or left the range of `i64`.
    #[error("the value is no 64-bit number in decimal, or the sum is none")]
    NotANumber,
    /// Tokens were asked of something else.
    #[error("the key holds a value and no bucket: use another key for the rate limit")]
    NotABucket,
    /// No tokens fit, none ever come, or more are wanted than fit.
    #[error(
        "a bucket of {capacity} tokens that fills in {period_ms} ms can never give {cost}: capacity and period must be over 0, cost at most the capacity"
    )]
    BucketInvalid {
        /// Tokens that it holds.
        capacity: u32,
        /// Time to fill up.
        period_ms: u64,
        /// Tokens wanted.
        cost: u32,
    },
    /// The store did not answer.
    #[error("the key-value store did not answer within {} s", OPERATION_LIMIT.as_secs())]
    Timeout,
    /// Redis failed.
    #[error("Redis is not available")]
    Redis(#[source] redis::RedisError),
    /// No connection from the pool.
    #[error("no connection to the table of the key-value store")]
    Pool(#[source] deadpool_postgres::PoolError),
    /// The statement failed.
    #[error("the table of the key-value store cannot be used")]
    Table(#[source] tokio_postgres::Error),
    /// A script or statement answered in a shape that it cannot have.
    #[error("the key-value store gave an answer that makes no sense: {0}")]
    Answer(&'static str),
}

impl KvError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "KV_URL_INVALID",
            Self::KeyInvalid => "KV_KEY_INVALID",
            Self::KeyTooLong { .. } => "KV_KEY_TOO_LONG",
            Self::ValueTooLarge { .. } => "KV_VALUE_TOO_LARGE",
            Self::NotANumber => "KV_NOT_A_NUMBER",
            Self::NotABucket => "KV_NOT_A_BUCKET",
            Self::BucketInvalid { .. } => "KV_BUCKET_INVALID",
            Self::Timeout | Self::Redis(_) | Self::Pool(_) | Self::Table(_) | Self::Answer(_) => {
                "KV_UNAVAILABLE"
            }
        }
    }

    fn status(&self) -> u32 {
        match self {
            Self::KeyInvalid | Self::KeyTooLong { .. } => 400,
            Self::ValueTooLarge { .. } => 413,
            _ => 500,
        }
    }
}

impl From<KvError> for Error {
    fn from(failure: KvError) -> Self {
        let code = failure.code();
        if code == "KV_UNAVAILABLE" {
            return unavailable(
                code,
                "the key-value store is not available",
                RETRY_AFTER_MS,
                chain(&failure),
            );
        }
        error(failure.status(), code, failure.to_string(), &failure)
    }
}

/// The error and its causes in one line, for the log.
fn chain(failure: &KvError) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").expect("a String takes every text");
        source = cause.source();
    }
    text
}
