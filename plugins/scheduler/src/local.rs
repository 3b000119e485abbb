//! Local time as the engine counts it: the seconds since 1970-01-01T00:00:00 on the wall, as if the wall's zone were UTC.
//!
//! Sets of local times (cron expressions, rules) know nothing of zones; `next.rs` maps them to instants. Counting both in whole
//! seconds makes that mapping an addition.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};

pub(crate) const DAY: i64 = 86_400;

/// Nothing fires from this year on: the last one before the calendar that we compute with ends.
pub(crate) const YEAR_END: i16 = 9999;

/// A set of local times, looked at in order.
pub(crate) trait LocalTimes {
    /// The first of its times that is not before `from`. None: there is no more, ever.
    ///
    /// # Errors
    ///
    /// The search was given up.
    fn next(&self, from: DateTime) -> Result<Option<DateTime>, Spent>;
}

/// A search was given up: what is searched for may be there, but so far away that nobody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent;

/// The seconds of a time on the wall.
pub(crate) fn seconds(time: DateTime) -> i64 {
    Offset::UTC
        .to_timestamp(time)
        .map_or(i64::MAX, Timestamp::as_second)
}

/// The time on the wall of these seconds; none outside of the years that can be computed with.
pub(crate) fn time(seconds: i64) -> Option<DateTime> {
    let time = Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?);
    (time.year() < YEAR_END).then_some(time)
}

/// The day with this number, counted from 1970-01-01.
pub(crate) fn date(day: i64) -> Option<Date> {
    time(day.checked_mul(DAY)?).map(DateTime::date)
}
