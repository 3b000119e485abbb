//! Fuzz targets: texts of schedules.

#[macro_use]
#[path = "../../../fuzz/targets.rs"]
mod targets;

use std::sync::LazyLock;

use jiff::Timestamp;

use crate::{Definition, Timing, Zones};

targets! {
    cron: expression,
    rrule: rule,
}

static ZONES: LazyLock<Zones> = LazyLock::new(Zones::bundled);

/// Fires that are asked for.
const FIRES: usize = 4;

/// Whatever a schedule can be.
fn expression(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        check(text);
    }
}

/// What stands behind `RRULE:` in a set, and lines that follow.
fn rule(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        check(&format!("DTSTART:20260101T090000Z\nRRULE:{text}"));
    }
}

/// Each fire is after the one before, and the canonical text is one that means the same.
fn check(text: &str) {
    let made = Timestamp::from_second(1_777_777_777).expect("a time of 2026");
    let read = |text: &str| Timing::read(&Definition::new(text, made), &ZONES);
    let Ok(timing) = read(text) else {
        return;
    };
    let canonical = timing.canonical();
    let again = read(&canonical).unwrap_or_else(|error| panic!("{canonical:?}: {error}"));
    assert_eq!(again.canonical(), canonical, "{text:?}");
    let mut last = made;
    for fire in timing.after(made).take(FIRES) {
        assert!(fire > last, "{text:?}: {fire} after {last}");
        assert_eq!(again.next_after(last), Some(fire), "{text:?}");
        last = fire;
    }
}
