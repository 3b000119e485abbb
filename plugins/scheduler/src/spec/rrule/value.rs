//! Dates and times as RFC 5545 writes them: `19970902T090000`, `19970902T090000Z`, `19970902`.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::Offset,
};

use crate::{error::SpecError, zone::Zone};

/// A value of a date or time property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Day(Date),
    Local(DateTime),
    Utc(Timestamp),
}

impl Moment {
    pub(super) fn read(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            return None;
        }
        let (text, is_utc) = match text.strip_suffix(['Z', 'z']) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let Some((day, time)) = text.split_once(['T', 't']) else {
            return date(text).filter(|_| !is_utc).map(Self::Day);
        };
        let time = date(day)?.to_datetime(clock(time)?);
        if is_utc {
            return Offset::UTC.to_timestamp(time).ok().map(Self::Utc);
        }
        Some(Self::Local(time))
    }

    /// What the walls of a zone show then. A day begins at midnight.
    pub(super) fn local(self, zone: &Zone) -> DateTime {
        match self {
            Self::Day(date) => date.to_datetime(Time::midnight()),
            Self::Local(time) => time,
            Self::Utc(instant) => zone.tz().to_datetime(instant),
        }
    }
}

/// A property that holds a time of a zone.
pub(super) fn property(name: &str, time: DateTime, zone: &Zone) -> String {
    let text = time.strftime("%Y%m%dT%H%M%S");
    if zone.name() == "UTC" {
        format!("{name}:{text}Z")
    } else {
        format!("{name};TZID={}:{text}", zone.name())
    }
}

pub(super) fn no_time(field: &'static str, position: usize, text: &str) -> SpecError {
    let problem =
        format!("{text:?} is not a time: write 20300101T090000, 20300101T090000Z or 20300101");
    SpecError::at(field, position, problem)
}

pub(super) fn whole_seconds(time: DateTime) -> DateTime {
    let clock = Time::constant(time.hour(), time.minute(), time.second(), 0);
    time.date().to_datetime(clock)
}

fn date(text: &str) -> Option<Date> {
    let year = number(text, 0..4)?;
    let (month, day) = (number(text, 4..6)?, number(text, 6..8)?);
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    // The calendar is the Gregorian one, and our arithmetic ends where jiff's does.
    (text.len() == 8 && (1600..crate::local::YEAR_END).contains(&year)).then_some(date)
}

fn clock(text: &str) -> Option<Time> {
    let [hour, minute, second] =
        [0..2, 2..4, 4..6].map(|range| number(text, range).and_then(|two| i8::try_from(two).ok()));
    // A leap second is the one before it, as section 3.3.12 advises those who do not know it.
    let time = Time::new(hour?, minute?, second?.min(59), 0).ok()?;
    (text.len() == 6 && second? <= 60).then_some(time)
}

fn number(text: &str, range: std::ops::Range<usize>) -> Option<i16> {
    let digits = text.get(range)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}
