//! Logs of the hosts: shown with the output of a test that fails.

use std::sync::Once;

use tracing_subscriber::EnvFilter;

/// Which records are kept, in the words of `tracing_subscriber`'s filter; `warn` when unset.
const VARIABLE: &str = "NSELF_TEST_LOG";

/// Sends what hosts log to the test's own output, which cargo shows when the test fails.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("warn"));
        // A test that has set a subscriber of its own keeps it.
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_ansi(false)
            .with_env_filter(filter)
            .try_init();
    });
}
