//! Time, steerable in tests.

use crate::abi::interface::interface;

interface! {
    /// The host's clock.
    pub interface Clock: ClockProvider / ClockTable = "nself.clock/1" {
        /// Microseconds since the Unix epoch.
        sync fn now_us() -> i64;
        /// Nanoseconds of a clock that never goes back.
        sync fn monotonic_ns() -> u64;
        /// Resolves after that many milliseconds.
        async fn sleep(duration_ms: u64);
    }
}
