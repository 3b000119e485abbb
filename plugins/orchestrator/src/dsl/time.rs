//! Durations: the schema's object of days to milliseconds, and ISO 8601.

use jiff::SignedDuration;
use serde_json::Value;

/// A length of time.
pub type Span = SignedDuration;

/// Days of a year and of a month, where a text has them: a duration has no calendar to stand on.
const YEAR_DAYS: f64 = 365.0;
const MONTH_DAYS: f64 = 30.0;
const DAY_SECONDS: f64 = 86_400.0;

/// The length of time that a value means, `None` when it means none.
pub fn duration(value: &Value) -> Option<Span> {
    match value {
        Value::String(text) => iso(text),
        Value::Object(fields) => {
            let mut milliseconds = 0_i64;
            for (unit, amount) in fields {
                let factor = match unit.as_str() {
                    "days" => 86_400_000,
                    "hours" => 3_600_000,
                    "minutes" => 60_000,
                    "seconds" => 1_000,
                    "milliseconds" => 1,
                    _ => return None,
                };
                milliseconds = milliseconds.checked_add(amount.as_i64()?.checked_mul(factor)?)?;
            }
            Some(Span::from_millis(milliseconds))
        }
        _ => None,
    }
}

fn iso(text: &str) -> Option<Span> {
    let mut rest = text.trim().strip_prefix('P')?;
    let mut seconds = 0.0;
    let mut in_time = false;
    let mut found = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            if in_time {
                return None;
            }
            in_time = true;
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        seconds += amount
            * match (unit, in_time) {
                ('Y', false) => YEAR_DAYS * DAY_SECONDS,
                ('M', false) => MONTH_DAYS * DAY_SECONDS,
                ('W', false) => 7.0 * DAY_SECONDS,
                ('D', false) => DAY_SECONDS,
                ('H', true) => 3_600.0,
                ('M', true) => 60.0,
                ('S', true) => 1.0,
                _ => return None,
            };
        found = true;
        rest = &rest[end + unit.len_utf8()..];
    }
    if !found {
        return None;
    }
    Span::try_from_secs_f64(seconds).ok()
}
