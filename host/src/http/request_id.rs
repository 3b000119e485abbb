//! Numbers that tell requests and spans apart.
//!
//! They need to be unique, not secret, so they come from a generator per thread that was seeded once by the
//! system: no system call per request.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use uuid::Uuid;

/// Longest id that is taken over from a caller.
const FOREIGN_BYTES_MAX: usize = 64;

/// Names one request in the answer, in the log and in the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// Made here.
    Own(Uuid),
    /// Sent along by the caller or by the proxy in front of the host.
    Foreign(Arc<str>),
}

impl RequestId {
    /// A fresh id: a UUIDv7, so ids sort by time.
    #[must_use]
    pub fn new() -> Self {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&unique_u64().to_le_bytes());
        random[8..].copy_from_slice(&unique_u64().to_le_bytes()[..2]);
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Self::Own(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The caller's id when it is a plain word (it goes into logs), else a fresh one.
    #[must_use]
    pub fn from_header(value: Option<&HeaderValue>) -> Self {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        match value.map(HeaderValue::as_bytes) {
            Some(id) if (1..=FOREIGN_BYTES_MAX).contains(&id.len()) && id.iter().all(word) => {
                Self::Foreign(String::from_utf8_lossy(id).into())
            }
            _ => Self::new(),
        }
    }

    /// As the value of `x-request-id`.
    pub fn to_header(&self) -> HeaderValue {
        match self {
            Self::Own(id) => {
                HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            Self::Foreign(id) => HeaderValue::from_str(id),
        }
        .expect("a request id is made of plain ASCII words")
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(id) => id.fmt(f),
            Self::Foreign(id) => f.write_str(id),
        }
    }
}

/// The next number of this thread's SplitMix64 (Steele, Lea, Flood 2014). Not for secrets.
pub(crate) fn unique_u64() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(SystemTime::now()));
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mut mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_word_is_kept_and_anything_else_is_replaced() {
        let from = |text: &str| {
            RequestId::from_header(Some(&HeaderValue::from_str(text).expect("a header value")))
        };
        assert_eq!(from("abc-1.2_3").to_string(), "abc-1.2_3");
        for bad in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert!(matches!(from(bad), RequestId::Own(_)), "{bad:?}");
        }
        assert!(
            matches!(RequestId::from_header(None), RequestId::Own(id) if id.get_version_num() == 7)
        );
    }
}
