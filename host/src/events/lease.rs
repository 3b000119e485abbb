//! Holding a cursor: renewed while the work goes on, given up when it cannot be renewed.

use std::time::Instant;

use super::error::EventError;
use super::held::Held;

/// Prolongs the lease until that fails; returns why it is lost. Never returns while it is held.
pub(super) async fn keep(held: &Held<'_>) -> EventError {
    let lease = held.subscriber.tuning.lease;
    let mut renewed = Instant::now();
    loop {
        // Half of it, so that an idle host is one and a second attempt still fits.
        tokio::time::sleep(lease / 2).await;
        // A database that does not answer must not keep us from noticing that the time is over.
        match tokio::time::timeout(lease / 4, held.renew()).await {
            Ok(Ok(())) => renewed = Instant::now(),
            Ok(Err(error @ EventError::LeaseLost { .. })) => return error,
            Ok(Err(error)) => {
                tracing::warn!(%error, subscriber = held.subscriber.name, "cannot prolong the lease");
            }
            Err(_) => tracing::warn!(
                subscriber = held.subscriber.name,
                "the database does not answer"
            ),
        }
        if renewed.elapsed() >= lease {
            return held.lost();
        }
    }
}
