//! Who waits for a connection of a plugin's pool, and for how long.
//!
//! A burst waits for its turn. A queue that does not end is something else: whoever waits in it waits for all before him, and when his
//! turn comes he has often gone. So when no connection has been free for a while, a request waits for a short time and is told then that
//! the database is busy; those that are served have waited no longer than that. This is controlled delay (RFC 8289) with timeouts
//! instead of drops (Maurer, "Fail at Scale", ACM Queue 13(8), 2015). Work that no request waits for is not refused for that.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, Pool, PoolError, TimeoutType, Timeouts};

use crate::postgres::connect::WAIT_TIMEOUT;

/// A queue that has stood for this long is taken for one that does not end.
const STANDING: Duration = Duration::from_millis(100);
/// Shortest wait in such a queue.
const WAIT: Duration = Duration::from_millis(75);
/// Longest one, in uses of a connection: where each takes long, a few of them are no overload.
const USES: u32 = 4;

/// The pool, and how long nothing in it was free.
pub(super) struct Queue {
    pool: Pool,
    since: Instant,
    /// When a connection was there for the asking, in microseconds.
    free_at: AtomicU64,
    /// How many were lent after that.
    lent: AtomicU32,
}

impl Queue {
    pub(super) fn of(pool: Pool) -> Self {
        Self {
            pool,
            since: Instant::now(),
            free_at: AtomicU64::new(0),
            lent: AtomicU32::new(0),
        }
    }

    /// A connection, at once or in a while. Behind `is_awaited` there is a request that can be told to come again.
    pub(super) async fn connection(&self, is_awaited: bool) -> Result<Object, PoolError> {
        match self.get(Duration::ZERO).await {
            Err(PoolError::Timeout(TimeoutType::Wait)) => {}
            other => {
                self.free_at.store(self.micros(), Relaxed);
                self.lent.store(0, Relaxed);
                return other;
            }
        }
        let standing = self.micros().saturating_sub(self.free_at.load(Relaxed));
        let patience = if is_awaited {
            let size = u32::try_from(self.pool.status().max_size).unwrap_or(u32::MAX);
            let standing = Duration::from_micros(standing);
            patience(standing, self.lent.load(Relaxed), size)
        } else {
            WAIT_TIMEOUT
        };
        let lent = self.get(patience).await;
        if lent.is_ok() {
            self.lent.fetch_add(1, Relaxed);
        }
        lent
    }

    async fn get(&self, wait: Duration) -> Result<Object, PoolError> {
        let timeouts = Timeouts {
            wait: Some(wait),
            ..self.pool.timeouts()
        };
        self.pool.timeout_get(&timeouts).await
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// How long to wait in a queue that has stood for so long, in which time so many of `size` connections were lent.
fn patience(standing: Duration, lent: u32, size: u32) -> Duration {
    if standing < STANDING {
        return WAIT_TIMEOUT;
    }
    // All of them were in use all the time.
    let one_use = standing.saturating_mul(size) / lent.max(1);
    one_use.saturating_mul(USES).clamp(WAIT, WAIT_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_waits_for_its_turn() {
        assert_eq!(patience(STANDING / 2, 0, 8), WAIT_TIMEOUT);
    }

    #[test]
    fn in_a_queue_that_does_not_end_a_request_waits_for_a_few_uses_at_most() {
        // 1,600 a second with eight connections: 5 ms each.
        assert_eq!(patience(SECOND, 1_600, 8), WAIT);
        assert_eq!(patience(SECOND, 80, 8), Duration::from_millis(400));
    }

    #[test]
    fn where_nothing_was_lent_for_long_nobody_knows_and_all_wait() {
        assert_eq!(patience(SECOND, 0, 8), WAIT_TIMEOUT);
    }
}
