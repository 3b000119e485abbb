//! `nself.kv/1`: small values with a time to live, counters, compare-and-set and rate limits.
//!
//! One [`Store`] serves all plugins, each in the namespace of its id. Redis when the operator has one; else an unlogged
//! table, which asks for nothing to be installed. Both pass the same test-suite (`tests/it/kv.rs`).

mod bucket;
pub mod error;
mod key;
pub(super) mod redis;
mod store;

use std::{sync::Arc, time::Duration};

use nself_plugin_api::abi::{
    bytes::{Bytes, OptBytes, Str},
    capability::kv::{KvProvider, Take},
    error::Error,
};

use self::{bucket::Bucket, redis::RedisStore, store::TableStore};
use super::Grant;

pub use self::{error::KvError, key::Key};

/// Longest key in bytes, without the plugin's prefix.
pub const KEY_BYTES_MAX: usize = 512;

/// Largest value in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Longest time to live, and longest period of a bucket; more is cut to this. A hundred years.
pub const TTL_MS_MAX: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// How long an operation may take, whatever the store is doing; then it is [`KvError::Timeout`].
pub const OPERATION_LIMIT: Duration = Duration::from_secs(5);

/// Where the values are. One per host.
#[derive(Debug)]
pub enum Store {
    /// A Redis (or Valkey) server.
    Redis(Box<RedisStore>),
    /// The table `nself.kv`.
    Postgres(TableStore),
}

/// Answers with what `$call` makes of either store, within the limit of time.
macro_rules! either {
    ($store:expr, $method:ident($($arg:expr),*)) => {
        tokio::time::timeout(OPERATION_LIMIT, async {
            match $store {
                Store::Redis(redis) => redis.$method($($arg),*).await,
                Store::Postgres(table) => table.$method($($arg),*).await,
            }
        })
        .await
        .unwrap_or(Err(KvError::Timeout))
    };
}

impl Store {
    /// A store in Redis; connects on first use and again after a loss. Call it inside the runtime.
    ///
    /// # Errors
    ///
    /// [`KvError::Url`] when `url` (`redis://`, `rediss://` or `redis+unix://`) cannot be read; it is not in the text.
    pub fn redis(url: &str) -> Result<Self, KvError> {
        Ok(Self::Redis(Box::new(RedisStore::new(url)?)))
    }

    /// A store in the table `nself.kv`, over a pool whose role may read and write it.
    pub fn postgres(pool: deadpool_postgres::Pool) -> Self {
        Self::Postgres(TableStore::new(pool))
    }

    /// `redis` or `postgres`, for logs and status.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The value.
    pub async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, KvError> {
        either!(self, get(key))
    }

    /// Sets the value; `ttl_ms` 0 is for ever, here and below.
    pub async fn set(&self, key: &Key, value: &[u8], ttl_ms: u64) -> Result<(), KvError> {
        let value = check_value(value)?;
        either!(self, set(key, value, ttl(ttl_ms)))
    }

    /// Removes the value, or the counter, or fills the bucket; whether there was one.
    pub async fn delete(&self, key: &Key) -> Result<bool, KvError> {
        either!(self, delete(key))
    }

    /// Adds to a counter, which starts at 0 and then lives `ttl_ms`; the new value.
    ///
    /// # Errors
    ///
    /// [`KvError::NotANumber`] when the value is no `i64` in decimal, or the sum is none.
    pub async fn increment(&self, key: &Key, by: i64, ttl_ms: u64) -> Result<i64, KvError> {
        either!(self, increment(key, by, ttl(ttl_ms)))
    }

    /// Sets the time to live; whether there is a value.
    pub async fn expire(&self, key: &Key, ttl_ms: u64) -> Result<bool, KvError> {
        either!(self, expire(key, ttl(ttl_ms)))
    }

    /// Replaces `expected` by `value` in one step, `None` for absent on either side; whether it did.
    pub async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl_ms: u64,
    ) -> Result<bool, KvError> {
        let value = value.map(check_value).transpose()?;
        either!(self, compare_and_set(key, expected, value, ttl(ttl_ms)))
    }

    /// Takes `cost` tokens from a bucket that holds `capacity` and fills up in `period_ms`. A cost of 0 only looks.
    ///
    /// # Errors
    ///
    /// [`KvError::BucketInvalid`] when that can never succeed; [`KvError::NotABucket`] when the key holds a value.
    pub async fn take(
        &self,
        key: &Key,
        capacity: u32,
        period_ms: u64,
        cost: u32,
    ) -> Result<Take, KvError> {
        let bucket = Bucket::new(capacity, period_ms, cost)?;
        let (allowed, tokens) = either!(self, take(key, bucket))?;
        Ok(bucket.answer(allowed, tokens))
    }

    /// Removes up to `limit` expired rows of the table; how many it were. Redis does so by itself.
    pub async fn sweep(&self, limit: u32) -> Result<u64, KvError> {
        match self {
            Self::Redis(_) => Ok(0),
            Self::Postgres(table) => table.sweep(limit).await,
        }
    }
}

fn check_value(value: &[u8]) -> Result<&[u8], KvError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(KvError::ValueTooLarge { bytes: value.len() });
    }
    Ok(value)
}

/// The time to live as both stores take it: a signed number, 0 for ever.
fn ttl(ttl_ms: u64) -> i64 {
    i64::try_from(ttl_ms.min(TTL_MS_MAX)).expect("a hundred years of milliseconds fit")
}

/// The store as one plugin sees it.
#[derive(Debug)]
pub struct Kv {
    store: Arc<Store>,
    grant: Grant,
}

impl Kv {
    /// The namespace of the plugin in `grant`.
    pub fn new(store: Arc<Store>, grant: Grant) -> Self {
        Self { store, grant }
    }

    /// What a future needs: it may outlive the call that made it.
    fn locate(&self, key: Str<'_>) -> (Arc<Store>, Result<Key, KvError>) {
        (
            self.store.clone(),
            Key::new(&self.grant.plugin, key.to_option()),
        )
    }
}

impl KvProvider for Kv {
    fn get(&self, key: Str<'_>) -> impl Future<Output = Result<OptBytes, Error>> + Send + 'static {
        let (store, key) = self.locate(key);
        async move { Ok(store.get(&key?).await?.map(Bytes::from).into()) }
    }

    fn set(
        &self,
        key: Str<'_>,
        value: Bytes,
        ttl_ms: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (store, key) = self.locate(key);
        async move { Ok(store.set(&key?, value.as_slice(), ttl_ms).await?) }
    }

    fn delete(&self, key: Str<'_>) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        let (store, key) = self.locate(key);
        async move { Ok(store.delete(&key?).await?.into()) }
    }

    fn increment(
        &self,
        key: Str<'_>,
        by: i64,
        ttl_ms: u64,
    ) -> impl Future<Output = Result<i64, Error>> + Send + 'static {
        let (store, key) = self.locate(key);
        async move { Ok(store.increment(&key?, by, ttl_ms).await?) }
    }

    fn expire(
        &self,
        key: Str<'_>,
        ttl_ms: u64,
    ) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        let (store, key) = self.locate(key);
        async move { Ok(store.expire(&key?, ttl_ms).await?.into()) }
    }

    fn compare_and_set(
        &self,
        key: Str<'_>,
        expected: OptBytes,
        value: OptBytes,
        ttl_ms: u64,
    ) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        let (store, key) = self.locate(key);
        let (expected, value): (Option<Bytes>, Option<Bytes>) = (expected.into(), value.into());
        async move {
            let (expected, value) = (
                expected.as_ref().map(Bytes::as_slice),
                value.as_ref().map(Bytes::as_slice),
            );
            Ok(store
                .compare_and_set(&key?, expected, value, ttl_ms)
                .await?
                .into())
        }
    }

    fn take(
        &self,
        key: Str<'_>,
        capacity: u32,
        period_ms: u64,
        cost: u32,
    ) -> impl Future<Output = Result<Take, Error>> + Send + 'static {
        let (store, key) = self.locate(key);
        async move { Ok(store.take(&key?, capacity, period_ms, cost).await?) }
    }
}
