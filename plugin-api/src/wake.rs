//! A bell for loops that work beside the requests: rung from anywhere, heard by one, and kept when nobody listens yet.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// The bell. Any number of rings since its listener last heard it are one.
///
/// ```
/// use nself_plugin_api::{futures_util::FutureExt, wake::Wake};
///
/// let bell = Wake::default();
/// bell.wake();
/// bell.wake();
/// assert!(bell.wait().now_or_never().is_some());
/// assert!(bell.wait().now_or_never().is_none());
/// ```
#[derive(Debug, Default)]
pub struct Wake {
    is_rung: AtomicBool,
    listener: AtomicWaker,
}

impl Wake {
    /// Rings it.
    pub fn wake(&self) {
        self.is_rung.store(true, Ordering::SeqCst);
        self.listener.wake();
    }

    /// Ready once for any number of rings since the last time. Of several that poll it, only the last one is woken.
    pub fn poll(&self, task: &mut Context<'_>) -> Poll<()> {
        self.listener.register(task.waker());
        // Looked at after registering: a ring in between wakes the task again.
        if self.is_rung.swap(false, Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits for a ring.
    pub async fn wait(&self) {
        poll_fn(|task| self.poll(task)).await;
    }
}
