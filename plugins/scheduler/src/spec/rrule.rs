//! Recurrence sets of RFC 5545: DTSTART, and what RRULE, RDATE and EXDATE make of it.
//!
//! Read as the RFC says, and where it leaves a choice, so: DTSTART always belongs to the set and counts as the first of COUNT; a
//! weekday, day or time that a rule does not name is DTSTART's; BYWEEKNO alone means DTSTART's weekday in those weeks; UNTIL may
//! be a date, and then includes that day; an EXDATE that is a date takes the whole day out. A set without DTSTART begins at the
//! schedule's anchor. What is refused: EXRULE (withdrawn by the RFC), RSCALE, and everything that it forbids to combine.
//!
//! COUNT is worked out once, when the text is read, and is the rule's last occurrence from then on. So the next occurrence after
//! any time is computed, not counted up to, and a daily rule of the last century costs no more than one of today.

mod budget;
mod expand;
mod lines;
mod part;
mod rule;
mod value;

use jiff::civil::{Date, DateTime};

use self::{
    budget::{Budget, Spent},
    lines::Line,
    rule::Rule,
    value::Moment,
};
use super::Frame;
use crate::{error::SpecError, local::LocalTimes, zone::Zone};

/// The most rules of one set.
const RULES_MAX: usize = 8;

/// A recurrence set.
#[derive(Debug, Clone)]
pub(crate) struct Rrule {
    start: DateTime,
    rules: Vec<Rule>,
    /// Sorted.
    more: Vec<DateTime>,
    /// Sorted.
    without: Vec<DateTime>,
    /// Sorted.
    without_days: Vec<Date>,
    canonical: String,
}

/// Whether a text is a set, and nothing else that a schedule can be.
pub(super) fn is_one(text: &str) -> bool {
    let upper = text
        .trim_start()
        .get(..8)
        .unwrap_or(text.trim_start())
        .to_ascii_uppercase();
    [
        "DTSTART", "RRULE:", "RRULE;", "RDATE", "EXDATE", "EXRULE", "FREQ=", "INTERVAL", "BEGIN:",
    ]
    .iter()
    .any(|start| upper.starts_with(start))
}

impl Rrule {
    /// Reads a set, and the zone that it lives in.
    pub(super) fn read(text: &str, frame: Frame<'_>) -> Result<(Self, Zone), SpecError> {
        let lines = Line::all(text)?;
        let (start, zone) = start(&lines, frame)?;
        let mut set = Self {
            start,
            rules: Vec::new(),
            more: Vec::new(),
            without: Vec::new(),
            without_days: Vec::new(),
            canonical: value::property("DTSTART", start, &zone),
        };
        let mut budget = Budget::of_reading();
        for line in &lines {
            set.add(line, &zone, frame, &mut budget)?;
        }
        for times in [&mut set.more, &mut set.without] {
            times.sort_unstable();
            times.dedup();
        }
        set.without_days.sort_unstable();
        if !matches!(set.next(start), Ok(Some(_))) {
            return Err(SpecError::whole(
                "RRULE",
                "the set is empty: EXDATE takes out all that there is",
            ));
        }
        Ok((set, zone))
    }

    fn add(
        &mut self,
        line: &Line,
        zone: &Zone,
        frame: Frame<'_>,
        budget: &mut Budget,
    ) -> Result<(), SpecError> {
        match line.name.as_str() {
            "DTSTART" => return Ok(()),
            "RRULE" => {
                if self.rules.len() == RULES_MAX {
                    let problem = format!("a set has at most {RULES_MAX} rules");
                    return Err(SpecError::at("RRULE", line.position, problem));
                }
                self.rules.push(Rule::read(line, self.start, zone, budget)?);
                self.canonical.push_str("\nRRULE:");
                self.canonical.push_str(&line.value.to_ascii_uppercase());
                return Ok(());
            }
            "RDATE" => {
                for moment in line.moments("RDATE")? {
                    self.more.push(line.local(moment, zone, frame.zones)?);
                }
                self.more.retain(|time| *time >= self.start);
            }
            "EXDATE" => {
                for moment in line.moments("EXDATE")? {
                    if let Moment::Day(day) = moment {
                        self.without_days.push(day);
                    } else {
                        self.without.push(line.local(moment, zone, frame.zones)?);
                    }
                }
            }
            "EXRULE" => {
                let problem = "RFC 5545 has withdrawn it: list the exceptions in EXDATE";
                return Err(SpecError::at("EXRULE", line.position, problem));
            }
            _ => {
                let problem = format!("{:?} is not DTSTART, RRULE, RDATE or EXDATE", line.name);
                return Err(SpecError::at("RRULE", line.position, problem));
            }
        }
        self.canonical.push('\n');
        self.canonical.push_str(&line.canonical());
        Ok(())
    }

    /// Whether a rule says how often and not when: see `crate::rule`.
    pub(crate) fn is_interval(&self) -> bool {
        self.rules.iter().any(Rule::is_interval)
    }

    pub(super) fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The first member that is not before `from`, exceptions included.
    fn member(&self, from: DateTime, budget: &mut Budget) -> Result<Option<DateTime>, Spent> {
        if from <= self.start {
            return Ok(Some(self.start));
        }
        let more = self.more[self.more.partition_point(|time| *time < from)..].first();
        let mut first = more.copied();
        let mut spent = Ok(());
        for rule in &self.rules {
            match rule.next(from, budget) {
                Ok(time) => first = first.into_iter().chain(time).min(),
                Err(error) => spent = Err(error),
            }
        }
        // What another part of the set says is nearer than what a search was given up for.
        match first {
            Some(first) => Ok(Some(first)),
            None => spent.map(|()| None),
        }
    }
}

impl LocalTimes for Rrule {
    fn next(&self, from: DateTime) -> Result<Option<DateTime>, Spent> {
        let mut from = from;
        let mut budget = Budget::of_search();
        // Each turn passes an exception, so that there are not many.
        loop {
            let Some(member) = self.member(from, &mut budget)? else {
                return Ok(None);
            };
            let later = if self.without_days.binary_search(&member.date()).is_ok() {
                let tomorrow = member.date().tomorrow().ok();
                tomorrow.map(|day| day.at(0, 0, 0, 0))
            } else if self.without.binary_search(&member).is_ok() {
                member.checked_add(jiff::SignedDuration::from_secs(1)).ok()
            } else {
                return Ok(Some(member));
            };
            let Some(later) = later else {
                return Ok(None);
            };
            from = later;
        }
    }
}

/// Where a set begins, in the zone that it lives in.
fn start(lines: &[Line], frame: Frame<'_>) -> Result<(DateTime, Zone), SpecError> {
    let mut found = lines.iter().filter(|line| line.name == "DTSTART");
    let Some(line) = found.next() else {
        let zone = frame.zone.cloned().unwrap_or_else(Zone::utc);
        let anchor = value::whole_seconds(zone.tz().to_datetime(frame.anchor));
        return Ok((anchor, zone));
    };
    if let Some(second) = found.next() {
        return Err(SpecError::at(
            "DTSTART",
            second.position,
            "a set begins once",
        ));
    }
    let moments = line.moments("DTSTART")?;
    let [moment] = moments.as_slice() else {
        return Err(SpecError::at("DTSTART", line.position, "is one time"));
    };
    let named = line.zone(frame.zones)?;
    let zone = match (frame.zone, named) {
        (Some(asked), Some(named)) if asked.name() != named.name() => {
            let problem = format!(
                "says {:?}, and the schedule's time zone is {:?}",
                named.name(),
                asked.name()
            );
            return Err(SpecError::at("TZID", line.position, problem));
        }
        (Some(asked), _) => asked.clone(),
        (None, Some(named)) => named,
        (None, None) => Zone::utc(),
    };
    let start = line.local(*moment, &zone, frame.zones)?;
    Ok((start, zone))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::zone::Zones;

    #[test]
    fn a_search_that_is_given_up_is_not_taken_for_the_end_of_the_set() {
        let zones = Zones::bundled();
        let frame = Frame {
            zone: None,
            zones: &zones,
            anchor: Timestamp::UNIX_EPOCH,
        };
        let (set, _) = Rrule::read("RRULE:FREQ=DAILY", frame).expect("a rule");
        let mut budget = Budget::of_search();
        while budget.spend(1).is_ok() {}
        let later = Date::constant(2026, 1, 1).at(0, 0, 0, 0);
        assert_eq!(set.member(later, &mut budget), Err(Spent));
    }
}
