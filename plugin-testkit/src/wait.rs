//! Waiting: for a condition, with a limit.

use std::time::Duration;

/// Longest wait of a test. Long enough for a loaded machine; nothing waits so long when it works.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Asks until there is an answer.
///
/// # Panics
///
/// After [`LIMIT`], with `what` was waited for.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    within(what, asking).await
}

/// Awaits `work`.
///
/// # Panics
///
/// After [`LIMIT`], with `what` was waited for.
pub async fn within<F: Future>(what: &str, work: F) -> F::Output {
    tokio::time::timeout(LIMIT, work)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {} s", LIMIT.as_secs()))
}
