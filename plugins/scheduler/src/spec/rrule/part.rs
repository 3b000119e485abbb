//! The parts of a rule, such as `BYDAY=1MO,-1FR`: names, values and their bounds.

use jiff::civil::Weekday;

use super::{lines::Line, rule::Frequency};
use crate::error::SpecError;

/// The most occurrences that can be counted: more are better bounded by UNTIL.
const COUNT_MAX: i64 = 10_000;

/// The longest interval.
const INTERVAL_MAX: i64 = 100_000;

/// One part of a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) name: &'static str,
    pub(super) value: &'a str,
    pub(super) position: usize,
}

/// All names, as they are shown in errors.
const NAMES: [&str; 14] = [
    "FREQ",
    "UNTIL",
    "COUNT",
    "INTERVAL",
    "BYSECOND",
    "BYMINUTE",
    "BYHOUR",
    "BYDAY",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
    "WKST",
];

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Monday),
    ("TU", Weekday::Tuesday),
    ("WE", Weekday::Wednesday),
    ("TH", Weekday::Thursday),
    ("FR", Weekday::Friday),
    ("SA", Weekday::Saturday),
    ("SU", Weekday::Sunday),
];

impl<'a> Part<'a> {
    /// The parts of a rule, each at most once.
    pub(super) fn all(line: &'a Line) -> Result<Vec<Self>, SpecError> {
        let mut found: Vec<Self> = Vec::new();
        let mut index = 0;
        for text in line.value.split(';') {
            let position = line.place(index);
            index += text.len() + 1;
            // A semicolon at the end is common, and harmless.
            if text.is_empty() && index > line.value.len() && !found.is_empty() {
                continue;
            }
            let fail = |problem: String| Err(SpecError::at("RRULE", position, problem));
            let Some((key, value)) = text.split_once('=') else {
                return fail(format!("{text:?} is not a part such as \"FREQ=DAILY\""));
            };
            let Some(name) = NAMES
                .into_iter()
                .find(|name| name.eq_ignore_ascii_case(key))
            else {
                return fail(format!(
                    "{key:?} is not a part of a rule: there are {}",
                    NAMES.join(", ")
                ));
            };
            if found.iter().any(|part| part.name == name) {
                return fail(format!("{name} stands there twice"));
            }
            found.push(Self {
                name,
                value,
                position: position + key.len() + 1,
            });
        }
        Ok(found)
    }

    pub(super) fn fail<T>(&self, problem: impl Into<String>) -> Result<T, SpecError> {
        Err(SpecError::at(self.name, self.position, problem))
    }

    pub(super) fn frequency(&self) -> Result<Frequency, SpecError> {
        Frequency::ALL
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(self.value))
            .map_or_else(
                || {
                    self.fail(format!(
                        "{:?} is not SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY",
                        self.value
                    ))
                },
                |(_, frequency)| Ok(frequency),
            )
    }

    pub(super) fn interval(&self) -> Result<i64, SpecError> {
        self.positive(self.value, INTERVAL_MAX)
    }

    pub(super) fn count(&self) -> Result<i64, SpecError> {
        self.positive(self.value, COUNT_MAX)
    }

    fn positive(&self, text: &str, max: i64) -> Result<i64, SpecError> {
        match whole(text) {
            Some(value) if (1..=max).contains(&value) && !text.starts_with('+') => Ok(value),
            _ => self.fail(format!("{text:?} is not a number between 1 and {max}")),
        }
    }

    /// Bits of a list of numbers from `min` to `max`.
    pub(super) fn bits(&self, min: i64, max: i64) -> Result<u64, SpecError> {
        let mut bits = 0;
        for text in self.value.split(',') {
            match whole(text) {
                Some(value) if (min..=max).contains(&value) && !text.starts_with('-') => {
                    bits |= 1 << value;
                }
                _ => return self.fail(format!("{text:?} is not between {min} and {max}")),
            }
        }
        Ok(bits)
    }

    /// A list of numbers from 1 to `max`, or from -1 down for those counted from the end.
    pub(super) fn signed(&self, max: i16) -> Result<Vec<i16>, SpecError> {
        let mut values = Vec::new();
        for text in self.value.split(',') {
            values.push(self.ordinal(text, max)?);
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn ordinal(&self, text: &str, max: i16) -> Result<i16, SpecError> {
        whole(text)
            .and_then(|value| i16::try_from(value).ok())
            .filter(|value| *value != 0 && value.abs() <= max)
            .map_or_else(
                || self.fail(format!("{text:?} is not 1 to {max} or -1 to -{max}")),
                Ok,
            )
    }

    /// Weekdays, each with its number in month or year where one is given.
    pub(super) fn days(&self) -> Result<Vec<(Option<i16>, Weekday)>, SpecError> {
        let mut days = Vec::new();
        for text in self.value.split(',') {
            let (number, name) = text.split_at(text.len().saturating_sub(2));
            let day = weekday(name).map_or_else(
                || {
                    self.fail(format!(
                        "{text:?} is not a weekday such as MO, or 1MO, or -1MO"
                    ))
                },
                Ok,
            )?;
            let number = (!number.is_empty())
                .then(|| self.ordinal(number, 53))
                .transpose()?;
            if !days.contains(&(number, day)) {
                days.push((number, day));
            }
        }
        Ok(days)
    }

    pub(super) fn weekday(&self) -> Result<Weekday, SpecError> {
        weekday(self.value).map_or_else(
            || self.fail(format!("{:?} is not a weekday such as MO", self.value)),
            Ok,
        )
    }
}

fn weekday(text: &str) -> Option<Weekday> {
    let found = WEEKDAYS
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, day)| day)
}

/// A short whole number.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number =
        (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}
