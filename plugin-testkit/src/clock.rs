//! A clock that goes at the right speed and shows the wrong time.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use nself::capability::clock::{HostClock, SystemClock};

/// The machine's clock, with its time set wrong.
#[derive(Debug, Default)]
pub struct WrongClock {
    machine: SystemClock,
    ahead_us: AtomicI64,
}

impl WrongClock {
    /// Sets it so many seconds ahead, or behind when they are negative.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead_us
            .store(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
    }
}

impl HostClock for WrongClock {
    fn now_us(&self) -> i64 {
        self.machine.now_us() + self.ahead_us.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.machine.monotonic_ns()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.machine.sleep(duration)
    }
}
