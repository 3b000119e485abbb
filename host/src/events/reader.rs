//! One subscriber's loop: get the lease, deliver what is there, sleep until there is more.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::FutureExt;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use uuid::Uuid;

use super::envelope::CloudEvent;
use super::error::EventError;
use super::held::{Batch, Held, Place};
use super::lease;
use super::store;
use super::subscriber::Subscriber;

/// Pauses while transactions are open that may have emitted without seeing our mark.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(250);
/// A reader that had something to deliver looks for more so much later: events that follow each other closely are then
/// fetched and acknowledged together, and whoever emits them need not notify.
const PACE: Duration = Duration::from_millis(20);
/// Pauses after a failure of the database.
const ERROR_PAUSE: Duration = Duration::from_millis(200);
const ERROR_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest text of a handler's error that is kept.
const ERROR_CHARACTERS_MAX: usize = 2000;

/// A subscriber and what it needs to run.
pub(super) struct Reader<'a, H> {
    pub(super) pool: &'a Pool,
    pub(super) subscriber: &'a Subscriber,
    pub(super) wakeup: &'a Notify,
    pub(super) handler: &'a H,
}

impl<H, F> Reader<'_, H>
where
    H: Fn(CloudEvent) -> F + Send + Sync,
    F: Future<Output = Result<(), String>> + Send,
{
    /// Runs until `shutdown`, through lost leases and lost databases.
    pub(super) async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut pause = ERROR_PAUSE;
        while !is_over(&shutdown) {
            match self.hold(&mut shutdown).await {
                Ok(()) => pause = ERROR_PAUSE,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, subscriber = self.subscriber.name, "reading of events interrupted");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = over(&mut shutdown) => return,
                    }
                    pause = (pause * 2).min(ERROR_PAUSE_MAX);
                }
            }
        }
    }

    /// One lease, from getting it to giving it back.
    async fn hold(&self, shutdown: &mut watch::Receiver<bool>) -> Result<(), EventError> {
        store::register(self.pool, self.subscriber).await?;
        let Some(token) = self.get_lease(shutdown).await? else {
            return Ok(());
        };
        let held = Held {
            pool: self.pool,
            subscriber: self.subscriber,
            token,
        };
        let outcome = tokio::select! {
            outcome = self.work(&held, shutdown) => outcome,
            lost = lease::keep(&held) => Err(lost),
        };
        if !matches!(outcome, Err(EventError::LeaseLost { .. })) {
            let released = held.release().await;
            return outcome.and(released);
        }
        outcome
    }

    /// The token of the lease; None when it is time to stop.
    async fn get_lease(
        &self,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<Option<i64>, EventError> {
        let (holder, lease) = (Uuid::now_v7(), self.subscriber.tuning.lease);
        loop {
            if is_over(shutdown) {
                return Ok(None);
            }
            if let Some(token) =
                store::acquire(self.pool, &self.subscriber.name, holder, lease).await?
            {
                return Ok(Some(token));
            }
            // Its holder wakes us when it stops; when it dies, its lease ends.
            self.sleep(lease / 3, shutdown).await;
        }
    }

    async fn work(
        &self,
        held: &Held<'_>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), EventError> {
        let mut idle = None;
        while !is_over(shutdown) {
            let looked_at = Instant::now();
            let batch = held.fetch().await?;
            if batch.has_retries {
                self.retry(held, shutdown).await?;
                continue;
            }
            if batch.events.is_empty() {
                let next = self.rest(held, &batch, idle, shutdown).await?;
                idle = Some(next);
                continue;
            }
            if idle.take().is_some() {
                held.unmark().await?;
            }
            let is_full = batch.events.len() >= self.subscriber.tuning.batch_max as usize;
            self.deliver(held, batch, shutdown).await?;
            if !is_full {
                tokio::select! {
                    () = tokio::time::sleep_until(looked_at + PACE) => {}
                    () = over(shutdown) => {}
                }
            }
        }
        Ok(())
    }

    /// Delivers once more what was put aside and is asked for again.
    async fn retry(
        &self,
        held: &Held<'_>,
        shutdown: &watch::Receiver<bool>,
    ) -> Result<(), EventError> {
        for event in held.fetch_retries().await? {
            if is_over(shutdown) {
                break;
            }
            let id = event.id;
            held.finish_retry(id, self.handle(event).await).await?;
        }
        Ok(())
    }

    /// Waits for more. First marks the reader as idle and returns at once, because something may have been emitted
    /// before the mark; then waits for a wake-up, but not long while an older transaction is open: it may have looked
    /// for the mark before it was there, and will not notify.
    async fn rest(
        &self,
        held: &Held<'_>,
        batch: &Batch,
        idle: Option<Idle>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<Idle, EventError> {
        let Some(mut idle) = idle else {
            return Ok(Idle {
                marked_at: held.mark().await?,
                pause: LOOK_PAUSE,
            });
        };
        if batch.horizon < idle.marked_at || batch.has_unsafe {
            self.sleep(idle.pause, shutdown).await;
            idle.pause = (idle.pause * 2).min(LOOK_PAUSE_MAX);
            return Ok(idle);
        }
        idle.pause = LOOK_PAUSE;
        let was_woken = self.sleep(self.subscriber.tuning.sweep, shutdown).await;
        if !was_woken && !is_over(shutdown) {
            if batch.is_behind {
                held.skip_unwanted(batch.horizon).await?;
            }
            if !held.prolong_mark().await? {
                idle.marked_at = held.mark().await?;
            }
        }
        Ok(idle)
    }

    async fn deliver(
        &self,
        held: &Held<'_>,
        batch: Batch,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), EventError> {
        let mut attempts = batch.attempts;
        let mut done: Option<Place> = None;
        for (place, event) in batch.events {
            if is_over(shutdown) {
                break;
            }
            loop {
                let Err(error) = self.handle(event.clone()).await else {
                    done = Some(place);
                    break;
                };
                attempts += 1;
                // The count belongs to the event behind the cursor, so the cursor comes up to it first.
                if let Some(place) = done.take() {
                    held.acknowledge(place).await?;
                }
                if !self
                    .go_on(held, (place, &event), attempts, &error, shutdown)
                    .await?
                {
                    break;
                }
                if is_over(shutdown) {
                    return Ok(());
                }
            }
            attempts = 0;
        }
        match done {
            Some(place) => held.acknowledge(place).await,
            None => Ok(()),
        }
    }

    /// After a failed attempt: waits and returns true, or puts the event aside and returns false.
    async fn go_on(
        &self,
        held: &Held<'_>,
        (place, event): (Place, &CloudEvent),
        attempts: u32,
        error: &str,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<bool, EventError> {
        let (subscriber, tuning) = (&self.subscriber.name, &self.subscriber.tuning);
        if attempts >= tuning.attempts_max {
            tracing::error!(subscriber, event = %event.id, kind = event.kind, attempts, error, "event put aside");
            held.bury(place, event, attempts, error).await?;
            return Ok(false);
        }
        tracing::warn!(subscriber, event = %event.id, kind = event.kind, attempts, error, "event handler failed");
        held.record_failure(attempts, error).await?;
        tokio::select! {
            () = tokio::time::sleep(tuning.pause_after(attempts)) => {}
            () = over(shutdown) => {}
        }
        Ok(true)
    }

    /// Runs the handler; a panic is a failure like others.
    async fn handle(&self, event: CloudEvent) -> Result<(), String> {
        let guarded = AssertUnwindSafe(async { (self.handler)(event).await })
            .catch_unwind()
            .await;
        let outcome = guarded.unwrap_or_else(|_| Err("the handler panicked".to_owned()));
        outcome.map_err(|error| error.chars().take(ERROR_CHARACTERS_MAX).collect())
    }

    /// Returns whether it was woken before `limit`.
    async fn sleep(&self, limit: Duration, shutdown: &mut watch::Receiver<bool>) -> bool {
        tokio::select! {
            () = self.wakeup.notified() => true,
            () = tokio::time::sleep(limit) => false,
            () = over(shutdown) => false,
        }
    }
}

/// A reader that found nothing.
#[derive(Clone, Copy)]
struct Idle {
    /// Transactions from this number on see the mark.
    marked_at: u64,
    pause: Duration,
}

fn is_over(shutdown: &watch::Receiver<bool>) -> bool {
    *shutdown.borrow() || shutdown.has_changed().is_err()
}

async fn over(shutdown: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone: nobody could stop us any more, so that is a stop too.
    let _ = shutdown.wait_for(|is_over| *is_over).await;
}
