//! The store in Redis: one multiplexed connection, and a script wherever one command cannot decide alone.

use std::{fmt, time::Duration};

use redis::{
    Client, Cmd, FromRedisValue, Pipeline, RedisResult, Script, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{Bucket, Key, KvError};

/// Time for a connection attempt.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Time for one answer.
const RESPONSE_LIMIT: Duration = Duration::from_secs(2);

/// Commands that may wait for the connection to take them.
const PIPELINE_COMMANDS_MAX: usize = 256;

/// Connection and scripts.
pub struct RedisStore {
    connection: ConnectionManager,
    increment: Script,
    compare_and_set: Script,
    take: Script,
}

// By hand: the connection's own shows the address, and one day perhaps the password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl RedisStore {
    pub(super) fn new(url: &str) -> Result<Self, KvError> {
        let client = client(url)?;
        // No retries in here: the next command starts the next attempt, and a caller gets its 503 soon.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(RESPONSE_LIMIT))
            .set_number_of_retries(0)
            .set_pipeline_buffer_size(PIPELINE_COMMANDS_MAX);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, config)
                .map_err(KvError::Redis)?,
            increment: Script::new(include_str!("redis/increment.lua")),
            compare_and_set: Script::new(include_str!("redis/compare_and_set.lua")),
            take: Script::new(include_str!("redis/take.lua")),
        })
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, KvError> {
        self.command(redis::cmd("GET").arg(key.prefixed())).await
    }

    pub(super) async fn set(&self, key: &Key, value: &[u8], ttl_ms: i64) -> Result<(), KvError> {
        let mut set = redis::cmd("SET");
        set.arg(key.prefixed()).arg(value);
        if ttl_ms != 0 {
            set.arg("PX").arg(ttl_ms);
        }
        self.command(&set).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<bool, KvError> {
        self.command(redis::cmd("DEL").arg(key.prefixed())).await
    }

    pub(super) async fn increment(&self, key: &Key, by: i64, ttl_ms: i64) -> Result<i64, KvError> {
        self.script(self.increment.key(key.prefixed()).arg(by).arg(ttl_ms))
            .await
    }

    pub(super) async fn expire(&self, key: &Key, ttl_ms: i64) -> Result<bool, KvError> {
        if ttl_ms != 0 {
            return self
                .command(redis::cmd("PEXPIRE").arg(key.prefixed()).arg(ttl_ms))
                .await;
        }
        // PERSIST alone answers 0 for a value that has no time to live, too.
        let mut persist = redis::pipe();
        persist
            .atomic()
            .cmd("PERSIST")
            .arg(key.prefixed())
            .ignore()
            .cmd("EXISTS")
            .arg(key.prefixed());
        let (exists,): (bool,) = self.attempt(Request::Pipeline(&persist)).await?;
        Ok(exists)
    }

    pub(super) async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl_ms: i64,
    ) -> Result<bool, KvError> {
        let mut script = self.compare_and_set.key(key.prefixed());
        for side in [expected, value] {
            script
                .arg(i32::from(side.is_some()))
                .arg(side.unwrap_or_default());
        }
        self.script(script.arg(ttl_ms)).await
    }

    /// Whether the tokens were there, and how many are left.
    pub(super) async fn take(&self, key: &Key, bucket: Bucket) -> Result<(bool, f64), KvError> {
        let mut script = self.take.key(key.prefixed());
        script
            .arg(bucket.capacity())
            .arg(bucket.period_us())
            .arg(bucket.cost());
        self.script(&script).await
    }

    async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KvError> {
        self.attempt(Request::Command(command)).await
    }

    async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, KvError> {
        self.attempt(Request::Script(script)).await
    }

    /// Sends it, and once more when no connection was made: nothing was sent then, and the first attempt may have met the
    /// remembered failure of an earlier one. A connection lost on the way is an error: it may have been executed.
    async fn attempt<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T, KvError> {
        let result = match request.send(self.connection.clone()).await {
            Err(error) if error.is_connection_refusal() => {
                request.send(self.connection.clone()).await
            }
            result => result,
        };
        result.map_err(|error| match error.code() {
            Some("KV_NOT_A_NUMBER") => KvError::NotANumber,
            Some("KV_NOT_A_BUCKET") => KvError::NotABucket,
            _ => KvError::Redis(error),
        })
    }
}

/// What can be sent, and sent again.
enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(&self, mut connection: ConnectionManager) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(&mut connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(&mut connection).await,
            Self::Script(script) => script.invoke_async(&mut connection).await,
        }
    }
}

/// How to reach the server at `url`.
///
/// # Errors
///
/// [`KvError::Url`]: of the client's error only its fixed category is kept. Details may quote the URL, which holds the password.
pub(in crate::capability) fn client(url: &str) -> Result<Client, KvError> {
    Client::open(url).map_err(|error| KvError::Url(category(&error)))
}

fn category(error: &redis::RedisError) -> &'static str {
    match error.kind() {
        redis::ErrorKind::InvalidClientConfig => "its scheme, host, port or database is wrong",
        _ => "it is no URL",
    }
}
