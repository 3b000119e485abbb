//! A token bucket: what is asked, and what the answer means.
//!
//! The state is text, the same in both stores: `b <tokens> <at>`, the tokens that were left at a microsecond of the
//! store's clock; what has come since is added when somebody looks. A bucket that has had the time to fill up expires.

use nself_plugin_api::abi::capability::kv::Take;

use super::{KvError, TTL_MS_MAX};

/// A request for tokens, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    capacity: f64,
    period_ms: f64,
    cost: f64,
}

impl Bucket {
    pub(super) fn new(capacity: u32, period_ms: u64, cost: u32) -> Result<Self, KvError> {
        if capacity == 0 || period_ms == 0 || cost > capacity {
            return Err(KvError::BucketInvalid {
                capacity,
                period_ms,
                cost,
            });
        }
        #[expect(clippy::cast_precision_loss, reason = "the limit is far below 2^53")]
        let period_ms = period_ms.min(TTL_MS_MAX) as f64;
        Ok(Self {
            capacity: capacity.into(),
            period_ms,
            cost: cost.into(),
        })
    }

    pub(super) fn capacity(&self) -> f64 {
        self.capacity
    }

    pub(super) fn period_us(&self) -> f64 {
        self.period_ms * 1000.0
    }

    pub(super) fn cost(&self) -> f64 {
        self.cost
    }

    /// The answer, from what the store decided and the tokens that are left.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "tokens lie in 0..=capacity, a u32"
    )]
    pub(super) fn answer(&self, allowed: bool, tokens: f64) -> Take {
        let missing = (self.cost - tokens).max(0.0);
        let wait_ms = (missing * self.period_ms / self.capacity).ceil().max(1.0);
        Take {
            allowed: allowed.into(),
            remaining: tokens.max(0.0) as u32,
            retry_ms: if allowed { 0 } else { wait_ms as u64 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_caller_learns_when_the_tokens_will_be_there() {
        let bucket = Bucket::new(10, 1000, 5).expect("the bucket is sound");
        assert_eq!(
            bucket.answer(false, 2.5),
            Take {
                allowed: 0,
                remaining: 2,
                retry_ms: 250
            }
        );
        assert_eq!(
            bucket.answer(true, 2.5),
            Take {
                allowed: 1,
                remaining: 2,
                retry_ms: 0
            }
        );
        assert_eq!(
            bucket.answer(false, 4.999_999_9).retry_ms,
            1,
            "never at once"
        );
    }

    #[test]
    fn a_bucket_that_can_never_give_is_refused() {
        for (capacity, period_ms, cost) in [(0, 1000, 0), (1, 0, 1), (5, 1000, 6)] {
            let error = Bucket::new(capacity, period_ms, cost).expect_err("it can never give");
            assert_eq!(error.code(), "KV_BUCKET_INVALID");
        }
    }
}
