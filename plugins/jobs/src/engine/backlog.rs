//! Claimed jobs that have not begun, and how many run.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use super::lease::{Job, Lease};

/// The backlog. A job leaves it when there is a place for it to run.
pub(crate) struct Backlog {
    state: Mutex<State>,
}

struct State {
    jobs: VecDeque<(Job, Arc<Lease>)>,
    running: usize,
    places: usize,
    is_closed: bool,
    idle: Vec<Waker>,
}

impl State {
    fn has_room(&self) -> bool {
        self.running < self.places && !self.jobs.is_empty()
    }

    /// One runner for each job that may begin.
    fn wakers(&mut self) -> Vec<Waker> {
        let startable = self
            .jobs
            .len()
            .min(self.places.saturating_sub(self.running));
        let amount = if self.is_closed {
            self.idle.len()
        } else {
            startable.min(self.idle.len())
        };
        self.idle.drain(..amount).collect()
    }
}

impl Backlog {
    pub(super) fn new(places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                running: 0,
                places,
                is_closed: false,
                idle: Vec::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.state();
            change(&mut state);
            state.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Adds the jobs of a lease.
    pub(super) fn push(&self, lease: &Arc<Lease>, jobs: Vec<Job>) {
        self.change(|state| {
            state
                .jobs
                .extend(jobs.into_iter().map(|job| (job, Arc::clone(lease))));
        });
    }

    /// The next job, which counts as running until [`ended`](Self::ended); none when the engine ends.
    pub(super) async fn next(&self) -> Option<(Job, Arc<Lease>)> {
        poll_fn(|task| {
            let mut state = self.state();
            if state.is_closed {
                return Poll::Ready(None);
            }
            if state.has_room() {
                state.running += 1;
                return Poll::Ready(state.jobs.pop_front());
            }
            // A runner that is polled again without a wake-up of ours would otherwise stand here twice.
            if !state.idle.iter().any(|waker| waker.will_wake(task.waker())) {
                state.idle.push(task.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// A job has ended: its place is free.
    pub(super) fn ended(&self) {
        self.change(|state| state.running -= 1);
    }

    /// Nothing begins any more; what has not begun.
    pub(super) fn close(&self) -> VecDeque<(Job, Arc<Lease>)> {
        let mut unbegun = VecDeque::new();
        self.change(|state| {
            state.is_closed = true;
            unbegun = std::mem::take(&mut state.jobs);
        });
        unbegun
    }

    /// Forgets what has not begun: it belongs to others now.
    pub(super) fn forget(&self) {
        self.change(|state| state.jobs.clear());
    }

    /// Jobs that wait here.
    pub(crate) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// Jobs that run.
    pub(crate) fn running(&self) -> usize {
        self.state().running
    }
}
