//! The frames of a client that only listens, until its answer takes them: as many bytes as may wait for anybody, and no more.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nself_plugin_api::wake::Wake;

use crate::{
    outlet::{Frame, Outlet},
    protocol::{Disconnect, End},
};

#[derive(Default)]
struct Frames {
    all: VecDeque<Frame>,
    bytes: usize,
    closing: Option<End>,
    is_cut: bool,
}

/// What waits for the client.
pub(super) struct Waiting {
    frames: Mutex<Frames>,
    bytes_max: usize,
    bell: Wake,
}

/// What is to be told next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Frame(Frame),
    /// The end, and why.
    Close(End),
    /// The end, after a client that did not take it in time.
    Cut,
}

impl Waiting {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            frames: Mutex::default(),
            bytes_max,
            bell: Wake::default(),
        }
    }

    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next frame, or the end. For the one answer that tells them.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.bell.wait().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut frames = self.frames();
        if frames.is_cut {
            return Some(Next::Cut);
        }
        let Some(frame) = frames.all.pop_front() else {
            return frames.closing.clone().map(Next::Close);
        };
        frames.bytes -= frame.len();
        Some(Next::Frame(frame))
    }
}

impl Outlet for Waiting {
    fn send(&self, frame: &Frame) {
        let mut frames = self.frames();
        if frames.closing.is_some() {
            return;
        }
        frames.bytes += frame.len();
        if frames.bytes > self.bytes_max {
            // Its next request begins where the last event that it took was.
            frames.all = VecDeque::new();
            frames.bytes = 0;
            frames.closing = Some(Disconnect::SLOW.into());
        } else {
            frames.all.push_back(Arc::clone(frame));
        }
        drop(frames);
        self.bell.wake();
    }

    fn end(&self, why: End) {
        self.frames().closing.get_or_insert(why);
        self.bell.wake();
    }

    fn is_closing(&self) -> bool {
        self.frames().closing.is_some()
    }

    fn cut(&self) {
        let mut frames = self.frames();
        frames.is_cut = frames.closing.is_some();
        drop(frames);
        self.bell.wake();
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::futures_util::FutureExt;

    use super::*;

    fn next(waiting: &Waiting) -> Option<Next> {
        waiting.next().now_or_never()
    }

    #[test]
    fn frames_come_one_by_one_and_the_end_after_them() {
        let waiting = Waiting::new(100);
        assert_eq!(next(&waiting), None);
        waiting.send(&"{}".into());
        waiting.send(&"1".into());
        waiting.close(Disconnect::EXPIRED);
        waiting.close(Disconnect::STALE);
        waiting.send(&"too late".into());
        assert_eq!(next(&waiting), Some(Next::Frame("{}".into())));
        assert_eq!(next(&waiting), Some(Next::Frame("1".into())));
        assert_eq!(
            next(&waiting),
            Some(Next::Close(Disconnect::EXPIRED.into()))
        );
        waiting.cut();
        assert_eq!(next(&waiting), Some(Next::Cut));
    }

    #[test]
    fn who_does_not_keep_up_is_cut_off_and_costs_nothing_more() {
        let waiting = Waiting::new(10);
        waiting.send(&"12345".into());
        assert_eq!(next(&waiting), Some(Next::Frame("12345".into())));
        waiting.send(&"1234567".into());
        assert!(!waiting.is_closing());
        waiting.send(&"1234567".into());
        assert!(waiting.frames().all.is_empty());
        assert_eq!(next(&waiting), Some(Next::Close(Disconnect::SLOW.into())));
    }

    #[test]
    fn only_what_was_closed_is_given_up() {
        let waiting = Waiting::new(10);
        waiting.cut();
        assert_eq!(next(&waiting), None);
    }
}
