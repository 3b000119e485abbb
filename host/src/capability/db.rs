//! `nself.db/1`: the plugin's own pool, logged in as the plugin's own role.
//!
//! Parameters and rows stay in Postgres' binary format: the plugin encodes and reads, the host only passes buffers on.
//! A statement is prepared once per connection and found again by its text and parameter types.

mod copy;
mod failure;
mod listen;
mod session;
mod tenant;
mod wire;

use std::sync::Arc;

use deadpool_postgres::{Object, Pool};
use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::db::{Db, DbProvider, Rows, Session, mode},
    error::Error,
    stream::Stream,
};

use crate::{plugin::manifest::Requires, postgres::connect::Target};

use self::{listen::Listener, session::OpenSession};

/// The database of one plugin instance.
pub struct Database {
    pool: Pool,
    listener: Arc<Listener>,
    /// Whether it reads tables whose rows are held apart by families, and is held back by that.
    is_isolated: bool,
}

impl Database {
    /// The capability over `pool`; LISTEN gets a connection of its own to `target`, opened when first asked for.
    pub fn capability(pool: Pool, target: Target, requires: &Requires) -> Db {
        Db::new(Arc::new(Self {
            pool,
            listener: Arc::new(Listener::new(target)),
            is_isolated: is_isolated(requires),
        }))
    }

    /// What says in whose name a single statement is, where that makes a difference. Asked within the plugin's poll.
    fn tenant(&self) -> String {
        if self.is_isolated {
            tenant::local()
        } else {
            String::new()
        }
    }
}

/// The tables of the shared model are isolated; those of its own schema a plugin isolates itself, and opens a transaction.
fn is_isolated(requires: &Requires) -> bool {
    let mut tables = requires.tables.iter();
    requires.families.is_active() && tables.any(|grant| grant.table.starts_with("public."))
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
        let tenant = self.tenant();
        async move { wire::query_as(&*connection(&pool).await?, &sql, &params, &tenant).await }
    }

    fn execute(
        &self,
        sql: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        let (pool, sql) = (self.pool.clone(), sql.as_str().to_owned());
        let tenant = self.tenant();
        async move { wire::execute_as(&*connection(&pool).await?, &sql, &params, &tenant).await }
    }

    fn session(&self, mode: u32) -> impl Future<Output = Result<Session, Error>> + Send + 'static {
        let pool = self.pool.clone();
        let tenant = match mode {
            mode::PLAIN => tenant::session(),
            _ => tenant::local(),
        };
        async move { OpenSession::open(connection(&pool).await?, mode, tenant).await }
    }

    fn listen(
        &self,
        channel: Str<'_>,
    ) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        let (listener, channel) = (Arc::clone(&self.listener), channel.as_str().to_owned());
        async move { listener.listen(channel).await }
    }
}
