//! `nself.task/1`: work beside the requests, blocking work, leases, and the sign to drain.

pub mod lease;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use nself_plugin_api::abi::{
    bytes::Str,
    capability::task::{Lease, Tasks, TasksProvider, Work},
    error::Error,
    future::Fut,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::AbortHandle,
};
use tracing::{Instrument, error, info_span};

use self::lease::Leases;
use super::{Grant, error::unavailable};
use crate::plugin::watchdog::{Owner, Watch};

/// Blocking calls of one plugin at a time.
const BLOCKING_MAX: usize = 4;

/// Blocking calls of one plugin that may wait.
const BLOCKING_WAITING_MAX: usize = 64;

/// The background work of one plugin instance.
pub struct Background {
    grant: Grant,
    running: Arc<DashMap<u64, AbortHandle>>,
    next: AtomicU64,
    blocking: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
    leases: Arc<Leases>,
    runtime: Handle,
    watch: Watch,
    blocking_watch: Watch,
}

impl Background {
    /// The work of an instance; `draining` turns true when it is asked to end, `owner` is whose polls are noted.
    pub fn new(
        grant: Grant,
        draining: watch::Receiver<bool>,
        leases: Arc<Leases>,
        owner: &Owner,
    ) -> Arc<Self> {
        Arc::new(Self {
            grant,
            running: Arc::default(),
            next: AtomicU64::new(1),
            blocking: Arc::new(Semaphore::new(BLOCKING_MAX)),
            waiting: Arc::new(Semaphore::new(BLOCKING_MAX + BLOCKING_WAITING_MAX)),
            draining,
            leases,
            runtime: Handle::current(),
            watch: Watch::new(owner, "background work"),
            blocking_watch: Watch::of_blocking(owner, "blocking work"),
        })
    }

    /// The capability.
    pub fn capability(self: &Arc<Self>) -> Tasks {
        Tasks::new(Arc::clone(self))
    }

    /// How many pieces of work run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Drops all work that still runs.
    pub fn abort(&self) {
        for task in self.running.iter() {
            task.abort();
        }
    }
}

impl TasksProvider for Background {
    fn spawn(&self, name: Str<'_>, work: Fut<()>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let span = info_span!(target: "plugin", "background", plugin = &*self.grant.plugin, work = name.as_str());
        let running = Arc::clone(&self.running);
        let work = self.watch.future(work);
        // The task starts only once it stands in the table, or a short one could leave before it has come.
        let (start, started) = tokio::sync::oneshot::channel::<()>();
        let task = self.runtime.spawn(
            async move {
                let _gone = scopeguard(move || {
                    running.remove(&number);
                });
                if started.await.is_ok()
                    && let Err(failure) = work.await
                {
                    error!(
                        error = failure.message.to_text(),
                        cause = failure.cause.to_text(),
                        "background work failed"
                    );
                }
            }
            .instrument(span),
        );
        self.running.insert(number, task.abort_handle());
        // Only fails when the runtime is shutting down.
        let _ = start.send(());
        number
    }

    fn cancel(&self, task: u64) {
        if let Some((_, task)) = self.running.remove(&task) {
            task.abort();
        }
    }

    fn blocking(&self, work: Work) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (blocking, waiting) = (Arc::clone(&self.blocking), Arc::clone(&self.waiting));
        let watch = self.blocking_watch;
        async move {
            let _place = waiting.try_acquire_owned().map_err(|cause| {
                unavailable(
                    "BLOCKING_QUEUE_FULL",
                    "too much background work is waiting",
                    1_000,
                    cause,
                )
            })?;
            let permit = blocking.acquire_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                watch.poll(|| work.run());
            });
            done.await
                .map_err(|cause| unavailable("HOST_STOPPING", "the host is stopping", 1_000, cause))
        }
    }

    fn lease(&self, name: Str<'_>) -> impl Future<Output = Result<Lease, Error>> + Send + 'static {
        let name = format!("{}:{}", self.grant.plugin, name.as_str());
        let leases = Arc::clone(&self.leases);
        let mut draining = self.draining.clone();
        async move {
            tokio::select! {
                held = leases.acquire(&name) => Ok(held.capability()),
                _ = draining.wait_for(|draining| *draining) => {
                    Err(unavailable("PLUGIN_DRAINING", "the plugin is stopping", 1_000, "asked for a lease while draining"))
                }
            }
        }
    }

    fn draining(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let mut draining = self.draining.clone();
        async move {
            // An error means that the instance is gone, which is the end of draining as well.
            let _ = draining.wait_for(|draining| *draining).await;
            Ok(())
        }
    }
}

/// Runs `leave` when dropped, also when the work is aborted or panics.
fn scopeguard<F: FnOnce()>(leave: F) -> impl Drop {
    struct Guard<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for Guard<F> {
        fn drop(&mut self) {
            if let Some(leave) = self.0.take() {
                leave();
            }
        }
    }
    Guard(Some(leave))
}
