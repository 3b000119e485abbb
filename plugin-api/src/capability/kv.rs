//! Small values with a time to live, counters, compare-and-set and rate limits, in a namespace of the plugin's own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{granted, millis};
use crate::{abi, cx::Handles, error::Result};

pub use crate::abi::capability::kv::Take;

/// The store: Redis when the host has one, else Postgres. What must survive a crash belongs into a table.
pub struct Kv<'a>(pub(crate) &'a Arc<Handles>);

/// No time to live: the value stays.
pub const FOREVER: Duration = Duration::ZERO;

fn optional(value: Option<&[u8]>) -> abi::bytes::OptBytes {
    value.map(abi::bytes::Bytes::from).into()
}

/// Every method fails when the plugin lacks the capability or the store is away (503).
impl Kv<'_> {
    /// The value.
    ///
    /// # Errors
    ///
    /// See [`Kv`].
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let value: Option<abi::bytes::Bytes> = granted!(self, kv, "nself.kv/1")?
            .get(key.into())
            .await?
            .into();
        Ok(value.map(Into::into))
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// See [`Kv`].
    pub async fn set(&self, key: &str, value: impl Into<Bytes>, ttl: Duration) -> Result<()> {
        Ok(granted!(self, kv, "nself.kv/1")?
            .set(key.into(), value.into().into(), millis(ttl))
            .await?)
    }

    /// Removes the value; whether there was one.
    ///
    /// # Errors
    ///
    /// See [`Kv`].
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(granted!(self, kv, "nself.kv/1")?.delete(key.into()).await? == 1)
    }

    /// Adds to a counter, which starts at 0 and then lives `ttl`; the new value.
    ///
    /// # Errors
    ///
    /// See [`Kv`]; `KV_NOT_A_NUMBER` when the value is none.
    pub async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64> {
        Ok(granted!(self, kv, "nself.kv/1")?
            .increment(key.into(), by, millis(ttl))
            .await?)
    }

    /// Sets the time to live; whether there is a value.
    ///
    /// # Errors
    ///
    /// See [`Kv`].
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        Ok(granted!(self, kv, "nself.kv/1")?
            .expire(key.into(), millis(ttl))
            .await?
            == 1)
    }

    /// Replaces `expected` by `value` in one step, `None` for absent on either side; whether it did.
    ///
    /// # Errors
    ///
    /// See [`Kv`].
    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<bool> {
        let kv = granted!(self, kv, "nself.kv/1")?;
        Ok(kv
            .compare_and_set(key.into(), optional(expected), optional(value), millis(ttl))
            .await?
            == 1)
    }

    /// Takes `cost` tokens from a bucket that holds `capacity` and fills up in `period`.
    ///
    /// # Errors
    ///
    /// See [`Kv`].
    pub async fn take(
        &self,
        key: &str,
        capacity: u32,
        period: Duration,
        cost: u32,
    ) -> Result<Take> {
        Ok(granted!(self, kv, "nself.kv/1")?
            .take(key.into(), capacity, millis(period), cost)
            .await?)
    }
}
