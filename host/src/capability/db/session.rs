//! A connection that a plugin holds: a transaction, or a plain connection for what refuses to run in one.

use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::Object;
use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::db::{CopyIn, Rows, Session, SessionProvider, mode},
    error::Error,
    stream::Stream,
};
use tokio::runtime::Handle;

use super::{copy, failure, lent, span, wire};
use crate::{
    capability::error::error,
    telemetry::trace::{Span, Trace},
};

/// The open session of a plugin.
pub(super) struct OpenSession {
    /// Gone once the session is finished. Shared with the statements under way, so that they can be pipelined.
    connection: Mutex<Option<Arc<Object>>>,
    transaction: bool,
    runtime: Handle,
    /// Where its statements are in the plugin's trace, if that is recorded, and its own span until it has ended.
    trace: Option<Trace>,
    span: Mutex<Option<Box<Span>>>,
}

impl OpenSession {
    /// `tenant` are the statements that say in whose name it is.
    pub(super) async fn open(
        connection: Object,
        mode: u32,
        tenant: String,
        span: Option<Box<Span>>,
    ) -> Result<Session, Error> {
        let begin = match mode {
            mode::PLAIN => None,
            mode::TRANSACTION => Some("begin"),
            mode::SERIALIZABLE => Some("begin isolation level serializable"),
            mode::READ_ONLY => Some("begin read only"),
            other => return Err(error(500, "SESSION_MODE", "unknown session mode", other)),
        };
        // In one go: who calls costs no round trip of its own.
        let first = match begin {
            Some(begin) => begin.to_owned() + &tenant,
            None => tenant,
        };
        // A session from here on: whoever is dropped while this waits leaves no transaction open on a connection that
        // goes back to the pool.
        let session = Self {
            connection: Mutex::new(Some(Arc::new(connection))),
            transaction: begin.is_some(),
            runtime: Handle::current(),
            trace: span.as_ref().map(|span| span.trace()),
            span: Mutex::new(span),
        };
        if !first.is_empty() {
            let begun = session.connection()?.batch_execute(&first).await;
            if let Err(error) = begun {
                return span::end(session.take_span(), Err(failure::statement(&error)));
            }
        }
        Ok(Session::new(Arc::new(session)))
    }

    fn take(&self) -> Option<Arc<Object>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn take_span(&self) -> Option<Box<Span>> {
        self.span
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn connection(&self) -> Result<Arc<Object>, Error> {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connection.clone().ok_or_else(|| {
            error(
                500,
                "SESSION_FINISHED",
                "the session is over",
                "used after commit",
            )
        })
    }
}

/// Gives a connection back to the pool, unless a plain session may have left settings, locks or temporary tables on it:
/// then it is closed, for there is no reset that keeps the prepared statements.
fn give_back(connection: Arc<Object>, transaction: bool) {
    if !transaction && let Some(connection) = Arc::into_inner(connection) {
        drop(Object::take(connection));
    }
}

impl SessionProvider for OpenSession {
    fn query(
        &self,
        sql: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<Rows, Error>> + Send + 'static {
        let (connection, sql) = (self.connection(), sql.as_str().to_owned());
        let span = span::within(self.trace.as_ref(), &sql);
        async move {
            let result = async { wire::query(&**connection?, &sql, &params).await };
            span::end_rows(span, result.await)
        }
    }

    fn execute(
        &self,
        sql: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        let (connection, sql) = (self.connection(), sql.as_str().to_owned());
        let span = span::within(self.trace.as_ref(), &sql);
        async move {
            let result = async { wire::execute(&**connection?, &sql, &params).await };
            span::end(span, result.await)
        }
    }

    fn batch(&self, sql: Str<'_>) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (connection, sql) = (self.connection(), sql.as_str().to_owned());
        let span = span::within(self.trace.as_ref(), &sql);
        async move {
            let result = async {
                let done = connection?.batch_execute(&sql).await;
                done.map_err(|error| failure::statement(&error))
            };
            span::end(span, result.await)
        }
    }

    fn copy_in(
        &self,
        sql: Str<'_>,
    ) -> impl Future<Output = Result<CopyIn, Error>> + Send + 'static {
        let (connection, sql) = (self.connection(), sql.as_str().to_owned());
        async move { copy::into(&*connection?, &sql).await }
    }

    fn copy_out(
        &self,
        sql: Str<'_>,
    ) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        let (connection, sql) = (self.connection(), sql.as_str().to_owned());
        async move { copy::out(connection?, &sql).await }
    }

    fn finish(&self, commit: u32) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let transaction = self.transaction;
        // Rolled back if it is dropped before its end was sent.
        let ending = Self {
            connection: Mutex::new(self.take()),
            transaction,
            runtime: self.runtime.clone(),
            trace: None,
            span: Mutex::new(self.take_span()),
        };
        async move {
            let connection = ending.connection()?;
            let mut ended = Ok(());
            if transaction {
                let end = if commit == 1 { "commit" } else { "rollback" };
                ended = connection.batch_execute(end).await;
            }
            drop(connection);
            if let Some(connection) = ending.take() {
                give_back(connection, transaction);
            }
            let ended = ended.map_err(|error| failure::statement(&error));
            span::end(ending.take_span(), ended)
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let Some(connection) = self.take() else {
            return;
        };
        if !self.transaction {
            return give_back(connection, false);
        }
        // A handler that failed or was cancelled: roll back before anybody else gets the connection.
        self.runtime.spawn(lent::settle(connection, "rollback"));
    }
}
