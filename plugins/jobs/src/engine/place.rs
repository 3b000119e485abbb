//! Where a claimer is in a queue: marks below which it does not look. What was deleted there may still be in the way, for as
//! long as an old transaction keeps it.
//!
//! Ids are drawn before their transactions commit, so there are two sets of marks. The near ones stand where the last claim ended,
//! and most looks of a busy queue begin there. The others lag behind the newest ids for longer than a commit takes: a look from
//! them, every now and then and whenever the queue seems to have an end, finds what was committed in another order. A job that
//! appears below those all the same is found by the next look without marks, and then they stay further behind.

use std::time::{Duration, Instant};

use nself_plugin_api::uuid::Uuid;

/// Priorities that there are.
const PRIORITIES: usize = 10;

/// How long ago an id was drawn at least that a mark may stand on.
const LAG: Duration = Duration::from_millis(50);
const LAG_MAX: Duration = Duration::from_secs(2);

/// How often a busy queue is looked at from the marks that lag behind, at least.
const LAGGING_LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often a queue is looked at without marks, at most and at least.
const WHOLE_LOOK_EVERY: Duration = Duration::from_millis(250);
const WHOLE_LOOK_EVERY_MAX: Duration = Duration::from_secs(2);
/// Such a look may pass many dead rows: it is made again when it was this small a part of the time.
const WHOLE_LOOK_PART: u32 = 20;

/// Where a look begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The marks do not count.
    Whole,
    /// At the marks that lag behind.
    Lagging,
    /// At the near ones.
    Near,
}

/// What a claimer knows of a queue, and hands in again at its next claim.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// For each priority the id below which nothing is left, but what was drawn a moment ago.
    lagging: Vec<i64>,
    /// For each priority the id at which the last look ended.
    near: Vec<i64>,
    /// The marks that lag behind rise to this id at most.
    horizon: i64,
    look: Look,
    /// The family that was served last.
    pub turn: Option<Uuid>,
    /// Jobs that somebody is changing are passed over.
    pub is_careful: bool,
    lag: Duration,
    /// When the look under way began.
    begun: Instant,
    /// When an id was the newest that will be the horizon.
    newer: Option<(Instant, i64)>,
    whole_at: Instant,
    lagging_at: Instant,
    /// The last look took all that it was to take: there is more.
    is_full: bool,
}

/// What a look has found out.
#[derive(Debug)]
pub(crate) struct Looked {
    /// For each priority the id at which it ended.
    pub low: Vec<i64>,
    /// The newest id while it went on. Without one there was no look: somebody else looked, or nothing may begin.
    pub seen: Option<i64>,
    /// It found jobs below the marks.
    pub is_late: bool,
    /// It took all that it was to take.
    pub is_full: bool,
}

impl Place {
    /// At the beginning of a queue.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            lagging: vec![0; PRIORITIES],
            near: vec![0; PRIORITIES],
            horizon: 0,
            look: Look::Whole,
            turn: None,
            is_careful: false,
            lag: LAG,
            begun: now,
            newer: None,
            whole_at: now,
            lagging_at: now,
            is_full: false,
        }
    }

    /// What the next look begins with.
    pub(crate) fn marks(&self) -> &[i64] {
        match self.look {
            Look::Near => &self.near,
            Look::Whole | Look::Lagging => &self.lagging,
        }
    }

    /// Whether the marks do not count for the next look.
    pub(crate) fn is_whole(&self) -> bool {
        self.look == Look::Whole
    }

    /// Before a look; `is_whole` when it has to be one without marks, which it may be anyway.
    pub(crate) fn begin(&mut self, now: Instant, is_whole: bool) {
        self.look = if is_whole || now >= self.whole_at {
            Look::Whole
        } else if self.is_full && now < self.lagging_at {
            Look::Near
        } else {
            Look::Lagging
        };
        self.begun = now;
        if let Some((since, id)) = self.newer
            && now.duration_since(since) >= self.lag
        {
            self.horizon = id;
            self.newer = None;
        }
    }

    /// After a look.
    pub(crate) fn end(&mut self, now: Instant, looked: Looked) {
        let Some(id) = looked.seen else {
            return;
        };
        self.newer.get_or_insert((now, id));
        self.is_full = looked.is_full;
        for (lagging, low) in self.lagging.iter_mut().zip(&looked.low) {
            // What has become due below a mark lowers it; a near look says nothing of what is between the two.
            let most = match self.look {
                Look::Near => *lagging,
                Look::Whole | Look::Lagging => self.horizon.max(*lagging),
            };
            *lagging = most.min(*low);
        }
        self.near = looked.low;
        if self.look != Look::Near {
            self.lagging_at = now + LAGGING_LOOK_EVERY;
        }
        if !self.is_whole() {
            return;
        }
        let every = now.duration_since(self.begun) * WHOLE_LOOK_PART;
        self.whole_at = now + every.clamp(WHOLE_LOOK_EVERY, WHOLE_LOOK_EVERY_MAX);
        self.lag = if looked.is_late {
            (self.lag * 2).min(LAG_MAX)
        } else {
            (self.lag * 15 / 16).max(LAG)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a look that found the first priority empty up to `low`.
    fn end(place: &mut Place, now: Instant, low: i64, seen: i64) {
        place.end(now, looked(low, seen));
    }

    fn looked(low: i64, seen: i64) -> Looked {
        let mut lows = vec![0; PRIORITIES];
        lows[0] = low;
        Looked {
            low: lows,
            seen: Some(seen),
            is_late: false,
            is_full: true,
        }
    }

    #[test]
    fn the_horizon_is_an_id_that_was_the_newest_a_while_ago() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        end(&mut place, now, 0, 100);
        place.begin(now + LAG / 2, false);
        end(&mut place, now + LAG / 2, 0, 200);
        assert_eq!(place.horizon, 0);
        place.begin(now + LAG, false);
        assert_eq!(place.horizon, 100);
    }

    #[test]
    fn a_job_that_was_late_keeps_the_marks_further_behind() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        let is_late = true;
        place.end(
            now,
            Looked {
                is_late,
                ..looked(0, 100)
            },
        );
        place.begin(now + LAG, false);
        assert_eq!(place.horizon, 0);
        place.begin(now + LAG * 2, false);
        assert_eq!(place.horizon, 100);
    }

    #[test]
    fn a_look_without_marks_comes_once_in_a_while_and_less_often_when_it_takes_long() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        assert!(place.is_whole());
        end(&mut place, now, 0, 1);
        place.begin(now + WHOLE_LOOK_EVERY / 2, false);
        assert!(!place.is_whole());
        end(&mut place, now + WHOLE_LOOK_EVERY / 2, 0, 1);
        let again = now + WHOLE_LOOK_EVERY;
        place.begin(again, false);
        assert!(place.is_whole());
        let ended = again + Duration::from_millis(50);
        end(&mut place, ended, 0, 1);
        place.begin(ended + WHOLE_LOOK_EVERY, false);
        assert!(!place.is_whole());
        place.begin(ended + Duration::from_secs(1), false);
        assert!(place.is_whole());
    }

    /// The first mark of the next look.
    fn next_mark(place: &mut Place, now: Instant) -> i64 {
        place.begin(now, false);
        place.marks()[0]
    }

    #[test]
    fn a_busy_queue_is_looked_at_from_where_the_last_look_ended_and_now_and_then_from_further_back()
    {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        end(&mut place, now, 100, 500);
        let soon = now + LAGGING_LOOK_EVERY / 2;
        assert_eq!(next_mark(&mut place, soon), 100);
        end(&mut place, soon, 200, 500);
        // The newest id of the first look is old enough now: up to there nothing appears any more.
        let later = now + LAGGING_LOOK_EVERY;
        assert_eq!(next_mark(&mut place, later), 0);
        end(&mut place, later, 300, 900);
        assert_eq!(next_mark(&mut place, later + Duration::from_millis(1)), 300);
        end(&mut place, later + Duration::from_millis(1), 700, 900);
        assert_eq!(next_mark(&mut place, later + LAGGING_LOOK_EVERY), 300);
        end(&mut place, later + LAGGING_LOOK_EVERY, 800, 900);
        assert_eq!(next_mark(&mut place, later + LAGGING_LOOK_EVERY * 2), 800);
    }

    #[test]
    fn a_queue_that_seems_to_end_is_looked_at_from_further_back_at_once() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        end(&mut place, now, 100, 100);
        assert_eq!(next_mark(&mut place, now), 100);
        let is_full = false;
        place.end(
            now,
            Looked {
                is_full,
                ..looked(150, 200)
            },
        );
        assert_eq!(next_mark(&mut place, now), 0);
    }

    #[test]
    fn what_becomes_due_below_the_marks_lowers_all_of_them() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        end(&mut place, now, 100, 100);
        place.begin(now + LAG, false);
        end(&mut place, now + LAG, 100, 100);
        // It took a part of what was due.
        place.begin(now + LAG, false);
        end(&mut place, now + LAG, 7, 100);
        assert_eq!(next_mark(&mut place, now + LAG), 7);
        assert_eq!(next_mark(&mut place, now + LAG * 3), 7);
    }

    #[test]
    fn a_look_that_could_not_be_made_changes_nothing() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        end(&mut place, now, 100, 100);
        let before = next_mark(&mut place, now);
        let seen = None;
        place.end(
            now,
            Looked {
                seen,
                ..looked(0, 0)
            },
        );
        assert_eq!(next_mark(&mut place, now), before);
    }
}
