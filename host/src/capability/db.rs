//! `nself.db/1`: the plugin's own pool, logged in as the plugin's own role.
//!
//! Parameters and rows stay in Postgres' binary format: the plugin encodes and reads, the host only passes buffers on.
//! A statement is prepared once per connection and found again by its text and parameter types.

mod copy;
mod failure;
mod lent;
mod listen;
mod queue;
mod session;
mod span;
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

use crate::{capability::caller, plugin::manifest::Requires, postgres::connect::Target};

use self::{lent::Lent, listen::Listener, queue::Queue, session::OpenSession};

/// The database of one plugin instance.
pub struct Database {
    queue: Arc<Queue>,
    listener: Arc<Listener>,
    /// Whether it reads tables whose rows are held apart by families, and is held back by that.
    is_isolated: bool,
}

impl Database {
    /// The capability over `pool`; LISTEN gets a connection of its own to `target`, opened when first asked for.
    pub fn capability(pool: Pool, target: Target, requires: &Requires) -> Db {
        Db::new(Arc::new(Self {
            queue: Arc::new(Queue::of(pool)),
            listener: Arc::new(Listener::new(target)),
            is_isolated: is_isolated(requires),
        }))
    }

    /// A place in the queue for a connection. Asked within the plugin's poll.
    fn turn(&self) -> Turn {
        Turn {
            queue: Arc::clone(&self.queue),
            is_awaited: caller::is_awaited(),
        }
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

/// A statement's or transaction's place in the queue for a connection.
struct Turn {
    queue: Arc<Queue>,
    is_awaited: bool,
}

impl Turn {
    async fn connection(&self) -> Result<Object, Error> {
        let lent = self.queue.connection(self.is_awaited).await;
        lent.map_err(|error| failure::pool(&error))
    }
}

impl DbProvider for Database {
    fn query(
        &self,
        sql: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<Rows, Error>> + Send + 'static {
        let (turn, sql) = (self.turn(), sql.as_str().to_owned());
        let (tenant, span) = (self.tenant(), span::statement(&sql));
        async move {
            let result = async {
                let connection = Lent::new(turn.connection().await?);
                let rows = wire::query_as(&connection, &sql, &params, &tenant).await;
                connection.give_back();
                rows
            };
            span::end_rows(span, result.await)
        }
    }

    fn execute(
        &self,
        sql: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        let (turn, sql) = (self.turn(), sql.as_str().to_owned());
        let (tenant, span) = (self.tenant(), span::statement(&sql));
        async move {
            let result = async {
                let connection = Lent::new(turn.connection().await?);
                let changed = wire::execute_as(&connection, &sql, &params, &tenant).await;
                connection.give_back();
                changed
            };
            span::end(span, result.await)
        }
    }

    fn session(&self, mode: u32) -> impl Future<Output = Result<Session, Error>> + Send + 'static {
        let turn = self.turn();
        let tenant = match mode {
            mode::PLAIN => tenant::session(),
            _ => tenant::local(),
        };
        let span = span::session(mode != mode::PLAIN);
        let tenant = tenant + &span::cause(span.as_deref(), mode);
        async move {
            match turn.connection().await {
                Ok(connection) => OpenSession::open(connection, mode, tenant, span).await,
                Err(error) => span::end(span, Err(error)),
            }
        }
    }

    fn listen(
        &self,
        channel: Str<'_>,
    ) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        let (listener, channel) = (Arc::clone(&self.listener), channel.as_str().to_owned());
        async move { listener.listen(channel).await }
    }
}
