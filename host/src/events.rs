//! The event log: emitted in a transaction, read by durable cursors.
//!
//! Writing is SQL (`nself.emit_event`, in `db/nself/0003_events.up.sql`), in the transaction of the cause. Reading is
//! [`EventLog::run`]: one cursor per subscriber, held under a lease by one replica at a time, each event delivered in
//! order and at least once. A handler that fails is asked again with growing pauses; an event that fails for good is
//! put aside into `nself.event_failures`, so that it blocks nothing and stays visible.
//!
//! A reader with nothing to do marks itself, and only then do writers notify. It looks again after marking, and goes on
//! looking while a transaction is open that may have missed the mark; a slow sweep heals whatever is lost besides.

mod envelope;
mod error;
mod held;
mod lease;
mod reader;
mod store;
mod subscriber;
mod wakeups;

use deadpool_postgres::Pool;
use tokio::sync::watch;

pub use envelope::CloudEvent;
pub use error::EventError;
pub use subscriber::{StartAt, Subscriber, Tuning};
pub use wakeups::{Dial, dial};

use reader::Reader;
use wakeups::Wakeups;

/// The host's access to the event log: share one per process, it keeps one connection that listens.
#[derive(Debug)]
pub struct EventLog {
    pool: Pool,
    wakeups: Wakeups,
}

impl EventLog {
    /// A log over `pool`, whose login owns schema `nself`. `dial` opens the connection that listens; it is opened again
    /// whenever it is lost. Must be called on a tokio runtime.
    pub fn new(pool: Pool, dial: Dial) -> Self {
        Self {
            pool,
            wakeups: Wakeups::start(dial),
        }
    }

    /// Makes the cursor of `subscriber` when it has none: what happens from now on is delivered, though [`Self::run`]
    /// begins later.
    ///
    /// # Errors
    ///
    /// [`EventError::Pattern`] when the subscriber's types are not patterns, or what the database said.
    pub async fn register(&self, subscriber: &Subscriber) -> Result<(), EventError> {
        subscriber.validate()?;
        store::register(&self.pool, subscriber).await
    }

    /// Delivers events to `handler` until `shutdown` turns true or its sender is gone: one at a time, in order, each at
    /// least once. Waits while another replica holds the subscriber's lease; survives the loss of the database.
    ///
    /// A running handler is let to its end at shutdown; drop the future to cut it off (its event then comes again).
    /// A handler is dropped in the middle when the lease is lost.
    ///
    /// # Errors
    ///
    /// [`EventError::Pattern`] when the subscriber's types are not patterns. Nothing else ends it.
    pub async fn run<H, F>(
        &self,
        subscriber: Subscriber,
        handler: H,
        shutdown: watch::Receiver<bool>,
    ) -> Result<(), EventError>
    where
        H: Fn(CloudEvent) -> F + Send + Sync,
        F: Future<Output = Result<(), String>> + Send,
    {
        subscriber.validate()?;
        let wakeup = self.wakeups.of(&subscriber.name);
        Reader {
            pool: &self.pool,
            subscriber: &subscriber,
            wakeup: &wakeup,
            handler: &handler,
        }
        .run(shutdown)
        .await;
        Ok(())
    }

    /// Asks for one more delivery of what `subscriber` gave up on: of one event, or of all; returns how many.
    pub async fn retry_failures(
        &self,
        subscriber: &str,
        event: Option<uuid::Uuid>,
    ) -> Result<u64, EventError> {
        store::retry_failures(&self.pool, subscriber, event).await
    }

    /// Forgets a subscriber that will not come back, so that it no longer keeps old events from being pruned.
    pub async fn forget(&self, subscriber: &str) -> Result<(), EventError> {
        store::forget(&self.pool, subscriber).await
    }

    /// Deletes events older than `older_than` that every subscriber is done with; returns how many.
    pub async fn prune(&self, older_than: std::time::Duration) -> Result<u64, EventError> {
        store::prune(&self.pool, older_than).await
    }
}
