//! Cron expressions of five fields (minute, hour, day of month, month, day of week) or six (a second before them).
//!
//! As in Vixie cron and all that came of it: when both day fields are restricted, a day that fits either is a day; a field that
//! begins with `*` or `?` is not a restriction. Names of months and weekdays in any case, 0 and 7 are both Sunday. Besides: `L` is
//! the last day of the month, `L-2` the third last, `LW` the last weekday (Monday to Friday), `15W` the weekday nearest to the
//! 15th within its month, `5L` the last Friday, `5#2` the second one, `5#L` the last one.

mod days;
mod field;

use jiff::civil::{Date, DateTime, Time};

use self::{
    days::{MonthDays, WeekDays},
    field::{Field, Part, fields},
};
use super::Clock;
use crate::{
    error::SpecError,
    local::{LocalTimes, Spent, YEAR_END},
};

/// The Gregorian calendar repeats after this many years, weekdays included: what has not matched until then never will.
const CYCLE_YEARS: i32 = 400;

/// The short names. Each stands for an expression, so that they behave as if that had been written.
const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A cron expression.
#[derive(Debug, Clone)]
pub(crate) struct Cron {
    clock: Clock,
    months: u64,
    month_days: MonthDays,
    week_days: WeekDays,
    /// A day must fit both day fields, because at most one of them says anything.
    both: bool,
    interval: bool,
    canonical: String,
}

impl Cron {
    /// Reads an expression.
    pub(super) fn read(text: &str) -> Result<Self, SpecError> {
        let start = text.len() - text.trim_start().len() + 1;
        if text.trim().starts_with('@') {
            let name = text.trim();
            return MACROS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map_or_else(
                    || Err(unknown(name, start)),
                    |(_, meaning)| Self::fields(meaning),
                );
        }
        Self::fields(text)
    }

    fn fields(text: &str) -> Result<Self, SpecError> {
        let parts = words(text);
        let (second, parts) = match parts.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            parts if parts.len() == 5 => (
                Part {
                    text: "0",
                    position: 1,
                },
                parts,
            ),
            parts => return Err(miscounted(parts)),
        };
        let [minute, hour, month_day, month, week_day] = parts else {
            return Err(miscounted(parts));
        };
        let second = Field::read(&fields::SECOND, second)?;
        let (minute_field, hour_field) = (
            Field::read(&fields::MINUTE, *minute)?,
            Field::read(&fields::HOUR, *hour)?,
        );
        let (month_days, month_day_text) = MonthDays::read(*month_day)?;
        let month_field = Field::read(&fields::MONTH, *month)?;
        let (week_days, week_day_text) = WeekDays::read(*week_day)?;
        let is_open = |part: &Part<'_>| part.text.starts_with(['*', '?']);
        let mut texts = vec![
            second.text,
            minute_field.text,
            hour_field.text,
            month_day_text,
            month_field.text,
            week_day_text,
        ];
        if texts[0] == "0" {
            texts.remove(0);
        }
        let cron = Self {
            clock: Clock {
                hours: hour_field.bits,
                minutes: minute_field.bits,
                seconds: second.bits,
            },
            months: month_field.bits,
            month_days,
            week_days,
            both: is_open(month_day) || is_open(week_day),
            interval: minute.text.starts_with('*') || hour.text.starts_with('*'),
            canonical: texts.join(" "),
        };
        // From a year in which a cycle begins: any will do.
        let first = cron.first(Date::constant(2000, 1, 1).at(0, 0, 0, 0));
        if first.is_none() {
            let problem = format!("no month has such a day: {:?} never fires", text.trim());
            return Err(SpecError::at("day of month", month_day.position, problem));
        }
        Ok(cron)
    }

    /// Whether it says how often and not when: see `rule.rs`.
    pub(crate) fn is_interval(&self) -> bool {
        self.interval
    }

    pub(super) fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The days of a month that fit, as bits.
    fn days(&self, month: Date) -> u64 {
        let (by_month, by_week) = (self.month_days.of(month), self.week_days.of(month));
        if self.both {
            by_month & by_week
        } else {
            by_month | by_week
        }
    }
}

impl LocalTimes for Cron {
    fn next(&self, from: DateTime) -> Result<Option<DateTime>, Spent> {
        // Never given up: the search ends with the calendar's cycle.
        Ok(self.first(from))
    }
}

impl Cron {
    fn first(&self, from: DateTime) -> Option<DateTime> {
        let (mut year, mut month) = (from.year(), from.month());
        let mut day = from.day();
        let mut time = from.time();
        for _ in 0..=CYCLE_YEARS * 12 {
            if self.months >> month & 1 == 1 {
                let first = Date::new(year, month, 1).ok()?;
                let days = self.days(first);
                while let Some(fits) = super::clock::lowest(days, day) {
                    if fits > day {
                        time = Time::midnight();
                    }
                    if let Some(time) = self.clock.at_or_after(time) {
                        return Some(Date::new(year, month, fits).ok()?.to_datetime(time));
                    }
                    (day, time) = (fits + 1, Time::midnight());
                }
            }
            (day, time) = (1, Time::midnight());
            month += 1;
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
            if year >= YEAR_END {
                return None;
            }
        }
        None
    }
}

/// The words of a text and where they stand.
fn words(text: &str) -> Vec<Part<'_>> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some(start) = rest.find(|one: char| !one.is_ascii_whitespace()) {
        let word = &rest[start..];
        let end = word
            .find(|one: char| one.is_ascii_whitespace())
            .unwrap_or(word.len());
        found.push(Part {
            text: &word[..end],
            position: text.len() - word.len() + 1,
        });
        rest = &word[end..];
    }
    found
}

fn miscounted(parts: &[Part<'_>]) -> SpecError {
    if let Some(zone) = parts.first().filter(|part| part.text.contains("TZ=")) {
        let problem = "the time zone is a field of its own beside the expression";
        return SpecError::at("cron expression", zone.position, problem);
    }
    let mut problem = format!(
        "has {} {}: write five (minute, hour, day of month, month, day of week), or six with a second before them",
        parts.len(),
        if parts.len() == 1 { "field" } else { "fields" },
    );
    if parts.len() == 7 {
        problem.push_str("; instead of a year use start_at and end_at");
    }
    let position = parts
        .get(6)
        .or(parts.last())
        .map_or(1, |part| part.position);
    SpecError::at("cron expression", position, problem)
}

fn unknown(name: &str, position: usize) -> SpecError {
    let known: Vec<&str> = MACROS.iter().map(|(known, _)| *known).collect();
    let problem = format!(
        "there is no {name:?}: write {}, @every or @at",
        known.join(", ")
    );
    SpecError::at("cron expression", position, problem)
}
