//! From local times to instants: the first instant, not before another one, at which a set of local times fires in a zone.
//!
//! A zone is a row of stretches with one offset each. Within a stretch the answer is the set's next local time, less the offset.
//! What is special happens where a stretch begins: clocks that were put forward leave local times out (the gap before it), clocks
//! that were put back repeat some (the first part of it). So each stretch is looked at once, and there is no search by hours.

use jiff::Timestamp;

use crate::{
    local::{self, DAY, LocalTimes, Spent},
    rule::{Gap, Landing, Overlap, Pace},
    zone::{Stretch, Zone},
};

/// More than any zone ever moved its clocks.
const MOVE_MAX: i64 = 2 * DAY;

/// The first second, not before `from`, at which `set` fires. None: it never does again.
///
/// # Errors
///
/// The search was given up.
pub(crate) fn at_or_after(
    set: &dyn LocalTimes,
    zone: &Zone,
    pace: Pace,
    from: i64,
) -> Result<Option<i64>, Spent> {
    let mut from = from;
    loop {
        let stretch = zone.stretch(from);
        let (landed, regular) = (
            landed(set, &stretch, pace, from)?,
            regular(set, &stretch, pace, from)?,
        );
        let found = landed.into_iter().chain(regular).min();
        let end = stretch.end.unwrap_or(i64::MAX);
        if let Some(found) = found.filter(|found| *found < end) {
            return Ok(Some(found));
        }
        // What was found lies behind the end: go there, but do not step over a stretch whose clocks differ.
        let Some(end) = stretch.end else {
            return Ok(None);
        };
        from = match found {
            Some(found) => end.max(found - MOVE_MAX),
            // The set has ended, but clocks that are put back now may show its last times again.
            None if end - from < MOVE_MAX => end,
            None => return Ok(None),
        };
    }
}

/// The first time of the stretch itself.
fn regular(
    set: &dyn LocalTimes,
    stretch: &Stretch,
    pace: Pace,
    from: i64,
) -> Result<Option<i64>, Spent> {
    let mut wall = from + stretch.offset;
    if let (
        Some(start),
        Pace::Fixed {
            overlap: Overlap::First,
            ..
        },
    ) = (stretch.start, pace)
    {
        // Where clocks were put back: what they showed before is not shown for the first time.
        wall = wall.max(start + stretch.before);
    }
    Ok(second(set, wall)?.map(|second| second - stretch.offset))
}

/// The first time of the set from a second of the wall on, as such a second.
fn second(set: &dyn LocalTimes, wall: i64) -> Result<Option<i64>, Spent> {
    let Some(wall) = local::time(wall) else {
        return Ok(None);
    };
    Ok(set.next(wall)?.map(local::seconds))
}

/// The first time of the gap before the stretch, where it lands.
fn landed(
    set: &dyn LocalTimes,
    stretch: &Stretch,
    pace: Pace,
    from: i64,
) -> Result<Option<i64>, Spent> {
    let Pace::Fixed {
        gap: Gap::Run,
        landing,
        ..
    } = pace
    else {
        return Ok(None);
    };
    let Some(start) = stretch.start else {
        return Ok(None);
    };
    let lost = start + stretch.before..start + stretch.offset;
    if lost.is_empty() {
        return Ok(None);
    }
    // A day that a zone leaves out as a whole (Apia, 2011-12-30) has no times that something could be made up for.
    let day = lost.start.div_euclid(DAY) * DAY
        + if lost.start.rem_euclid(DAY) == 0 {
            0
        } else {
            DAY
        };
    let next_day = lost.end.div_euclid(DAY) * DAY;
    let parts = if day < next_day {
        [lost.start..day, next_day..lost.end]
    } else {
        [lost, 0..0]
    };
    for part in parts {
        let first = match landing {
            Landing::Edge => part.start,
            Landing::Shifted => part.start.max(from + stretch.before),
        };
        let Some(time) = second(set, first)? else {
            continue;
        };
        let instant = match landing {
            Landing::Edge => start,
            Landing::Shifted => time - stretch.before,
        };
        if time < part.end && instant >= from {
            return Ok(Some(instant));
        }
    }
    Ok(None)
}

/// A second as the rest of the world counts it.
pub(crate) fn instant(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}
