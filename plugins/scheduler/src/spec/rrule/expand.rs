//! The members of one period of a rule.
//!
//! The RFC speaks of parts that expand and parts that limit. Both come to the same: of the days of the period those stay that fit
//! every part, and each has the times of the rule's clock. Only BYSETPOS needs to know them all, and even then the times
//! are counted and not listed: a year of seconds has 31 million.

use jiff::civil::{Date, DateTime, Weekday};

use super::rule::{Frequency, Rule};
use crate::{
    local::{self, DAY},
    spec::Clock,
};

/// Which days fit. Empty lists and no months: any.
#[derive(Debug, Clone, Default)]
pub(super) struct DayFilter {
    pub(super) months: u64,
    pub(super) month_days: Vec<i16>,
    pub(super) year_days: Vec<i16>,
    pub(super) weeks: Vec<i16>,
    pub(super) week_days: Vec<(Option<i16>, Weekday)>,
}

impl DayFilter {
    /// Adds what the start says where the rule says nothing.
    pub(super) fn complete(&mut self, frequency: Frequency, start: DateTime) {
        let has_days =
            !(self.month_days.is_empty() && self.year_days.is_empty() && self.week_days.is_empty());
        let weekday = (None, start.weekday());
        match frequency {
            Frequency::Weekly if self.week_days.is_empty() => self.week_days.push(weekday),
            Frequency::Yearly if !has_days && !self.weeks.is_empty() => {
                self.week_days.push(weekday);
            }
            Frequency::Yearly if !has_days => {
                self.month_days.push(i16::from(start.day()));
                if self.months == 0 {
                    self.months = 1 << start.month();
                }
            }
            Frequency::Monthly if !has_days => self.month_days.push(i16::from(start.day())),
            _ => {}
        }
    }

    /// Whether a day fits.
    pub(super) fn fits(&self, rule: &Rule, day: Date) -> bool {
        let among = |list: &[i16], number: i16, length: i16| {
            list.is_empty() || list.contains(&number) || list.contains(&(number - length - 1))
        };
        (self.months == 0 || self.months >> day.month() & 1 == 1)
            && among(
                &self.month_days,
                i16::from(day.day()),
                i16::from(day.days_in_month()),
            )
            && (self.week_days.is_empty() || self.fits_weekday(rule, day))
            && (self.year_days.is_empty()
                || among(&self.year_days, day.day_of_year(), day.days_in_year()))
            && (self.weeks.is_empty() || {
                let (week, weeks) = week_of(day, rule.week_start);
                among(&self.weeks, week, weeks)
            })
    }

    /// A numbered weekday is counted within the month, or within the year where a yearly rule names no month.
    fn fits_weekday(&self, rule: &Rule, day: Date) -> bool {
        let (number, length) = if rule.frequency == Frequency::Yearly && self.months == 0 {
            (day.day_of_year(), day.days_in_year())
        } else {
            (i16::from(day.day()), i16::from(day.days_in_month()))
        };
        let (from_start, from_end) = ((number - 1) / 7 + 1, -((length - number) / 7 + 1));
        let weekday = day.weekday();
        self.week_days.iter().any(|(nth, wanted)| {
            *wanted == weekday && nth.is_none_or(|nth| nth == from_start || nth == from_end)
        })
    }
}

/// The number of the week that a day lies in, and how many its year has. The first has four days or more in the year.
fn week_of(day: Date, week_start: Weekday) -> (i16, i16) {
    let into_week = i16::from(week_start.until(day.weekday()));
    // The week's fourth day decides which year it belongs to.
    let fourth = day.day_of_year() - into_week + 3;
    let (length, length_before) = (
        day.days_in_year(),
        Date::new(day.year() - 1, 1, 1).map_or(365, Date::days_in_year),
    );
    let (fourth, length) = if fourth < 1 {
        (fourth + length_before, length_before)
    } else if fourth > length {
        let next = Date::new(day.year() + 1, 1, 1).map_or(365, Date::days_in_year);
        (fourth - length, next)
    } else {
        (fourth, length)
    };
    let week = (fourth - 1) / 7 + 1;
    // Fourth days stand seven apart: the year has as many weeks as it has those.
    (week, week + (length - fourth) / 7)
}

/// A year, a month, a week, a day, or a part of one.
#[derive(Debug)]
pub(super) struct Period {
    first: Date,
    days: i16,
    clock: Clock,
    begin: DateTime,
}

impl Period {
    /// The period of a rule with this number. None: the calendar ends before it.
    pub(super) fn of(rule: &Rule, index: i64) -> Option<Self> {
        let (first, days) = match rule.frequency {
            Frequency::Yearly => {
                let first = Date::new(i16::try_from(index).ok()?, 1, 1).ok()?;
                (first, first.days_in_year())
            }
            Frequency::Monthly => {
                let (year, month) = (index.div_euclid(12), index.rem_euclid(12) + 1);
                let first =
                    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok()?;
                (first, i16::from(first.days_in_month()))
            }
            Frequency::Weekly => (local::date(index * 7 + rule.week_offset())?, 7),
            Frequency::Daily => (local::date(index)?, 1),
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                return Self::below_a_day(rule, index);
            }
        };
        (first.year() < local::YEAR_END).then(|| Self {
            first,
            days,
            clock: rule.clock,
            begin: first.at(0, 0, 0, 0),
        })
    }

    fn below_a_day(rule: &Rule, index: i64) -> Option<Self> {
        let length = rule.frequency.seconds()?;
        let begin = local::time(index.checked_mul(length)?)?;
        let only =
            |is_fixed: bool, bits: u64, value: i8| if is_fixed { bits & 1 << value } else { bits };
        Some(Self {
            first: begin.date(),
            days: 1,
            clock: Clock {
                hours: only(true, rule.clock.hours, begin.hour()),
                minutes: only(length < 3_600, rule.clock.minutes, begin.minute()),
                seconds: only(length < 60, rule.clock.seconds, begin.second()),
            },
            begin,
        })
    }

    pub(super) fn begin(&self) -> DateTime {
        self.begin
    }

    pub(super) fn first_day(&self) -> Date {
        self.first
    }

    /// What it costs to look at.
    pub(super) fn cost(&self) -> u32 {
        u32::from(self.days.unsigned_abs())
    }

    /// Its first member that is not before `from`.
    pub(super) fn first(&self, rule: &Rule, from: DateTime) -> Option<DateTime> {
        if self.clock.count() == 0 {
            return None;
        }
        if !rule.positions.is_empty() {
            return self.first_at_positions(rule, from);
        }
        self.dates(from.date())
            .filter(|day| rule.days.fits(rule, *day))
            .find_map(|day| {
                let time = if day == from.date() {
                    self.clock.at_or_after(from.time())
                } else {
                    self.clock.first()
                };
                time.map(|time| day.to_datetime(time))
            })
    }

    fn first_at_positions(&self, rule: &Rule, from: DateTime) -> Option<DateTime> {
        let days: Vec<Date> = self
            .dates(self.first)
            .filter(|day| rule.days.fits(rule, *day))
            .collect();
        let times = self.clock.count();
        let all = days.len() * times;
        let members = rule.positions.iter().filter_map(|position| {
            let number = usize::from(position.unsigned_abs());
            let index = if *position > 0 {
                number - 1
            } else {
                all.checked_sub(number)?
            };
            let day = days.get(index / times)?;
            Some(day.to_datetime(self.clock.get(index % times)?))
        });
        members.filter(|member| *member >= from).min()
    }

    /// Its days that are not before `from`.
    fn dates(&self, from: Date) -> impl Iterator<Item = Date> {
        let day = |date: Date| local::seconds(date.at(0, 0, 0, 0)).div_euclid(DAY);
        let first = day(self.first);
        (first.max(day(from))..first + i64::from(self.days)).filter_map(local::date)
    }
}
