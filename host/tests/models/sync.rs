//! What the host's code is made of in a model. Loom has no [`Notify`] of tokio's; this is what tokio promises of it.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use loom::sync::Mutex;

pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};

/// Wakes whoever waits, and nobody who comes later.
#[derive(Debug)]
pub(super) struct Notify(Mutex<State>);

#[derive(Debug)]
struct State {
    calls: usize,
    waiting: Vec<Waker>,
}

impl Notify {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            calls: 0,
            waiting: Vec::new(),
        }))
    }

    pub(super) fn notify_waiters(&self) {
        let mut state = self.0.lock().expect("nobody panics");
        state.calls += 1;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits from here on, also before it is polled.
    pub(super) fn notified(&self) -> Notified<'_> {
        let calls = self.0.lock().expect("nobody panics").calls;
        Notified {
            notify: self,
            calls,
        }
    }
}

pub(super) struct Notified<'a> {
    notify: &'a Notify,
    calls: usize,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.notify.0.lock().expect("nobody panics");
        if state.calls != self.calls {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}
