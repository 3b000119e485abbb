//! Background work under the host's supervision, blocking work, and leases over all replicas.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use super::granted;
use crate::{
    abi::{
        capability::task::{self as raw, Work, WorkProvider},
        future::Fut,
    },
    cx::Handles,
    error::{Error, Result},
};

/// Spawns work.
pub struct Tasks<'a>(pub(crate) &'a Arc<Handles>);

/// Spawned work. Dropping this lets it run on.
pub struct Spawned {
    handles: Arc<Handles>,
    number: u64,
}

impl Spawned {
    /// Drops the work at its next await.
    pub fn cancel(self) {
        if let Some(tasks) = &self.handles.task {
            tasks.cancel(self.number);
        }
    }
}

/// Work for a blocking thread: runs once, leaves its result.
struct Once<F, R> {
    work: Mutex<Option<F>>,
    result: Arc<Mutex<Option<R>>>,
}

impl<F, R> WorkProvider for Once<F, R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    fn run(&self) {
        let work = self
            .work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(work) = work {
            let result = work();
            *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    }
}

impl Tasks<'_> {
    /// Drives `work` beside the requests until it resolves or the plugin stops. A panic ends it and is logged; for work
    /// that must go on, declare a task, which the host restarts.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn spawn(
        &self,
        name: &str,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<Spawned> {
        let work = Fut::new(async move { work.await.map_err(Into::into) });
        let number = granted!(self, task, "nself.task/1")?.spawn(name.into(), work);
        Ok(Spawned {
            handles: Arc::clone(self.0),
            number,
        })
    }

    /// Runs work that blocks or computes for long on the host's blocking threads, off the event loop.
    ///
    /// # Errors
    ///
    /// 503 when the plugin's share of them is taken and the queue is full; 500 when the work panicked.
    pub async fn blocking<F, R>(&self, work: F) -> Result<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let result = Arc::new(Mutex::new(None));
        let once = Once {
            work: Mutex::new(Some(work)),
            result: Arc::clone(&result),
        };
        granted!(self, task, "nself.task/1")?
            .blocking(Work::new(Arc::new(once)))
            .await?;
        let taken = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| Error::new(500, "BLOCKING_PANICKED", "background work failed"))
    }

    /// Waits until this replica holds the lease of that name.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability or the plugin drains.
    pub async fn lease(&self, name: &str) -> Result<Lease> {
        Ok(Lease(
            granted!(self, task, "nself.task/1")?
                .lease(name.into())
                .await?,
        ))
    }

    /// Resolves when the plugin is asked to drain: finish what you do, take nothing new.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub async fn draining(&self) -> Result<()> {
        Ok(granted!(self, task, "nself.task/1")?.draining().await?)
    }
}

/// A held lease; dropped, it is free for another replica.
pub struct Lease(raw::Lease);

impl Lease {
    /// Resolves when it has been lost: stop at once what only one may do.
    ///
    /// # Errors
    ///
    /// When the host stops.
    pub async fn lost(&self) -> Result<()> {
        Ok(self.0.lost().await?)
    }
}
