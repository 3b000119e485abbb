//! What a claimer knows of one queue: where it is in it, and when it looks again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::place::Place;
use crate::store::claim::Status;

/// Looks after a queue was found empty: what was committed while this host fell asleep woke nobody.
const PROBES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];

/// Pause when another host claims at this moment.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// Why a queue is looked at, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// There may be something.
    Chance,
    /// Somebody says that there is something.
    Told,
    /// It may lie below the marks: this look does without them.
    Hidden,
}

/// How long a claim passes over jobs that somebody is changing, after it has waited for one.
const CAREFUL: Duration = Duration::from_secs(10);

/// One queue.
pub(super) struct Queue {
    pub name: Arc<str>,
    pub place: Place,
    careful_until: Option<Instant>,
    look_at: Option<Instant>,
    due_at: Option<Instant>,
    /// Empty looks in a row.
    empty: usize,
    reason: Reason,
    /// There may be a suspect in it.
    pub has_suspects: bool,
    /// It has all that it may have: somebody else's end makes room.
    pub is_limited: bool,
}

impl Queue {
    pub(super) fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            place: Place::new(now),
            careful_until: None,
            look_at: Some(now),
            due_at: None,
            empty: 0,
            reason: Reason::Chance,
            has_suspects: false,
            is_limited: false,
        }
    }

    /// There may be something: look now.
    pub(super) fn wake(&mut self, now: Instant) {
        self.look_at = Some(now);
    }

    /// There is something: look now, and when it is not seen, below the marks as well. It may have been enqueued long before
    /// it was committed.
    pub(super) fn tell(&mut self, now: Instant) {
        self.reason = self.reason.max(Reason::Told);
        self.wake(now);
    }

    /// A job that the claim wanted is being changed by somebody: such jobs are passed over for a while.
    pub(super) fn go_around(&mut self, now: Instant) {
        self.careful_until = Some(now + CAREFUL);
        self.tell(now);
    }

    /// When to look.
    pub(super) fn next(&self) -> Option<Instant> {
        match (self.look_at, self.due_at) {
            (Some(look), Some(due)) => Some(look.min(due)),
            (look, due) => look.or(due),
        }
    }

    /// Whether this host is marked as asleep for it.
    pub(super) fn is_asleep(&self) -> bool {
        self.empty > 0
    }

    /// Before a claim.
    pub(super) fn begin(&mut self, now: Instant) {
        self.look_at = None;
        if self.due_at.is_some_and(|due| due <= now) {
            self.due_at = None;
        }
        // The last look before the queue sleeps is whole as well: nobody tells of what was committed before it fell asleep.
        let is_whole = self.reason == Reason::Hidden || self.empty == PROBES.len() + 1;
        self.place.begin(now, is_whole);
        if self.place.is_whole() {
            self.reason = Reason::Hidden;
        }
        self.place.is_careful = self.careful_until.is_some_and(|until| now < until);
    }

    /// After a claim that took `taken` jobs; `due_in` says when there may be more.
    pub(super) fn end(
        &mut self,
        now: Instant,
        status: Status,
        taken: usize,
        due_in: Option<Duration>,
    ) {
        self.due_at = due_in.map(|due_in| now + due_in);
        let reason = std::mem::replace(&mut self.reason, Reason::Chance);
        self.is_limited = status == Status::Limited;
        match status {
            Status::Busy => {
                self.look_at = Some(now + BUSY_PAUSE);
                self.reason = reason;
            }
            Status::Paused => {}
            // It is marked as one that waits at the limit, not as one that found nothing.
            Status::Limited => self.empty = 0,
            Status::Taken if taken > 0 => {
                self.empty = 0;
                self.look_at = Some(now);
            }
            Status::Taken if reason == Reason::Told => {
                self.reason = Reason::Hidden;
                self.look_at = Some(now);
            }
            Status::Taken => {
                self.look_at = probe(self.empty).map(|pause| now + pause);
                self.empty += 1;
            }
        }
    }
}

/// How long to wait after that many empty looks in a row: the first look after the mark comes at once, then at growing
/// distances, then only when somebody says so.
pub(crate) fn probe(empty: usize) -> Option<Duration> {
    match empty.checked_sub(1) {
        None => Some(Duration::ZERO),
        Some(at) => PROBES.get(at).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Looked;

    /// What a look has found out that found nothing.
    fn nothing() -> Looked {
        Looked {
            low: vec![0; 10],
            seen: Some(1),
            is_late: false,
            is_full: false,
        }
    }

    #[test]
    fn an_empty_queue_is_looked_at_at_once_then_less_and_less_and_then_only_when_it_is_told() {
        let now = Instant::now();
        let mut queue = Queue::new(Arc::from("default"), now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            queue.begin(now);
            queue.end(now, Status::Taken, 0, None);
            pauses.push(queue.next().map(|at| at.duration_since(now).as_millis()));
        }
        assert_eq!(
            pauses,
            [Some(0), Some(5), Some(20), Some(80), Some(320), None]
        );
        queue.wake(now);
        assert_eq!(queue.next(), Some(now));
    }

    #[test]
    fn a_queue_that_was_told_of_a_job_is_looked_at_below_its_marks_before_it_sleeps_again() {
        let now = Instant::now();
        let mut queue = Queue::new(Arc::from("default"), now);
        for _ in 0..3 {
            queue.begin(now);
            queue.end(now, Status::Taken, 0, None);
        }
        queue.place.end(now, nothing());
        queue.tell(now);
        let mut looks = Vec::new();
        for _ in 0..2 {
            queue.begin(now);
            looks.push(queue.place.is_whole());
            queue.place.end(now, nothing());
            queue.end(now, Status::Taken, 0, None);
        }
        assert_eq!(looks, [false, true]);
        assert_ne!(queue.next(), Some(now), "one whole look is enough");
    }

    #[test]
    fn a_queue_with_a_job_that_is_due_is_looked_at_then() {
        let now = Instant::now();
        let mut queue = Queue::new(Arc::from("default"), now);
        for _ in 0..6 {
            queue.begin(now);
            queue.end(now, Status::Taken, 0, Some(Duration::from_secs(7)));
        }
        assert_eq!(queue.next(), Some(now + Duration::from_secs(7)));
    }
}
