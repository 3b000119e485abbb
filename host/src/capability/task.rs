//! `nself.task/1`: work beside the requests, blocking work, leases, and the sign to drain.

pub mod blocking;
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
use tokio::{runtime::Handle, sync::watch, task::AbortHandle};
use tracing::{Instrument, error, info_span};

use self::{blocking::Blocking, lease::Leases};
use super::{Grant, error::unavailable};
use crate::plugin::watchdog::{Owner, Watch};

/// The background work of one plugin instance.
pub struct Background {
    grant: Grant,
    running: Arc<DashMap<u64, AbortHandle>>,
    next: AtomicU64,
    blocking: Blocking,
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
            blocking: Blocking::default(),
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
        let watch = self.blocking_watch;
        self.blocking.run(move || watch.poll(|| work.run()))
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
