//! One rule: its parts, checked against what RFC 5545 lets stand together, and its next occurrence.

use jiff::{
    SignedDuration,
    civil::{DateTime, Weekday},
};

use super::{
    budget::{Budget, Spent},
    expand::{DayFilter, Period},
    lines::Line,
    part::Part,
    value::{Moment, no_time},
};
use crate::{
    error::SpecError,
    local::{self, DAY},
    spec::Clock,
    zone::Zone,
};

/// How often a rule begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Frequency {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Frequency {
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("SECONDLY", Self::Secondly),
        ("MINUTELY", Self::Minutely),
        ("HOURLY", Self::Hourly),
        ("DAILY", Self::Daily),
        ("WEEKLY", Self::Weekly),
        ("MONTHLY", Self::Monthly),
        ("YEARLY", Self::Yearly),
    ];

    /// The seconds of a period shorter than a day.
    pub(super) fn seconds(self) -> Option<i64> {
        match self {
            Self::Secondly => Some(1),
            Self::Minutely => Some(60),
            Self::Hourly => Some(3_600),
            _ => None,
        }
    }
}

/// A rule that has been read.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) frequency: Frequency,
    pub(super) interval: i64,
    pub(super) start: DateTime,
    until: Option<DateTime>,
    pub(super) week_start: Weekday,
    pub(super) days: DayFilter,
    pub(super) clock: Clock,
    /// Which members of a period count, from 1 or from -1; empty: all of them.
    pub(super) positions: Vec<i16>,
}

impl Rule {
    /// Reads a rule of a set that begins at `start`.
    pub(super) fn read(
        line: &Line,
        start: DateTime,
        zone: &Zone,
        budget: &mut Budget,
    ) -> Result<Self, SpecError> {
        let parts = Part::all(line)?;
        let Some(frequency) = parts.iter().find(|part| part.name == "FREQ") else {
            return Err(SpecError::at(
                "FREQ",
                line.position,
                "a rule says how often: FREQ is missing",
            ));
        };
        let frequency = frequency.frequency()?;
        check(&parts, frequency)?;
        let mut rule = Self {
            frequency,
            interval: 1,
            start,
            until: None,
            week_start: Weekday::Monday,
            days: DayFilter::default(),
            clock: default_clock(frequency, start),
            positions: Vec::new(),
        };
        let mut count = None;
        for part in &parts {
            match part.name {
                "INTERVAL" => rule.interval = part.interval()?,
                "COUNT" => count = Some((part, part.count()?)),
                "UNTIL" => rule.until = Some(until(part, zone)?),
                "WKST" => rule.week_start = part.weekday()?,
                "BYSECOND" => rule.clock.seconds = leap_folded(part.bits(0, 60)?),
                "BYMINUTE" => rule.clock.minutes = part.bits(0, 59)?,
                "BYHOUR" => rule.clock.hours = part.bits(0, 23)?,
                "BYMONTH" => rule.days.months = part.bits(1, 12)?,
                "BYMONTHDAY" => rule.days.month_days = part.signed(31)?,
                "BYYEARDAY" => rule.days.year_days = part.signed(366)?,
                "BYWEEKNO" => rule.days.weeks = part.signed(53)?,
                "BYDAY" => rule.days.week_days = part.days()?,
                "BYSETPOS" => rule.positions = part.signed(366)?,
                _ => {}
            }
        }
        rule.days.complete(frequency, start);
        rule.must_fire(line, budget)?;
        if let Some((part, count)) = count {
            rule.until = Some(rule.last_of(part, count, budget)?);
        }
        Ok(rule)
    }

    pub(super) fn is_interval(&self) -> bool {
        self.frequency < Frequency::Daily
    }

    /// The first occurrence that is neither before `from` nor before the start.
    pub(super) fn next(
        &self,
        from: DateTime,
        budget: &mut Budget,
    ) -> Result<Option<DateTime>, Spent> {
        let from = from.max(self.start);
        let mut index = self.aligned(self.index(from));
        loop {
            let Some(period) = Period::of(self, index) else {
                return Ok(None);
            };
            if self.until.is_some_and(|until| period.begin() > until) {
                return Ok(None);
            }
            budget.spend(period.cost())?;
            if let Some(found) = period.first(self, from) {
                return Ok(self
                    .until
                    .is_none_or(|until| found <= until)
                    .then_some(found));
            }
            index = self.aligned(self.after(index, &period));
        }
    }

    /// The next period that could hold something: where a whole day, hour or minute does not fit, it is stepped over at once.
    fn after(&self, index: i64, period: &Period) -> i64 {
        let Some(length) = self.frequency.seconds() else {
            return index + 1;
        };
        let second = index * length;
        let (hour, minute) = (second.div_euclid(3_600), second.div_euclid(60));
        let next = if !self.days.fits(self, period.first_day()) {
            (second.div_euclid(DAY) + 1) * DAY
        } else if self.clock.hours >> hour.rem_euclid(24) & 1 == 0 {
            (hour + 1) * 3_600
        } else if self.clock.minutes >> minute.rem_euclid(60) & 1 == 0 && length < 3_600 {
            (minute + 1) * 60
        } else {
            second + 1
        };
        // Rounded up: the period in which that second lies may have begun before it only if it is the one we come from.
        (next + length - 1).div_euclid(length).max(index + 1)
    }

    /// The number of the period that a time lies in.
    pub(super) fn index(&self, time: DateTime) -> i64 {
        match self.frequency {
            Frequency::Yearly => i64::from(time.year()),
            Frequency::Monthly => i64::from(time.year()) * 12 + i64::from(time.month()) - 1,
            Frequency::Weekly => {
                (local::seconds(time).div_euclid(DAY) - self.week_offset()).div_euclid(7)
            }
            Frequency::Daily => local::seconds(time).div_euclid(DAY),
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                local::seconds(time).div_euclid(self.frequency.seconds().unwrap_or(1))
            }
        }
    }

    /// The number of the first day of a week: 1970-01-01 was a Thursday.
    pub(super) fn week_offset(&self) -> i64 {
        i64::from(self.week_start.to_monday_zero_offset()) - 3
    }

    /// The first period from `index` on that the interval does not leave out.
    fn aligned(&self, index: i64) -> i64 {
        let first = self.index(self.start);
        let steps = (index.max(first) - first + self.interval - 1) / self.interval;
        first + steps * self.interval
    }

    fn must_fire(&self, line: &Line, budget: &mut Budget) -> Result<(), SpecError> {
        let problem = match self.next(self.start, budget) {
            Ok(Some(_)) => return Ok(()),
            // DTSTART counts on its own, so a rule that ends with it is one that fires once.
            Ok(None) if self.until.is_some_and(|until| until >= self.start) => return Ok(()),
            Ok(None) if self.until.is_some() => "ends before it begins: UNTIL lies before DTSTART",
            _ => "never fires: no time fits all of its parts",
        };
        Err(SpecError::at("RRULE", line.position, problem))
    }

    /// The last of `count` occurrences. The start is the first, whether the rule says so or not.
    fn last_of(
        &self,
        part: &Part<'_>,
        count: i64,
        budget: &mut Budget,
    ) -> Result<DateTime, SpecError> {
        let mut last = self.start;
        for _ in 1..count {
            let from = last + SignedDuration::from_secs(1);
            match self.next(from, budget) {
                Ok(Some(next)) => last = next,
                Ok(None) => break,
                Err(Spent) => return part.fail("takes too long to count to: use UNTIL"),
            }
        }
        Ok(last)
    }
}

/// What section 3.3.10 of the RFC forbids.
fn check(parts: &[Part<'_>], frequency: Frequency) -> Result<(), SpecError> {
    let get = |name: &str| parts.iter().find(|part| part.name == name);
    let forbid = |name: &str, is_wrong: bool, problem: &str| match get(name) {
        Some(part) if is_wrong => part.fail(problem),
        _ => Ok(()),
    };
    let numbered =
        get("BYDAY").is_some_and(|part| part.value.bytes().any(|byte| byte.is_ascii_digit()));
    let by_others = parts
        .iter()
        .any(|part| part.name.starts_with("BY") && part.name != "BYSETPOS");
    forbid(
        "COUNT",
        get("UNTIL").is_some(),
        "a rule ends with COUNT or with UNTIL, not both",
    )?;
    forbid(
        "BYWEEKNO",
        frequency != Frequency::Yearly,
        "only a YEARLY rule has weeks of the year",
    )?;
    forbid(
        "BYYEARDAY",
        matches!(
            frequency,
            Frequency::Daily | Frequency::Weekly | Frequency::Monthly
        ),
        "a DAILY, WEEKLY or MONTHLY rule has no days of the year",
    )?;
    forbid(
        "BYMONTHDAY",
        frequency == Frequency::Weekly,
        "a WEEKLY rule has no days of the month",
    )?;
    forbid(
        "BYDAY",
        numbered && frequency < Frequency::Monthly,
        "only a MONTHLY or YEARLY rule can number weekdays",
    )?;
    forbid(
        "BYDAY",
        numbered && get("BYWEEKNO").is_some(),
        "weekdays cannot be numbered beside BYWEEKNO",
    )?;
    forbid(
        "BYSETPOS",
        !by_others,
        "chooses among what another BY part says, and there is none",
    )
}

/// The time of day that a rule has where it names none: the start's, below the frequency; any, above it.
fn default_clock(frequency: Frequency, start: DateTime) -> Clock {
    let one = |is_any: bool, count: u32, value: i8| {
        if is_any {
            Clock::all(count)
        } else {
            1 << value
        }
    };
    Clock {
        hours: one(frequency <= Frequency::Hourly, 24, start.hour()),
        minutes: one(frequency <= Frequency::Minutely, 60, start.minute()),
        seconds: one(frequency <= Frequency::Secondly, 60, start.second()),
    }
}

/// A leap second is the one before it.
fn leap_folded(seconds: u64) -> u64 {
    let leap = seconds >> 60 & 1;
    seconds & Clock::all(60) | leap << 59
}

fn until(part: &Part<'_>, zone: &Zone) -> Result<DateTime, SpecError> {
    match Moment::read(part.value) {
        Some(Moment::Day(day)) => Ok(day.at(23, 59, 59, 0)),
        Some(moment) => Ok(moment.local(zone)),
        None => Err(no_time("UNTIL", part.position, part.value)),
    }
}
