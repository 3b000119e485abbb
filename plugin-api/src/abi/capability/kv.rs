//! Small values with a time to live: Redis when configured, else an unlogged table.

use crate::abi::layout::layout;
use crate::abi::{
    bytes::{Bytes, OptBytes, Str},
    interface::interface,
};

interface! {
    /// The plugin's own namespace. A time to live of 0 means for ever.
    pub interface Kv: KvProvider / KvTable = "nself.kv/1" {
        /// The value.
        async fn get(key: Str<'_>) -> OptBytes;
        /// Sets the value.
        async fn set(key: Str<'_>, value: Bytes, ttl_ms: u64);
        /// Removes the value; 1 when there was one.
        async fn delete(key: Str<'_>) -> u32;
        /// Adds to a counter, which starts at 0 and then lives `ttl_ms`; the new value.
        async fn increment(key: Str<'_>, by: i64, ttl_ms: u64) -> i64;
        /// Sets the time to live; 1 when there is a value.
        async fn expire(key: Str<'_>, ttl_ms: u64) -> u32;
        /// Replaces `expected` by `value` (nothing for absent, on either side) in one step; 1 when it did.
        async fn compare_and_set(key: Str<'_>, expected: OptBytes, value: OptBytes, ttl_ms: u64) -> u32;
        /// Takes `cost` tokens from a bucket that holds `capacity` and fills up in `period_ms`.
        async fn take(key: Str<'_>, capacity: u32, period_ms: u64, cost: u32) -> Take;
    }
}

/// What became of a rate-limit request.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// 1 when the tokens were there.
    pub allowed: u32,
    /// Tokens left.
    pub remaining: u32,
    /// Milliseconds until the tokens will be there; 0 when allowed.
    pub retry_ms: u64,
}

layout!(TAKE: Take {
    allowed: u32,
    remaining: u32,
    retry_ms: u64,
});
