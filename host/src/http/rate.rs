//! Rate limits: a token bucket per caller and route (or per caller and plugin, for routes that state nothing).
//!
//! Each bucket is one number, the time at which it will be full again (GCRA), moved by compare-and-swap. The
//! map is bounded: callers that have not been seen for long are forgotten first.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::identity::Principal;

const MINUTE_NANOS: u64 = 60_000_000_000;

/// Who is counted: a person or key wherever it calls from, anybody else by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    Subject(u64),
    Address(IpAddr),
}

impl Caller {
    pub(super) fn of(principal: Option<&Principal>, peer: SocketAddr) -> Self {
        match (principal, peer.ip()) {
            (Some(principal), _) => {
                let mut hasher = DefaultHasher::new();
                (principal.kind, &principal.subject).hash(&mut hasher);
                Self::Subject(hasher.finish())
            }
            (None, IpAddr::V4(address)) => Self::Address(address.into()),
            // A household or a rented machine has a whole /64; counting single addresses would count nothing.
            (None, IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(address) => Self::Address(address.into()),
                None => Self::Address(
                    std::net::Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
                ),
            },
        }
    }
}

/// What a bucket belongs to and how fast it fills. `scope` stays the same over swaps of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) scope: u64,
    pub(super) per_minute: u32,
}

impl Rate {
    pub(super) fn new(scope: &[&str], per_minute: u32) -> Self {
        let mut hasher = DefaultHasher::new();
        scope.hash(&mut hasher);
        Self {
            scope: hasher.finish(),
            per_minute,
        }
    }
}

/// All buckets.
pub(super) struct Rates {
    /// When each bucket is full again, in nanoseconds since `started`.
    buckets: Cache<(Caller, u64), Arc<AtomicU64>>,
    started: Instant,
}

impl Rates {
    pub(super) fn new(callers_max: usize) -> Self {
        Self {
            buckets: Cache::new(callers_max),
            started: Instant::now(),
        }
    }

    /// Takes one token, or says how long until there is one.
    pub(super) fn take(&self, caller: Caller, rate: Rate, now: Instant) -> Result<(), Duration> {
        if rate.per_minute == 0 {
            return Ok(());
        }
        let now = u64::try_from(now.saturating_duration_since(self.started).as_nanos())
            .unwrap_or(u64::MAX);
        let key = (caller, rate.scope);
        let bucket = self.buckets.get(&key).unwrap_or_else(|| {
            let bucket = Arc::new(AtomicU64::new(0));
            self.buckets.insert(key, Arc::clone(&bucket));
            bucket
        });
        let token = MINUTE_NANOS / u64::from(rate.per_minute);
        let taken = bucket.fetch_update(Relaxed, Relaxed, |full_at| {
            let full_at = full_at.max(now) + token;
            (full_at - now <= MINUTE_NANOS).then_some(full_at)
        });
        taken
            .map(drop)
            .map_err(|full_at| Duration::from_nanos(full_at.max(now) + token - now - MINUTE_NANOS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Caller = Caller::Subject(1);

    #[test]
    fn a_bucket_holds_a_minutes_worth_and_fills_steadily() {
        let (rates, rate) = (Rates::new(16), Rate::new(&["notes"], 60));
        let now = rates.started;
        for _ in 0..60 {
            rates
                .take(ALICE, rate, now)
                .expect("the bucket is full at first");
        }
        let pause = rates
            .take(ALICE, rate, now)
            .expect_err("the bucket is empty");
        assert_eq!(pause, Duration::from_secs(1));
        assert!(
            rates.take(ALICE, rate, now + pause).is_ok(),
            "the pause that was told is enough"
        );
        assert!(
            rates.take(ALICE, rate, now + pause).is_err(),
            "and good for one request"
        );
        assert!(
            rates.take(Caller::Subject(2), rate, now).is_ok(),
            "others have buckets of their own"
        );
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_bucket() {
        let caller =
            |ip: &str| Caller::of(None, SocketAddr::new(ip.parse().expect("an address"), 1));
        assert_eq!(caller("2001:db8::1"), caller("2001:db8::ffff"));
        assert_ne!(caller("2001:db8::1"), caller("2001:db8:0:1::1"));
        assert_ne!(caller("192.0.2.1"), caller("192.0.2.2"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
    }

    #[test]
    fn more_callers_than_the_map_holds_do_not_make_it_grow() {
        let (rates, rate) = (Rates::new(100), Rate::new(&["notes"], 1));
        for number in 0..10_000 {
            let _ = rates.take(Caller::Subject(number), rate, rates.started);
        }
        assert!(rates.buckets.len() <= 100, "{}", rates.buckets.len());
    }
}
