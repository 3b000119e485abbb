//! Blocking work of one plugin: a bounded number at a time, and a bounded number that waits.

use std::sync::Arc;

use nself_plugin_api::abi::error::Error;
use tokio::sync::Semaphore;

use crate::capability::error::unavailable;

/// Blocking calls of one plugin at a time.
const BLOCKING_MAX: usize = 4;

/// Blocking calls of one plugin that may wait.
const BLOCKING_WAITING_MAX: usize = 64;

/// The places for it.
pub struct Blocking {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Blocking {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(BLOCKING_MAX)),
            waiting: Arc::new(Semaphore::new(BLOCKING_MAX + BLOCKING_WAITING_MAX)),
        }
    }
}

impl Blocking {
    /// Does `work` on a thread that is there to be held.
    pub fn run<W: FnOnce() + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<W> {
        let (running, waiting) = (Arc::clone(&self.running), Arc::clone(&self.waiting));
        async move {
            let _place = waiting.try_acquire_owned().map_err(|cause| {
                unavailable(
                    "BLOCKING_QUEUE_FULL",
                    "too much background work is waiting",
                    1_000,
                    cause,
                )
            })?;
            let permit = running.acquire_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work();
            });
            done.await
                .map_err(|cause| unavailable("HOST_STOPPING", "the host is stopping", 1_000, cause))
        }
    }
}
