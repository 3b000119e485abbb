//! Who reads the log, and how patiently.

use std::time::Duration;

use super::error::EventError;

/// A reader of the log with a durable cursor.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// Names the cursor; `<plugin>/<subscription>` for a plugin's.
    pub name: String,
    /// `family.member_joined`, `family.*` (everything below it) or `*`.
    pub types: Vec<String>,
    /// Where a subscriber begins that has no cursor yet.
    pub start_at: StartAt,
    /// Times and counts.
    pub tuning: Tuning,
}

/// Where a new subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With what happens from now on: a plugin that is enabled late should not greet everybody again. While an older
    /// transaction is open, what was committed since it began counts as now.
    Now,
    /// With the oldest event that is kept.
    Beginning,
}

/// Times and counts of a reader.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// How many events are fetched and acknowledged together at most. A crash repeats no more than that.
    pub batch_max: u32,
    /// How long a replica that died keeps the others waiting.
    pub lease: Duration,
    /// How often an idle reader looks without being woken.
    pub sweep: Duration,
    /// How often an event is tried before it is put aside.
    pub attempts_max: u32,
    /// The pause after the first failure; it doubles with each one.
    pub retry_pause: Duration,
    /// The longest pause between two attempts.
    pub retry_pause_max: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            batch_max: 100,
            lease: Duration::from_secs(15),
            sweep: Duration::from_secs(30),
            attempts_max: 10,
            retry_pause: Duration::from_millis(500),
            retry_pause_max: Duration::from_secs(60),
        }
    }
}

impl Tuning {
    /// The pause after this many failed attempts.
    pub(super) fn pause_after(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        self.retry_pause
            .saturating_mul(1 << doublings)
            .min(self.retry_pause_max)
    }
}

impl Subscriber {
    /// A subscriber that begins now, with the usual times and counts.
    pub fn new(name: impl Into<String>, types: &[&str]) -> Self {
        Self {
            name: name.into(),
            types: types.iter().map(|&pattern| pattern.to_owned()).collect(),
            start_at: StartAt::Now,
            tuning: Tuning::default(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), EventError> {
        match self.types.iter().find(|pattern| !is_pattern(pattern)) {
            Some(pattern) => Err(EventError::Pattern {
                pattern: pattern.clone(),
            }),
            None => Ok(()),
        }
    }
}

fn is_pattern(pattern: &str) -> bool {
    let prefix = pattern.strip_suffix(".*").unwrap_or(pattern);
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    pattern == "*" || prefix.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_only_for_the_rest() {
        for pattern in ["*", "family.*", "family.member.*", "family.member_joined"] {
            assert!(is_pattern(pattern), "{pattern}");
        }
        for pattern in [
            "", "*.joined", "family.", "family*", "Family.*", ".*", "family.%",
        ] {
            assert!(!is_pattern(pattern), "{pattern}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let tuning = Tuning::default();
        assert_eq!(tuning.pause_after(1), Duration::from_millis(500));
        assert_eq!(tuning.pause_after(3), Duration::from_secs(2));
        assert_eq!(tuning.pause_after(4000), Duration::from_secs(60));
    }
}
