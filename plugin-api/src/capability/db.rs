//! Postgres: statements, transactions, COPY and LISTEN, as the plugin's own role.

mod param;
mod rows;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;

pub use self::{
    param::{Param, Typed},
    rows::{Row, Rows},
};
use super::granted;
use crate::{
    abi::{
        self,
        capability::db::{Session, mode},
    },
    cx::Handles,
    error::{Error, Result},
    principal::Principal,
};

/// Parameters of a statement: `&[&id, &title]`.
pub type Params<'a> = &'a [&'a (dyn Param + Sync)];

/// What runs statements: [`Db`] for one at a time, [`Transaction`] for several that belong together.
///
/// Statements are prepared once per connection and cached by their text: write them as constants.
/// Futures of one transaction that are polled together are pipelined.
pub trait Queries: Sync {
    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    ///
    /// [`Error::sqlstate`] says which, when Postgres refused it; 503 when there is no connection.
    fn query(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Rows>> + Send;

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    fn execute(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<u64>> + Send;

    /// The first row, if there is one.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    fn query_opt(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Option<Row>>> + Send {
        async move { Ok(self.query(sql, params).await?.into_iter().next()) }
    }

    /// The one row.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query), and when there is none.
    fn query_one(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Row>> + Send {
        async move {
            let row = self.query_opt(sql, params).await?;
            row.ok_or_else(|| {
                Error::new(500, "INTERNAL", "a row is missing").with_cause(format!("no row: {sql}"))
            })
        }
    }
}

/// The plugin's pool.
pub struct Db<'a>(pub(crate) &'a Arc<Handles>);

impl Queries for Db<'_> {
    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Rows> {
        let db = granted!(self, db, "nself.db/1")?;
        Ok(Rows::new(
            db.query(sql.into(), param::encode(params)?.into()).await?,
        ))
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        let db = granted!(self, db, "nself.db/1")?;
        Ok(db
            .execute(sql.into(), param::encode(params)?.into())
            .await?)
    }
}

impl Db<'_> {
    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// 503 when there is no connection.
    pub async fn begin(&self) -> Result<Transaction> {
        self.session(mode::TRANSACTION).await
    }

    /// Begins a serializable transaction; commit can fail with SQLSTATE `40001`, then run it again.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub async fn begin_serializable(&self) -> Result<Transaction> {
        self.session(mode::SERIALIZABLE).await
    }

    /// Begins a transaction in which `nself.current_family_id()`, `nself.current_user_id()` and `nself.current_role()` are
    /// the principal's, for row-level security.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub async fn begin_as(&self, principal: &Principal) -> Result<Transaction> {
        let transaction = self.begin().await?;
        let text = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        let (family, user) = (text(principal.family_id), text(principal.user_id));
        let role = principal.role.map_or("", crate::manifest::Role::name);
        transaction
            .execute(
                "select set_config('nself.family_id', $1, true), set_config('nself.user_id', $2, true), \
                 set_config('nself.role', $3, true)",
                &[&family, &user, &role],
            )
            .await?;
        Ok(transaction)
    }

    /// Takes a connection without a transaction, for statements that refuse to run in one.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub async fn connection(&self) -> Result<Transaction> {
        self.session(mode::PLAIN).await
    }

    async fn session(&self, mode: u32) -> Result<Transaction> {
        Ok(Transaction(
            granted!(self, db, "nself.db/1")?.session(mode).await?,
        ))
    }

    /// Listens to a channel. Notifications that arrive while the connection is down are lost: after a reconnect the
    /// stream yields [`Notification::Reconnected`], the sign to look for yourself.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub async fn listen(&self, channel: &str) -> Result<Notifications> {
        Ok(Notifications(
            granted!(self, db, "nself.db/1")?
                .listen(channel.into())
                .await?,
        ))
    }
}

/// A connection of its own, in a transaction unless made by [`Db::connection`]. Dropped without commit, it rolls back.
pub struct Transaction(Session);

impl Queries for Transaction {
    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Rows> {
        Ok(Rows::new(
            self.0
                .query(sql.into(), param::encode(params)?.into())
                .await?,
        ))
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        Ok(self
            .0
            .execute(sql.into(), param::encode(params)?.into())
            .await?)
    }
}

impl Transaction {
    /// Commits.
    ///
    /// # Errors
    ///
    /// As [`Queries::query`]; nothing has been committed then, unless the connection broke during the commit.
    pub async fn commit(self) -> Result<()> {
        Ok(self.0.finish(1).await?)
    }

    /// Rolls back.
    ///
    /// # Errors
    ///
    /// When the connection broke, which rolls back as well.
    pub async fn rollback(self) -> Result<()> {
        Ok(self.0.finish(0).await?)
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    ///
    /// As [`Queries::query`].
    pub async fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.0.batch(sql.into()).await?)
    }

    /// Begins `COPY .. FROM STDIN`.
    ///
    /// # Errors
    ///
    /// As [`Queries::query`].
    pub async fn copy_in(&self, sql: &str) -> Result<CopyIn> {
        Ok(CopyIn(self.0.copy_in(sql.into()).await?))
    }

    /// Runs `COPY .. TO STDOUT`; the chunks as Postgres sends them.
    ///
    /// # Errors
    ///
    /// As [`Queries::query`].
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOut> {
        Ok(CopyOut(self.0.copy_out(sql.into()).await?))
    }
}

/// The sending end of a COPY. Dropped without [`finish`](Self::finish), the copy is aborted.
pub struct CopyIn(abi::capability::db::CopyIn);

impl CopyIn {
    /// Sends a chunk.
    ///
    /// # Errors
    ///
    /// As [`Queries::query`].
    pub async fn send(&self, chunk: impl Into<Bytes>) -> Result<()> {
        Ok(self.0.send(chunk.into().into()).await?)
    }

    /// Ends the copy; the number of rows.
    ///
    /// # Errors
    ///
    /// As [`Queries::query`].
    pub async fn finish(self) -> Result<u64> {
        Ok(self.0.finish().await?)
    }
}

/// The chunks of a COPY.
pub struct CopyOut(abi::stream::Stream);

impl Stream for CopyOut {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|item| item.map(|chunk| chunk.map(Into::into).map_err(Into::into)))
    }
}

/// Something heard on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// A payload.
    Payload(String),
    /// The connection was lost and is back: what was sent meanwhile is gone.
    Reconnected,
}

/// Notifications of a channel.
pub struct Notifications(abi::stream::Stream);

impl Stream for Notifications {
    type Item = Result<Notification>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| {
            item.map(|chunk| {
                let chunk = chunk?;
                // The first byte tells a payload, which may be empty, from a reconnect.
                Ok(match chunk.as_slice() {
                    [] => Notification::Reconnected,
                    [_, payload @ ..] => {
                        Notification::Payload(String::from_utf8_lossy(payload).into_owned())
                    }
                })
            })
        })
    }
}
