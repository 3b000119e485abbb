//! Which traces are recorded, as the OpenTelemetry specification has its samplers.

/// Decides about a trace where it begins, or comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sampler {
    /// Whether who calls decides about a trace that he has begun.
    pub(super) follows_parent: bool,
    threshold: u64,
}

/// Of so many traces the threshold is a part.
const WHOLE: u64 = 1 << 63;

impl Sampler {
    /// Records this part of all traces, from 0 to 1. The others of a trace, which ask the same, come to the same answer.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "of a part of 2^63 the last digits say nothing"
    )]
    pub(super) fn new(ratio: f64, follows_parent: bool) -> Self {
        let ratio = ratio.clamp(0.0, 1.0);
        Self {
            follows_parent,
            threshold: (ratio * WHOLE as f64) as u64,
        }
    }

    /// Whether a trace is recorded; `parent` is what its caller says, if it came from one.
    pub(super) fn records(self, parent: Option<bool>, trace_id: u128) -> bool {
        match parent {
            Some(recorded) if self.follows_parent => recorded,
            _ => {
                // Of the id the last eight bytes are random in any case.
                let low = trace_id & u128::from(u64::MAX);
                low >> 1 < u128::from(self.threshold)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::TraceContext;

    #[test]
    fn a_ratio_takes_that_part_of_the_traces() {
        for (ratio, expected) in [(0.0, 0..=0), (0.25, 2_300..=2_700), (1.0, 10_000..=10_000)] {
            let sampler = Sampler::new(ratio, true);
            let recorded = (0..10_000)
                .filter(|_| sampler.records(None, TraceContext::root().trace_id))
                .count();
            assert!(expected.contains(&recorded), "{ratio}: {recorded}");
        }
    }

    #[test]
    fn a_caller_decides_where_he_is_followed() {
        let (follows, alone) = (Sampler::new(0.0, true), Sampler::new(1.0, false));
        assert!(follows.records(Some(true), 1) && !follows.records(None, 1));
        assert!(alone.records(Some(false), 1));
        assert!(!Sampler::new(1.0, true).records(Some(false), 1));
    }
}
