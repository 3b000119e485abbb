//! Connections on which a statement was given up: its caller has gone or had no more time, and the database still owes an answer.
//!
//! What comes next on such a connection waits for that answer, and where the peer has vanished without closing anything it never comes. So it
//! goes back to the pool when the database has answered, and is closed when it does not.

use std::{ops::Deref, sync::Arc, time::Duration};

use deadpool_postgres::Object;
use tokio::{runtime::Handle, time::timeout};

/// How long the database may owe the answer. A statement that takes longer goes on there to its end, or to its timeout.
const OWED_MAX: Duration = Duration::from_secs(10);

/// A connection for one statement.
pub(super) struct Lent {
    /// Gone when it was given back.
    connection: Option<Object>,
    runtime: Handle,
}

impl Lent {
    pub(super) fn new(connection: Object) -> Self {
        Self {
            connection: Some(connection),
            runtime: Handle::current(),
        }
    }

    /// The statement was answered.
    pub(super) fn give_back(mut self) {
        self.connection = None;
    }
}

impl Deref for Lent {
    type Target = Object;

    fn deref(&self) -> &Object {
        let lent = self.connection.as_ref();
        lent.expect("it is there until it is given back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.runtime.spawn(settle(Arc::new(connection), ""));
        }
    }
}

/// Says `last` on a connection that goes back to the pool when that was done, and is closed otherwise.
pub(super) async fn settle(connection: Arc<Object>, last: &'static str) {
    let answered = timeout(OWED_MAX, connection.batch_execute(last)).await;
    if !matches!(answered, Ok(Ok(())))
        && let Some(connection) = Arc::into_inner(connection)
    {
        drop(Object::take(connection));
    }
}
