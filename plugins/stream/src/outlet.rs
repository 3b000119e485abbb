//! The seam between the logic of channels and whatever moves bytes: a session sends frames and closes, and never waits for it.
//!
//! Today a [`Queue`] stands behind it, which a task of the connection empties into the plugin's WebSocket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nself_plugin_api::wake::Wake;

use crate::protocol::Disconnect;

/// A text that is sent as it is, shared by all connections that it goes to.
pub(crate) type Frame = Arc<str>;

/// Where the frames of a session go.
pub(crate) trait Outlet: Send + Sync {
    /// Sends, in the order of the calls. A client that does not keep up is cut off instead of waited for.
    fn send(&self, frame: &Frame);

    /// Ends the connection after what was sent before. The first reason counts.
    fn close(&self, why: Disconnect);

    /// Whether it has been ended, if only because the client did not keep up.
    fn is_closing(&self) -> bool;

    /// Gives up a connection that was closed some time ago and does not take its end.
    fn cut(&self);
}

/// What waits for the client.
#[derive(Default)]
struct Waiting {
    frames: Vec<Frame>,
    bytes: usize,
    closing: Option<Disconnect>,
    is_cut: bool,
}

/// Frames for one client, of a bounded size.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    bytes_max: usize,
    bell: Wake,
    end: Wake,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// Frames, one a line.
    Frames(String),
    /// The end.
    Close(Disconnect),
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            bytes_max,
            bell: Wake::default(),
            end: Wake::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that waits, or the end. For the one task that writes.
    pub(crate) async fn next(&self) -> Outgoing {
        loop {
            if let Some(outgoing) = self.take() {
                return outgoing;
            }
            self.bell.wait().await;
        }
    }

    fn take(&self) -> Option<Outgoing> {
        let mut waiting = self.waiting();
        if waiting.frames.is_empty() {
            return waiting.closing.map(Outgoing::Close);
        }
        let mut text = String::with_capacity(waiting.bytes + waiting.frames.len());
        for frame in waiting.frames.drain(..) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&frame);
        }
        waiting.bytes = 0;
        Some(Outgoing::Frames(text))
    }

    /// Ready when the connection has been given up.
    pub(crate) async fn given_up(&self) {
        while !self.waiting().is_cut {
            self.end.wait().await;
        }
    }
}

impl Outlet for Queue {
    fn send(&self, frame: &Frame) {
        let mut waiting = self.waiting();
        if waiting.closing.is_some() {
            return;
        }
        waiting.bytes += frame.len();
        if waiting.bytes > self.bytes_max {
            // It recovers when it is back, or is told that it cannot: nothing of this would be missed.
            waiting.frames = Vec::new();
            waiting.bytes = 0;
            waiting.closing = Some(Disconnect::SLOW);
        } else {
            waiting.frames.push(Arc::clone(frame));
        }
        drop(waiting);
        self.bell.wake();
    }

    fn close(&self, why: Disconnect) {
        self.waiting().closing.get_or_insert(why);
        self.bell.wake();
    }

    fn is_closing(&self) -> bool {
        self.waiting().closing.is_some()
    }

    fn cut(&self) {
        let mut waiting = self.waiting();
        waiting.is_cut = waiting.closing.is_some();
        drop(waiting);
        self.end.wake();
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::futures_util::FutureExt;

    use super::*;

    fn next(queue: &Queue) -> Option<Outgoing> {
        queue.next().now_or_never()
    }

    #[test]
    fn what_waits_goes_out_together_and_before_the_end() {
        let queue = Queue::new(100);
        assert_eq!(next(&queue), None);
        queue.send(&"{}".into());
        queue.send(&"{\"id\":1}".into());
        queue.close(Disconnect::EXPIRED);
        queue.close(Disconnect::STALE);
        queue.send(&"too late".into());
        let frames = Outgoing::Frames("{}\n{\"id\":1}".to_owned());
        assert_eq!(next(&queue), Some(frames));
        assert_eq!(next(&queue), Some(Outgoing::Close(Disconnect::EXPIRED)));
    }

    #[test]
    fn who_does_not_keep_up_is_cut_off_and_costs_nothing_more() {
        let queue = Queue::new(10);
        queue.send(&"1234567".into());
        queue.send(&"1234567".into());
        assert!(queue.waiting().frames.is_empty());
        assert_eq!(next(&queue), Some(Outgoing::Close(Disconnect::SLOW)));
    }

    #[test]
    fn only_what_was_closed_is_given_up() {
        let queue = Queue::new(10);
        queue.cut();
        assert!(queue.given_up().now_or_never().is_none());
        queue.close(Disconnect::SLOW);
        queue.cut();
        assert!(queue.given_up().now_or_never().is_some());
    }
}
