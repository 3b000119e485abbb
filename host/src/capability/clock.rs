//! `nself.clock/1`: time from one source that tests can steer.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use nself_plugin_api::abi::{capability::clock::ClockProvider, error::Error};
use tokio::sync::watch;

/// A source of time, shared by the host and all plugins.
pub trait HostClock: Send + Sync + 'static {
    /// Microseconds since the Unix epoch.
    fn now_us(&self) -> i64;
    /// The same moment as the standard library has it.
    fn system_time(&self) -> SystemTime {
        let now_us = self.now_us();
        let distance = Duration::from_micros(now_us.unsigned_abs());
        if now_us < 0 {
            UNIX_EPOCH - distance
        } else {
            UNIX_EPOCH + distance
        }
    }
    /// Nanoseconds of a clock that never goes back.
    fn monotonic_ns(&self) -> u64;
    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Whether any process on this machine can tell the same time by itself.
    fn is_the_machines(&self) -> bool {
        false
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl HostClock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => since(after),
            Err(before) => -since(before.duration()),
        }
    }

    fn monotonic_ns(&self) -> u64 {
        nanoseconds(self.started.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn is_the_machines(&self) -> bool {
        true
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct TestClock {
    start_us: i64,
    elapsed: watch::Sender<Duration>,
}

impl TestClock {
    /// Stands at `start_us`, microseconds since the Unix epoch.
    pub fn new(start_us: i64) -> Self {
        Self {
            start_us,
            elapsed: watch::Sender::new(Duration::ZERO),
        }
    }

    /// Moves on and wakes every sleeper whose time has come.
    pub fn advance(&self, duration: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += duration);
    }

    /// How many sleep now. A test waits for the sleeper before it advances, or the sleeper starts too late.
    pub fn sleepers(&self) -> usize {
        self.elapsed.receiver_count()
    }
}

impl HostClock for TestClock {
    fn now_us(&self) -> i64 {
        let elapsed = i64::try_from(self.elapsed.borrow().as_micros()).unwrap_or(i64::MAX);
        self.start_us.saturating_add(elapsed)
    }

    fn monotonic_ns(&self) -> u64 {
        nanoseconds(*self.elapsed.borrow())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut elapsed = self.elapsed.subscribe();
        let until = elapsed.borrow().saturating_add(duration);
        Box::pin(async move {
            // A clock that is gone never reaches the time; whoever dropped it has ended the test.
            if elapsed.wait_for(|elapsed| *elapsed >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `nself.clock/1`.
pub struct ClockCapability(Arc<dyn HostClock>);

impl ClockCapability {
    /// Tells the time of `clock`.
    pub fn new(clock: Arc<dyn HostClock>) -> Self {
        Self(clock)
    }
}

impl ClockProvider for ClockCapability {
    fn now_us(&self) -> i64 {
        self.0.now_us()
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }

    fn sleep(&self, duration_ms: u64) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let clock = Arc::clone(&self.0);
        async move {
            clock.sleep(Duration::from_millis(duration_ms)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use nself_plugin_api::abi::capability::clock::Clock;

    use super::*;

    #[tokio::test]
    async fn the_system_clock_goes_on() {
        let clock = Clock::new(Arc::new(ClockCapability::new(Arc::new(
            SystemClock::default(),
        ))));
        let (wall, monotonic) = (clock.now_us(), clock.monotonic_ns());
        assert!(wall > 1_700_000_000_000_000);
        clock.sleep(2).await.expect("time passes");
        assert!(clock.now_us() > wall);
        assert!(clock.monotonic_ns() >= monotonic + 2_000_000);
    }

    #[tokio::test]
    async fn a_steered_clock_wakes_those_whose_time_has_come() {
        let steered = Arc::new(TestClock::new(1_000_000));
        let clock = Clock::new(Arc::new(ClockCapability::new(
            Arc::clone(&steered) as Arc<dyn HostClock>
        )));
        let mut short = Box::pin(steered.sleep(Duration::from_secs(60)));
        let mut long = Box::pin(steered.sleep(Duration::from_secs(61)));
        assert_eq!(steered.sleepers(), 2);
        assert!((&mut short).now_or_never().is_none());
        steered.advance(Duration::from_secs(60));
        assert!((&mut short).now_or_never().is_some());
        assert!((&mut long).now_or_never().is_none());
        assert_eq!(clock.now_us(), 61_000_000);
        assert_eq!(steered.system_time(), UNIX_EPOCH + Duration::from_secs(61));
        assert_eq!(clock.monotonic_ns(), 60_000_000_000);
        clock.sleep(0).await.expect("no time is over at once");
    }
}
