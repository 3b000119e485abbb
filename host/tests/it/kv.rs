//! The key-value capability, as a plugin calls it: one suite, run against Redis and against the table.

mod behaviour;
mod outage;
mod redis_server;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Manager, Pool, Runtime};
use nself::{
    capability::{
        Grant,
        kv::{self, Store},
    },
    postgres::scratch::{Scratch, TestDatabase},
};
use nself_plugin_api::abi::{bytes::Bytes, capability::kv::Kv, error::Error};
use tokio_postgres::NoTls;

use redis_server::RedisServer;

/// How long a test waits for something that comes by itself.
const LIMIT: Duration = Duration::from_secs(20);

/// A store and what it stands on.
struct Fixture {
    store: Arc<Store>,
    _redis: Option<RedisServer>,
    database: Option<TestDatabase>,
}

impl Fixture {
    /// On a Redis server of its own; nothing when none is installed.
    async fn redis() -> Option<Self> {
        let server = RedisServer::start(None).await?;
        let store = Store::redis(&server.url()).expect("the URL is one of Redis");
        Some(Self {
            store: Arc::new(store),
            _redis: Some(server),
            database: None,
        })
    }

    /// On a database of its own.
    async fn postgres() -> Option<Self> {
        let database = Scratch::shared().database().await;
        let client = database.client().await;
        // Down and up again: the step must be able to go back.
        let (up, down) = (
            include_str!("../../../db/nself/0005_kv.up.sql"),
            include_str!("../../../db/nself/0005_kv.down.sql"),
        );
        for sql in ["CREATE SCHEMA nself", up, down, up] {
            client.batch_execute(sql).await.unwrap();
        }
        let pool = Pool::builder(Manager::new(database.config(), NoTls))
            .max_size(16)
            .runtime(Runtime::Tokio1)
            .build()
            .unwrap();
        Some(Self {
            store: Arc::new(Store::postgres(pool)),
            _redis: None,
            database: Some(database),
        })
    }

    /// The database under the table.
    fn database(&self) -> &TestDatabase {
        self.database
            .as_ref()
            .expect("this fixture is one of Postgres")
    }

    /// The handle that the plugin `plugin` holds.
    fn plugin(&self, plugin: &str) -> Kv {
        handle(self.store.clone(), plugin)
    }
}

fn handle(store: Arc<Store>, plugin: &str) -> Kv {
    let grant = Grant {
        plugin: plugin.into(),
        version: "1.0.0".into(),
        requires: Arc::default(),
        destinations: Arc::default(),
    };
    Kv::new(Arc::new(kv::Kv::new(store, grant)))
}

/// The value as text.
async fn text(kv: &Kv, key: &str) -> Option<String> {
    let value: Option<Bytes> = kv.get(key.into()).await.unwrap().into();
    value.map(|value| value.to_text())
}

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

#[track_caller]
fn assert_code<T>(result: Result<T, Error>, code: &str) -> Error {
    let error = result.err().unwrap_or_else(|| panic!("expected {code}"));
    assert_eq!(error.code.to_text(), code, "{}", error.cause.to_text());
    error
}

/// Asks again and again until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !so().await {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
