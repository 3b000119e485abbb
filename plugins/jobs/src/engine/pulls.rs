//! Queues from which workers fetch over this host: where each is, and the one worker that looks for all that wait.
//!
//! Workers that wait for a queue stand in line. The first of them sleeps as the claimer does: it looks a few times at growing
//! distances, marks this host as asleep for the queue, and is woken when a job is committed. Then it goes, and the next is
//! first. So the database is asked by one, however many wait.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI16, Ordering},
    },
    time::Instant,
};

use nself_plugin_api::{futures_util::lock::Mutex as Line, wake::Wake};

use super::place::Place;

/// The queues, by their names.
#[derive(Default)]
pub(crate) struct Pulls {
    queues: Mutex<HashMap<Arc<str>, Arc<PullQueue>>>,
}

/// One of them.
pub(crate) struct PullQueue {
    /// Its number, once it is known; numbers begin at 1.
    id: AtomicI16,
    /// Looks come one after another.
    pub place: Line<Place>,
    /// The first of those that wait holds it.
    pub head: Line<()>,
    /// Wakes the first.
    pub bell: Wake,
    is_asleep: AtomicBool,
    /// The end of a job may be what it waits for.
    has_limits: AtomicBool,
}

impl PullQueue {
    fn new() -> Self {
        Self {
            id: AtomicI16::default(),
            place: Line::new(Place::new(Instant::now())),
            head: Line::default(),
            bell: Wake::default(),
            is_asleep: AtomicBool::default(),
            has_limits: AtomicBool::default(),
        }
    }

    /// What a look has found out about it.
    pub(crate) fn learn(&self, id: i16, has_limits: bool) {
        self.id.store(id, Ordering::Relaxed);
        self.has_limits.store(has_limits, Ordering::Relaxed);
    }

    /// Marks it as one that is slept on, until the answer is dropped.
    pub(crate) fn fall_asleep(&self) -> Asleep<'_> {
        self.is_asleep.store(true, Ordering::SeqCst);
        Asleep(self)
    }

    fn has_sleeper(&self) -> bool {
        self.is_asleep.load(Ordering::SeqCst)
    }

    fn is(&self, id: i16) -> bool {
        self.id.load(Ordering::Relaxed) == id
    }
}

/// Somebody sleeps on a queue.
pub(crate) struct Asleep<'a>(&'a PullQueue);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.is_asleep.store(false, Ordering::SeqCst);
    }
}

impl Pulls {
    fn queues(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<PullQueue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue of that name.
    pub(crate) fn queue(&self, name: &str) -> Arc<PullQueue> {
        let mut queues = self.queues();
        if let Some(queue) = queues.get(name) {
            return Arc::clone(queue);
        }
        let queue = Arc::new(PullQueue::new());
        queues.insert(Arc::from(name), Arc::clone(&queue));
        queue
    }

    /// There is no such queue to fetch from.
    pub(crate) fn forget(&self, name: &str) {
        self.queues().remove(name);
    }

    /// Queues on which somebody sleeps here.
    pub(super) fn sleeping(&self) -> Vec<i16> {
        let queues = self.queues();
        let asleep = queues.values().filter(|queue| queue.has_sleeper());
        asleep
            .map(|queue| queue.id.load(Ordering::Relaxed))
            .collect()
    }

    /// There may be something in a queue; whether workers fetch from it over this host.
    pub(super) fn wake(&self, id: i16) -> bool {
        let queues = self.queues();
        let queue = queues.values().find(|queue| queue.is(id));
        if let Some(queue) = queue {
            queue.bell.wake();
        }
        queue.is_some()
    }

    /// Jobs of those queues have ended, which may be what their limits waited for.
    pub(crate) fn freed(&self, ids: &[i16]) {
        for queue in self.queues().values() {
            let is_limited = queue.has_limits.load(Ordering::Relaxed);
            if is_limited && queue.has_sleeper() && ids.iter().any(|id| queue.is(*id)) {
                queue.bell.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_known_by_its_number_once_somebody_has_looked_and_asleep_while_somebody_sleeps() {
        let pulls = Pulls::default();
        let queue = pulls.queue("photos");
        assert!(!pulls.wake(7));
        queue.learn(7, false);
        assert!(pulls.wake(7));
        assert!(pulls.sleeping().is_empty());
        let asleep = queue.fall_asleep();
        assert_eq!(pulls.sleeping(), [7]);
        drop(asleep);
        assert!(pulls.sleeping().is_empty());
        pulls.forget("photos");
        assert!(!pulls.wake(7));
    }
}
