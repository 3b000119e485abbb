//! The text of a schedule: read, checked, and written down again in one form.
//!
//! Why the matchers are ours. `croner` 4 (MIT, maintained, works with jiff) decides about DST inside of its search, has no bounds
//! that one can state, and its errors do not say where; with the local part, the zone part and the errors taken away what is left
//! is less code than gluing it in. It is the second opinion of our tests instead. `rrule` 0.14 (MIT or Apache-2.0, last release of
//! 2025) brings chrono, chrono-tz (a second copy of the tz database) and regex into a library that should stay below 1.5 MB,
//! and walks through every occurrence since DTSTART to find the next. So there is one time library, jiff, as in the rest of the
//! house.

pub(crate) mod at;
mod clock;
pub(crate) mod cron;
pub(crate) mod every;
pub(crate) mod rrule;

use jiff::Timestamp;

use crate::{
    error::SpecError,
    zone::{Zone, Zones},
};
pub(crate) use clock::Clock;
use {cron::Cron, every::Every, rrule::Rrule};

/// The longest text of a schedule. A rule with a few hundred exceptions fits; what is longer is not a schedule.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// What a schedule says about when.
#[derive(Debug, Clone)]
pub(crate) enum Spec {
    Cron(Cron),
    Every(Every),
    At(Timestamp),
    Rrule(Box<Rrule>),
}

/// What a text is read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The zone that was asked for beside the text.
    pub(crate) zone: Option<&'a Zone>,
    /// All zones, for those that the text names itself.
    pub(crate) zones: &'a Zones,
    /// Where intervals begin, and rules that do not say where they do.
    pub(crate) anchor: Timestamp,
}

impl Spec {
    /// Reads a text, and the zone that its local times are in.
    pub(crate) fn read(text: &str, frame: Frame<'_>) -> Result<(Self, Zone), SpecError> {
        if text.len() > TEXT_BYTES_MAX {
            let problem = format!("is longer than {TEXT_BYTES_MAX} bytes");
            return Err(SpecError::whole("schedule", problem));
        }
        ascii(text)?;
        if text.trim().is_empty() {
            let problem = "is empty: write a cron expression, \"@every 1h\", \"@at 2030-01-01T00:00:00Z\" or an RRULE";
            return Err(SpecError::whole("schedule", problem));
        }
        if rrule::is_one(text) {
            let (rule, zone) = Rrule::read(text, frame)?;
            return Ok((Self::Rrule(Box::new(rule)), zone));
        }
        let zone = frame.zone.cloned().unwrap_or_else(Zone::utc);
        let spec = if let Some((text, position)) = every::text_of(text) {
            Self::Every(Every::read(text, position, frame.anchor)?)
        } else if let Some((text, position)) = at::text_of(text) {
            Self::At(at::read(text, position)?)
        } else {
            Self::Cron(Cron::read(text)?)
        };
        Ok((spec, zone))
    }

    /// The one form in which this is stored and shown.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::Cron(cron) => cron.canonical().to_owned(),
            Self::Every(every) => every.canonical(),
            Self::At(instant) => format!("@at {instant}"),
            Self::Rrule(rule) => rule.canonical().to_owned(),
        }
    }
}

/// Everything that a schedule can say is ASCII; a no-break space from a web page shall not be a riddle.
fn ascii(text: &str) -> Result<(), SpecError> {
    let odd = text.chars().enumerate().find(|(_, one)| {
        !one.is_ascii() || one.is_ascii_control() && !matches!(one, '\t' | '\r' | '\n')
    });
    odd.map_or(Ok(()), |(before, one)| {
        Err(SpecError::at(
            "schedule",
            before + 1,
            format!("{one:?} cannot be part of a schedule"),
        ))
    })
}

/// The rest of a text after a word such as `@every`, and the position at which the rest begins.
fn after<'a>(text: &'a str, word: &str) -> Option<(&'a str, usize)> {
    let start = text.len() - text.trim_start().len();
    let head = text.get(start..start + word.len())?;
    let rest = &text[start + word.len()..];
    if !head.eq_ignore_ascii_case(word) || !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let value = rest.trim_start();
    Some((value.trim_end(), text.len() - value.len() + 1))
}
