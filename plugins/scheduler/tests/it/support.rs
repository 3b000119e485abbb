//! What the tests share: schedules from a few words, and instants from text.

use jiff::Timestamp;
use nself_plugin_scheduler::{Definition, SpecError, Timing, Zones};

pub(crate) fn instant(text: &str) -> Timestamp {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?} is not an instant: {error}"))
}

/// A definition made at the beginning of 2026, as it comes.
pub(crate) fn definition(spec: &str) -> Definition<'_> {
    Definition::new(spec, instant("2026-01-01T00:00:00Z"))
}

pub(crate) fn try_read(definition: &Definition<'_>) -> Result<Timing, SpecError> {
    Timing::read(definition, &Zones::bundled())
}

#[track_caller]
pub(crate) fn read(definition: &Definition<'_>) -> Timing {
    try_read(definition).unwrap_or_else(|error| panic!("{:?}: {error}", definition.spec))
}

/// The first fires after an instant, as the walls of the zone show them.
pub(crate) fn fires(timing: &Timing, after: Timestamp, count: usize) -> Vec<String> {
    let tz = timing.zone().tz();
    timing
        .after(after)
        .take(count)
        .map(|fire| {
            fire.to_zoned(tz.clone())
                .strftime("%Y-%m-%dT%H:%M:%S%:z")
                .to_string()
        })
        .collect()
}
