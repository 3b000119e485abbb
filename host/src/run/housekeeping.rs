//! The host's own recurring work, done by one host of a database at a time: what has run out is removed, so that no table
//! only grows.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tracing::warn;

use crate::plugin::services::Services;

/// Between two looks for values that have run out.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Values removed in one statement.
const SWEEP_STEP: u32 = 1_000;

/// Between two looks for old events.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// How long an event is kept after every subscriber has had it.
const EVENTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Starts the work; it ends when the handle is aborted.
pub(super) fn start(services: Arc<Services>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let lease = services.leases.acquire("nself:housekeeping").await;
            tokio::select! {
                () = lease.lost() => {}
                () = keep_house(&services) => {}
            }
        }
    })
}

async fn keep_house(services: &Services) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    loop {
        tokio::select! {
            _ = sweep.tick() => sweep_values(services).await,
            _ = prune.tick() => {
                if let Err(failure) = services.events.prune(EVENTS_KEPT).await {
                    warn!(error = %failure, "cannot prune the event log");
                }
            }
        }
    }
}

async fn sweep_values(services: &Services) {
    loop {
        match services.kv.sweep(SWEEP_STEP).await {
            Ok(removed) if removed >= u64::from(SWEEP_STEP) => {}
            Ok(_) => return,
            Err(failure) => return warn!(error = %failure, "cannot sweep values that have run out"),
        }
    }
}
