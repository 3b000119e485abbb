//! In whose name a plugin works at this moment.
//!
//! A plugin's future is polled by the host, and what it asks of a capability is asked within such a poll. So the caller stands
//! beside the poll, where the plugin neither sees nor changes it; work that no request waits for has none.

use std::{future::Future, sync::Arc};

use tokio::task::futures::TaskLocalFuture;

use crate::identity::Principal;

tokio::task_local! {
    static CALLER: Caller;
}

/// Who it is, and whether he waits for it.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    principal: Option<Arc<Principal>>,
    is_request: bool,
}

impl Caller {
    /// Of a request that is being answered.
    pub fn of_request(principal: Option<Arc<Principal>>) -> Self {
        Self {
            principal,
            is_request: true,
        }
    }

    /// Of what is done now; nobody outside of requests.
    pub(crate) fn of_now() -> Self {
        CALLER.try_with(Clone::clone).unwrap_or_default()
    }
}

/// Of what goes on after the answer has begun: an event stream, a socket.
impl From<Option<Arc<Principal>>> for Caller {
    fn from(principal: Option<Arc<Principal>>) -> Self {
        Self {
            principal,
            is_request: false,
        }
    }
}

/// Polls `future` in the name of `caller`.
pub fn scope<F: Future>(caller: impl Into<Caller>, future: F) -> TaskLocalFuture<Caller, F> {
    CALLER.scope(caller.into(), future)
}

/// Runs `poll` in the name of `caller`: for streams, which are not futures.
pub fn sync_scope<R>(caller: impl Into<Caller>, poll: impl FnOnce() -> R) -> R {
    CALLER.sync_scope(caller.into(), poll)
}

/// In whose name this is asked; nobody's outside of requests.
pub fn current() -> Option<Arc<Principal>> {
    CALLER
        .try_with(|caller| caller.principal.clone())
        .ok()
        .flatten()
}

/// Whether a request waits for this, which can be told to come again.
pub(crate) fn is_awaited() -> bool {
    CALLER
        .try_with(|caller| caller.is_request)
        .unwrap_or_default()
}
