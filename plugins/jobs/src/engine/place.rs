//! Where a claimer is in a queue: marks below which it does not look. What was deleted there may still be in the way, for as
//! long as an old transaction keeps it.
//!
//! Ids are drawn before their transactions commit, so the marks stay behind the newest ids for longer than a commit takes. A
//! job that appears below them all the same is found by the next look without them, and then the marks stay further behind.

use std::time::{Duration, Instant};

use nself_plugin_api::uuid::Uuid;

/// Priorities that there are.
const PRIORITIES: usize = 10;

/// How long ago an id was drawn at least that a mark may stand on.
const LAG: Duration = Duration::from_millis(50);
const LAG_MAX: Duration = Duration::from_secs(2);

/// How often a queue is looked at without marks, at most and at least.
const WHOLE_LOOK_EVERY: Duration = Duration::from_millis(250);
const WHOLE_LOOK_EVERY_MAX: Duration = Duration::from_secs(2);
/// Such a look may pass many dead rows: it is made again when it was this small a part of the time.
const WHOLE_LOOK_PART: u32 = 20;

/// What a claimer knows of a queue, and hands in again at its next claim.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// For each priority the id below which nothing is left.
    pub low: Vec<i64>,
    /// The marks rise to this id at most.
    pub horizon: i64,
    /// The marks do not count for the next look.
    pub is_whole: bool,
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
}

impl Place {
    /// At the beginning of a queue.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            low: vec![0; PRIORITIES],
            horizon: 0,
            is_whole: true,
            turn: None,
            is_careful: false,
            lag: LAG,
            begun: now,
            newer: None,
            whole_at: now,
        }
    }

    /// Before a look; `is_whole` when it has to be one without marks, which it may be anyway.
    pub(crate) fn begin(&mut self, now: Instant, is_whole: bool) {
        self.is_whole = is_whole || now >= self.whole_at;
        self.begun = now;
        if let Some((since, id)) = self.newer
            && now.duration_since(since) >= self.lag
        {
            self.horizon = id;
            self.newer = None;
        }
    }

    /// After a look. `seen` is the newest id while it went on, `is_late` says that it found jobs below the marks. Without an id
    /// there was none: somebody else looked, or nothing may begin.
    pub(crate) fn end(&mut self, now: Instant, seen: Option<i64>, is_late: bool) {
        let Some(id) = seen else {
            return;
        };
        self.newer.get_or_insert((now, id));
        if !self.is_whole {
            return;
        }
        let every = now.duration_since(self.begun) * WHOLE_LOOK_PART;
        self.whole_at = now + every.clamp(WHOLE_LOOK_EVERY, WHOLE_LOOK_EVERY_MAX);
        self.lag = if is_late {
            (self.lag * 2).min(LAG_MAX)
        } else {
            (self.lag * 15 / 16).max(LAG)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_is_an_id_that_was_the_newest_a_while_ago() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        place.end(now, Some(100), false);
        place.begin(now + LAG / 2, false);
        place.end(now + LAG / 2, Some(200), false);
        assert_eq!(place.horizon, 0);
        place.begin(now + LAG, false);
        assert_eq!(place.horizon, 100);
    }

    #[test]
    fn a_job_that_was_late_keeps_the_marks_further_behind() {
        let now = Instant::now();
        let mut place = Place::new(now);
        place.begin(now, false);
        place.end(now, Some(100), true);
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
        assert!(place.is_whole);
        place.end(now, Some(1), false);
        place.begin(now + WHOLE_LOOK_EVERY / 2, false);
        assert!(!place.is_whole);
        place.end(now + WHOLE_LOOK_EVERY / 2, Some(1), false);
        let again = now + WHOLE_LOOK_EVERY;
        place.begin(again, false);
        assert!(place.is_whole);
        let ended = again + Duration::from_millis(50);
        place.end(ended, Some(1), false);
        place.begin(ended + WHOLE_LOOK_EVERY, false);
        assert!(!place.is_whole);
        place.begin(ended + Duration::from_secs(1), false);
        assert!(place.is_whole);
    }
}
