//! `@at 2026-12-24T18:00:00+01:00`: once.

use jiff::Timestamp;

use super::after;
use crate::error::SpecError;

/// The instant's text in a schedule that is one, with or without the word, and its position.
pub(super) fn text_of(text: &str) -> Option<(&str, usize)> {
    after(text, "@at").or_else(|| {
        let bare = text.trim();
        let looks_so = bare.len() > 10
            && bare.as_bytes()[4] == b'-'
            && bare.as_bytes()[..4].iter().all(u8::is_ascii_digit);
        looks_so.then(|| (bare, text.len() - text.trim_start().len() + 1))
    })
}

/// Reads an instant.
pub(super) fn read(text: &str, position: usize) -> Result<Timestamp, SpecError> {
    // Annotations such as `[Europe/Berlin]` are not RFC 3339, and would be read with data that this plugin does not choose.
    if !text.contains('[')
        && let Ok(instant) = text.parse::<Timestamp>()
        && instant.subsec_nanosecond() == 0
    {
        return Ok(instant);
    }
    Err(SpecError::at(
        "@at",
        position,
        format!(
            "{text:?} is not an instant in whole seconds as RFC 3339 writes it: \"2030-01-01T09:00:00+01:00\" or \"2030-01-01T08:00:00Z\""
        ),
    ))
}
