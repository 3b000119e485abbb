//! A bell: rung from anywhere, heard by one, and kept when nobody listens yet.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use nself_plugin_api::futures_util::task::AtomicWaker;

/// The bell.
#[derive(Default)]
pub(super) struct Wake {
    is_rung: AtomicBool,
    listener: AtomicWaker,
}

impl Wake {
    /// Rings it.
    pub(super) fn wake(&self) {
        self.is_rung.store(true, Ordering::SeqCst);
        self.listener.wake();
    }

    /// Ready once for any number of rings since the last time.
    pub(super) fn poll(&self, task: &mut Context<'_>) -> Poll<()> {
        self.listener.register(task.waker());
        // Looked at after registering: a ring in between wakes the task again.
        if self.is_rung.swap(false, Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits for a ring.
    pub(super) async fn wait(&self) {
        poll_fn(|task| self.poll(task)).await;
    }
}
