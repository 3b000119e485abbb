//! `@every 90s`, `@every PT1H30M`, `1h30m`: an interval of real time, counted from the schedule's anchor.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, Unit};

use super::after;
use crate::error::SpecError;

/// The longest interval: whoever means more means a calendar.
const SECONDS_MAX: i64 = 10 * 366 * 86_400;

/// A number of seconds, and where it is counted from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Every {
    seconds: i64,
    anchor: i64,
}

impl Every {
    /// Reads a duration.
    pub(super) fn read(text: &str, position: usize, anchor: Timestamp) -> Result<Self, SpecError> {
        let fail = |problem: String| Err(SpecError::at("@every", position, problem));
        let Ok(span) = text.parse::<Span>() else {
            return fail(format!(
                "{text:?} is not a duration: write \"90s\", \"1h30m\" or \"PT90S\""
            ));
        };
        if span.get_years() != 0 || span.get_months() != 0 {
            return fail(
                "months and years are not of one length: use a cron expression or an RRULE"
                    .to_owned(),
            );
        }
        // Real time: a day is 24 hours, on those nights as well.
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
        let duration = duration.unwrap_or(SignedDuration::MAX);
        if duration.subsec_nanos() != 0 || duration.as_secs() < 1 {
            return fail(format!(
                "{text:?} is not a whole number of seconds from one up"
            ));
        }
        if duration.as_secs() > SECONDS_MAX {
            return fail(format!("{text:?} is longer than ten years"));
        }
        Ok(Self {
            seconds: duration.as_secs(),
            anchor: anchor.as_second(),
        })
    }

    /// The first second of it that is not before `from`: the anchor is one, and nothing before it is.
    pub(crate) fn at_or_after(&self, from: i64) -> Option<i64> {
        let since = from.checked_sub(self.anchor)?.max(0);
        let steps = since / self.seconds + i64::from(since % self.seconds != 0);
        self.anchor.checked_add(steps.checked_mul(self.seconds)?)
    }

    pub(super) fn canonical(&self) -> String {
        let duration = SignedDuration::from_secs(self.seconds);
        let span = Span::try_from(duration).and_then(|span| {
            span.round(
                jiff::SpanRound::new()
                    .largest(Unit::Hour)
                    .smallest(Unit::Second),
            )
        });
        span.map_or_else(
            |_| format!("@every {}s", self.seconds),
            |span| format!("@every {span}"),
        )
    }
}

/// The duration's text in a schedule that is one, with or without the word, and its position.
pub(super) fn text_of(text: &str) -> Option<(&str, usize)> {
    after(text, "@every").or_else(|| {
        let bare = text.trim();
        let one_word = !bare.contains([' ', '\t', '\n']);
        let looks_so = bare.starts_with(['P', 'p'])
            || bare.starts_with(|first: char| first.is_ascii_digit())
                && bare.ends_with(|last: char| last.is_ascii_alphabetic())
                && !bare.contains([':', '-']);
        (one_word && looks_so).then(|| (bare, text.len() - text.trim_start().len() + 1))
    })
}
