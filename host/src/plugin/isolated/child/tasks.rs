//! The background work of a plugin in its own process: the host says what runs, and what blocks a thread blocks one of this process.

use std::sync::Arc;

use nself_plugin_api::abi::{
    bytes::Str,
    capability::task::{Lease, Tasks, TasksProvider, Work},
    error::Error,
    future::Fut,
    wire::{Remote, RemoteObject},
};

use crate::capability::task::blocking::Blocking;

struct ProcessTasks {
    remote: Remote<Tasks>,
    blocking: Blocking,
}

/// The work behind that object.
pub(super) fn capability(object: RemoteObject) -> Tasks {
    Tasks::new(Arc::new(ProcessTasks {
        remote: Remote::new(object),
        blocking: Blocking::default(),
    }))
}

impl TasksProvider for ProcessTasks {
    fn spawn(&self, name: Str<'_>, work: Fut<()>) -> u64 {
        self.remote.spawn(name, work)
    }

    fn cancel(&self, task: u64) {
        self.remote.cancel(task);
    }

    fn blocking(&self, work: Work) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.blocking.run(move || work.run())
    }

    fn lease(&self, name: Str<'_>) -> impl Future<Output = Result<Lease, Error>> + Send + 'static {
        self.remote.lease(name)
    }

    fn draining(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.remote.draining()
    }
}
