//! What becomes of fires whose time passed while no host was there to see it.
//!
//! A fire that is a little late is not missed: hosts look every so often, and are restarted. How late that may be is the grace, and
//! whatever is within it is fired, always. Fires that are later are missed, and [`Missed`] decides about them; the catch-up window
//! bounds how old they may be. What is not fired is skipped for good: the next fire is always one after now.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::timing::Timing;

/// What is done about missed fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One fire stands for all: the last of them, unless there is a newer one that is not missed.
    Last,
    /// All are fired, oldest first; of more than `cap` the last `cap`.
    All {
        /// The most that are fired.
        cap: usize,
    },
}

/// A schedule's rule for missed fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// What is done about them.
    pub missed: Missed,
    /// How late a fire may be that is not missed.
    pub grace: Duration,
    /// How old a fire may be that is made up for.
    pub window: Duration,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The times to fire for, oldest first.
    pub fire: Vec<Timestamp>,
    /// Whether any time passed for which nothing is fired.
    pub skipped: bool,
    /// The next time. None: the schedule has ended.
    pub next: Option<Timestamp>,
}

/// The most times that one look fires for, whatever a schedule asks.
const FIRES_MAX: usize = 10_000;

/// What to do at `now` about a schedule whose next fire was to be at `pending`.
pub fn due(timing: &Timing, pending: Timestamp, now: Timestamp, rule: CatchUp) -> Due {
    if pending > now {
        return Due {
            fire: Vec::new(),
            skipped: false,
            next: Some(pending),
        };
    }
    let fires = Fires { timing, pending };
    let recent = before(now, rule.grace);
    let on_time = fires.last(recent, now, FIRES_MAX);
    let cap = match rule.missed {
        Missed::Skip => 0,
        Missed::Last => usize::from(on_time.is_empty()),
        Missed::All { cap } => cap.min(FIRES_MAX - on_time.len()),
    };
    let missed_until = recent - SignedDuration::from_nanos(1);
    let mut fire = fires.last(before(now, rule.window), missed_until, cap);
    fire.extend(on_time);
    Due {
        skipped: fire.front() != Some(&pending),
        fire: fire.into(),
        next: timing.next_after(now),
    }
}

/// The fires of a schedule from its pending one on.
struct Fires<'a> {
    timing: &'a Timing,
    /// This is one, even if the zone's rules have changed since it was computed.
    pending: Timestamp,
}

impl Fires<'_> {
    /// The last `cap` from `oldest` to `newest`. What is searched doubles from the end, so that a schedule of every second that
    /// slept for a year costs what its last few fires cost.
    fn last(&self, oldest: Timestamp, newest: Timestamp, cap: usize) -> VecDeque<Timestamp> {
        let oldest = oldest.max(self.pending);
        let mut found = VecDeque::new();
        if cap == 0 || oldest > newest {
            return found;
        }
        let mut stretch = Duration::from_secs(64);
        loop {
            let from = before(newest, stretch).max(oldest);
            found.clear();
            for time in self.from(from).take_while(|time| *time <= newest) {
                if found.len() == cap {
                    found.pop_front();
                }
                found.push_back(time);
            }
            if found.len() == cap || from == oldest {
                return found;
            }
            stretch = stretch.saturating_mul(2);
        }
    }

    /// All from an instant on, which is not before the pending one.
    fn from(&self, from: Timestamp) -> impl Iterator<Item = Timestamp> {
        let is_pending = from <= self.pending;
        let first = is_pending.then_some(self.pending);
        let after = if is_pending {
            self.pending
        } else {
            from - SignedDuration::from_nanos(1)
        };
        first.into_iter().chain(self.timing.after(after))
    }
}

fn before(instant: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| instant.checked_sub(by).ok())
        .unwrap_or(Timestamp::MIN)
}
