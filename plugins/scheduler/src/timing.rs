//! A schedule's time as a whole: its text, its zone, its bounds and its rules for the two nights, and when it fires next.

use jiff::Timestamp;

use crate::{
    error::SpecError,
    local::Spent,
    next,
    rule::{Gap, Landing, Overlap, Pace},
    spec::{Frame, Spec},
    zone::{Zone, Zones},
};

/// What a schedule is defined by.
#[derive(Debug, Clone, Copy)]
pub struct Definition<'a> {
    /// The text: a cron expression, an interval, an instant or a set of RFC 5545.
    pub spec: &'a str,
    /// The IANA name of the zone of its local times. None: the one that the text names, else UTC.
    pub zone: Option<&'a str>,
    /// The first instant at which it may fire.
    pub start_at: Option<Timestamp>,
    /// The last instant at which it may fire.
    pub end_at: Option<Timestamp>,
    /// When the schedule was made. Intervals count from `start_at`, or from here where there is none.
    pub created_at: Timestamp,
    /// For local times that do not exist.
    pub gap: Gap,
    /// For local times that happen twice.
    pub overlap_time: Overlap,
}

impl<'a> Definition<'a> {
    /// A text, and for all else what is usual.
    pub fn new(spec: &'a str, created_at: Timestamp) -> Self {
        Self {
            spec,
            zone: None,
            start_at: None,
            end_at: None,
            created_at,
            gap: Gap::default(),
            overlap_time: Overlap::default(),
        }
    }
}

/// A schedule's time, read and checked.
#[derive(Debug, Clone)]
pub struct Timing {
    spec: Spec,
    zone: Zone,
    pace: Pace,
    start: i64,
    end: i64,
}

impl Timing {
    /// Reads a definition.
    ///
    /// # Errors
    ///
    /// It cannot be read, or nothing would ever fire.
    pub fn read(definition: &Definition<'_>, zones: &Zones) -> Result<Self, SpecError> {
        let asked = definition.zone.map(|name| zones.get(name)).transpose()?;
        let frame = Frame {
            zone: asked.as_ref(),
            zones,
            anchor: definition
                .start_at
                .map_or(definition.created_at, rounded_up),
        };
        let (spec, zone) = Spec::read(definition.spec, frame)?;
        let timing = Self {
            pace: pace(&spec, definition),
            spec,
            zone,
            start: definition
                .start_at
                .map_or(i64::MIN, |start| rounded_up(start).as_second()),
            end: definition.end_at.map_or(i64::MAX, floor),
        };
        if timing.start > timing.end {
            return Err(SpecError::whole("end_at", "lies before start_at"));
        }
        if timing.first()?.is_none() {
            return Err(SpecError::whole(
                "schedule",
                "never fires between its start and its end",
            ));
        }
        Ok(timing)
    }

    /// The first fire after an instant, that instant excluded. None: it never fires again, or [`Self::find_after`] knows why
    /// that cannot be said.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.find_after(after).ok().flatten()
    }

    /// As [`Self::next_after`], and tells a schedule that has ended from one whose next fire is not found in bearable time.
    ///
    /// # Errors
    ///
    /// The search was given up.
    pub fn find_after(&self, after: Timestamp) -> Result<Option<Timestamp>, SpecError> {
        self.at_or_after(floor(after).saturating_add(1))
    }

    /// All fires after an instant, in order.
    pub fn after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }

    /// The text in the one form in which it is stored. It reads as the same schedule, whatever the anchor.
    pub fn canonical(&self) -> String {
        self.spec.canonical()
    }

    /// The zone of its local times.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The very first fire: for a rule the first of the set, even if that lies before the schedule was made.
    fn first(&self) -> Result<Option<Timestamp>, SpecError> {
        self.at_or_after(SEARCH_START)
    }

    fn at_or_after(&self, second: i64) -> Result<Option<Timestamp>, SpecError> {
        let from = second.max(self.start);
        let found = match &self.spec {
            Spec::At(instant) => Ok(Some(instant.as_second()).filter(|instant| *instant >= from)),
            Spec::Every(every) => Ok(every.at_or_after(from)),
            Spec::Cron(cron) => next::at_or_after(cron, &self.zone, self.pace, from),
            Spec::Rrule(rule) => next::at_or_after(rule.as_ref(), &self.zone, self.pace, from),
        };
        let found = found.map_err(|Spent| {
            let problem = "its next fire is so far away that the search for it was given up";
            SpecError::whole("schedule", problem)
        })?;
        Ok(found
            .filter(|found| *found <= self.end)
            .and_then(next::instant))
    }
}

/// Before all that a schedule could name: 1600-01-01.
const SEARCH_START: i64 = -11_676_096_000;

fn pace(spec: &Spec, definition: &Definition<'_>) -> Pace {
    let fixed = |landing| Pace::Fixed {
        gap: definition.gap,
        overlap: definition.overlap_time,
        landing,
    };
    match spec {
        Spec::Cron(cron) if !cron.is_interval() => fixed(Landing::Edge),
        Spec::Rrule(rule) if !rule.is_interval() => fixed(Landing::Shifted),
        _ => Pace::Interval,
    }
}

/// The second that an instant lies in. jiff truncates towards 1970, which is upwards before it.
fn floor(instant: Timestamp) -> i64 {
    instant.as_second() - i64::from(instant.subsec_nanosecond() < 0)
}

/// The first whole second that is not before an instant.
fn rounded_up(instant: Timestamp) -> Timestamp {
    let second = instant.as_second() + i64::from(instant.subsec_nanosecond() > 0);
    Timestamp::from_second(second).unwrap_or(instant)
}
