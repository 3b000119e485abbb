//! Pauses between two attempts: doubling, with a spread, so that what failed together does not come back together.

use std::time::Duration;

use crate::config::Config;

/// The pause after that many attempts; `random` spreads it over 80 to 120 percent.
pub(super) fn pause(attempts: u32, config: &Config, random: u8) -> Duration {
    let first = u64::from(config.retry_first_seconds) * 1_000;
    let last = u64::from(config.retry_last_seconds) * 1_000;
    let doublings = attempts.saturating_sub(1).min(32);
    let whole = first.saturating_mul(1 << doublings).min(last.max(first));
    let spread = 80 + 40 * u64::from(random) / 255;
    Duration::from_millis(whole * spread / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempts: u32, random: u8, expected_seconds: u64) {
        let pause = pause(attempts, &Config::default(), random);
        assert_eq!(
            pause.as_secs(),
            expected_seconds,
            "after {attempts}, {random}"
        );
    }

    #[test]
    fn pauses_double_from_ten_seconds_to_six_hours_with_a_spread() {
        check(1, 0, 8);
        check(1, 255, 12);
        check(2, 128, 20);
        check(5, 0, 128);
        check(13, 255, 6 * 60 * 60 * 120 / 100);
        check(u32::MAX, 0, 6 * 60 * 60 * 80 / 100);
    }
}
