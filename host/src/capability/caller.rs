//! In whose name a plugin works at this moment.
//!
//! A plugin's future is polled by the host, and what it asks of a capability is asked within such a poll. So the caller stands
//! beside the poll, where the plugin neither sees nor changes it; work that no request waits for has none.

use std::{future::Future, sync::Arc};

use tokio::task::futures::TaskLocalFuture;

use crate::identity::Principal;

tokio::task_local! {
    static CALLER: Option<Arc<Principal>>;
}

/// Polls `future` in the name of `caller`.
pub fn scope<F: Future>(
    caller: Option<Arc<Principal>>,
    future: F,
) -> TaskLocalFuture<Option<Arc<Principal>>, F> {
    CALLER.scope(caller, future)
}

/// Runs `poll` in the name of `caller`: for streams, which are not futures.
pub fn sync_scope<R>(caller: Option<Arc<Principal>>, poll: impl FnOnce() -> R) -> R {
    CALLER.sync_scope(caller, poll)
}

/// In whose name this is asked; nobody's outside of requests.
pub fn current() -> Option<Arc<Principal>> {
    CALLER.try_with(Clone::clone).ok().flatten()
}
