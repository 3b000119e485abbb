//! What a call into the plugin's process is made for. What the plugin asks of the host while it works on that call is asked in the
//! same name, and its log lines stand in the same span.

use std::{
    cell::Cell,
    pin::Pin,
    task::{self, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use tracing::{Instrument, Span};

use crate::{
    capability::caller::{self, Caller},
    telemetry::trace::{self, Trace},
};

thread_local! {
    /// The other side's call that this thread works on; 0 is none.
    static CALL: Cell<u64> = const { Cell::new(0) };
}

/// The other side's call that this thread works on.
pub(super) fn call() -> u64 {
    CALL.get()
}

/// Works on the other side's call of that number.
pub(super) fn on_call<R>(number: u64, work: impl FnOnce() -> R) -> R {
    let _before = Before(CALL.replace(number));
    work()
}

/// Puts the number back, also when the work panics.
struct Before(u64);

impl Drop for Before {
    fn drop(&mut self) {
        CALL.set(self.0);
    }
}

/// What a call is made for.
#[derive(Clone, Default)]
pub(super) struct Context {
    span: Option<Span>,
    caller: Caller,
    trace: Option<Trace>,
}

impl Context {
    /// Of what is done now.
    pub(super) fn current() -> Self {
        Self {
            span: Some(Span::current()),
            caller: Caller::of_now(),
            trace: trace::current(),
        }
    }

    /// Does something for it.
    pub(super) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.span.as_ref().map(Span::enter);
        let named = || caller::sync_scope(self.caller.clone(), work);
        match &self.trace {
            Some(trace) => trace.clone().sync_scope(named),
            None => named(),
        }
    }

    /// Drives `future` for it.
    pub(super) fn scope<T: 'static>(self, future: BoxFuture<'static, T>) -> BoxFuture<'static, T> {
        let span = self.span.unwrap_or_else(Span::none);
        let named = caller::scope(self.caller, future);
        match self.trace {
            Some(trace) => trace.scope(named).instrument(span).boxed(),
            None => named.instrument(span).boxed(),
        }
    }
}

/// A future that works on the other side's call of a number.
pub(super) struct OnCall<T> {
    pub(super) number: u64,
    pub(super) future: BoxFuture<'static, T>,
}

impl<T> Future for OnCall<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        on_call(self.number, || self.future.poll_unpin(cx))
    }
}
