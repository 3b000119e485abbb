//! Who keeps a generation alive, counted, and whether it lets more in: both in one word, so that nobody comes in between a look at
//! the one and a look at the other.
//!
//! `tests/models` compiles this file with loom's atomics, and tries every order in which threads can meet here.

use super::sync::{
    AtomicUsize, Notify,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// The bit by which the word says that nobody is let in any more; the others count.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// The count, and the way in.
#[derive(Debug)]
pub(super) struct Admission {
    word: AtomicUsize,
    empty: Notify,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self {
            word: AtomicUsize::new(0),
            empty: Notify::new(),
        }
    }

    /// Comes in, and is counted until [`Self::leave`]; false when it is closed.
    pub(super) fn enter(&self) -> bool {
        let is_open = self.word.fetch_add(1, AcqRel) & CLOSED == 0;
        if !is_open {
            self.leave();
        }
        is_open
    }

    /// Is counted beside somebody who is in, also when it is closed.
    pub(super) fn accompany(&self) {
        self.word.fetch_add(1, Relaxed);
    }

    /// Is counted no more. What whoever leaves has done is seen by whoever waits.
    pub(super) fn leave(&self) {
        if self.word.fetch_sub(1, AcqRel) & !CLOSED == 1 {
            self.empty.notify_waiters();
        }
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.word.fetch_or(CLOSED, AcqRel);
    }

    /// Whether [`Self::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.word.load(Acquire) & CLOSED != 0
    }

    /// How many are in.
    pub(super) fn count(&self) -> usize {
        self.word.load(Acquire) & !CLOSED
    }

    /// Waits until nobody is in; when it is closed, nobody will be.
    pub(super) async fn emptied(&self) {
        loop {
            // Before looking: the last one may leave in between, and wakes only who waits by then.
            let empty = self.empty.notified();
            if self.count() == 0 {
                return;
            }
            empty.await;
        }
    }
}
