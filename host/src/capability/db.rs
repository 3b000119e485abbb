//! `nself.db/1`: the plugin's own pool, logged in as the plugin's own role.
//!
//! Parameters and rows stay in Postgres' binary format: the plugin encodes and reads, the host only passes buffers on.
//! A statement is prepared once per connection and found again by its text and parameter types.

mod copy;
mod failure;
mod listen;
mod session;
mod wire;

use std::sync::Arc;

use deadpool_postgres::{Object, Pool};
use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::db::{Db, DbProvider, Rows, Session},
    error::Error,
    stream::Stream,
};

use crate::postgres::connect::Target;

use self::{listen::Listener, session::OpenSession};

/// The database of one plugin instance.
pub struct Database {
    pool: Pool,
    listener: Arc<Listener>,
}

impl Database {
    /// The capability over `pool`; LISTEN gets a connection of its own to `target`, opened when first asked for.
    pub fn capability(pool: Pool, target: Target) -> Db {
        Db::new(Arc::new(Self {
            pool,
            listener: Arc::new(Listener::new(target)),
        }))
    }
}

async fn connection(pool: &Pool) -> Result<Object, Error> {
    pool.get().await.map_err(|error| failure::pool(&error))
}

impl DbProvider for Database {
    fn query(
        &self,
        sql: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<Rows, Error>> + Send + 'static {
        let (pool, sql) = (self.pool.clone(), sql.as_str().to_owned());
        async move {
            wire::query(
                &*connection(&pool).await?,
                &sql,
                &params,
                wire::Replan::Allowed,
            )
            .await
        }
    }

    fn execute(
        &self,
        sql: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        let (pool, sql) = (self.pool.clone(), sql.as_str().to_owned());
        async move {
            wire::execute(
                &*connection(&pool).await?,
                &sql,
                &params,
                wire::Replan::Allowed,
            )
            .await
        }
    }

    fn session(&self, mode: u32) -> impl Future<Output = Result<Session, Error>> + Send + 'static {
        let pool = self.pool.clone();
        async move { OpenSession::open(connection(&pool).await?, mode).await }
    }

    fn listen(
        &self,
        channel: Str<'_>,
    ) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        let (listener, channel) = (Arc::clone(&self.listener), channel.as_str().to_owned());
        async move { listener.listen(channel).await }
    }
}
