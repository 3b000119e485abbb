//! Rates of one connection: so many things in a second, and not all of them at once for ever.

use std::time::Duration;

/// What may still be done at once.
pub(super) struct Allowance {
    left: f64,
    at: Duration,
}

impl Allowance {
    /// All that may be done at once.
    pub(super) fn full(burst: f64, now: Duration) -> Self {
        Self {
            left: burst,
            at: now,
        }
    }

    /// Whether one more may be done now, where `rate` come back in a second.
    pub(super) fn take(&mut self, rate: f64, burst: f64, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * rate).min(burst);
        self.at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_adds_up_to_the_burst_and_no_further() {
        let second = Duration::from_secs;
        let mut allowance = Allowance::full(3.0, second(0));
        let mut take = |at| allowance.take(1.0, 3.0, second(at));
        assert_eq!(
            [take(0), take(0), take(0), take(0)],
            [true, true, true, false]
        );
        assert_eq!([take(1), take(1)], [true, false]);
        let later = [take(100), take(100), take(100), take(100)];
        assert_eq!(later, [true, true, true, false]);
        // A clock that stands still or goes back gives nothing.
        assert!(!take(99));
    }
}
