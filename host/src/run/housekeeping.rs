//! The host's own recurring work, done by one host of a database at a time: what has run out is removed, so that no table
//! only grows.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::{audit::months, plugin::services::Services};

/// Between two looks for values that have run out.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Values removed in one statement.
const SWEEP_STEP: u32 = 1_000;

/// Between two looks for old events.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// How long an event is kept after every subscriber has had it.
const EVENTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Between two looks whether a month is over.
const CLOSE_EVERY: Duration = Duration::from_secs(3_600);

/// What becomes of old months of the audit log.
pub(super) struct Archive {
    /// How many months stay in the database besides the current one.
    pub(super) keep_months: u32,
    /// Where the others go.
    pub(super) directory: PathBuf,
}

/// Starts the work; it ends when the handle is aborted.
pub(super) fn start(services: Arc<Services>, archive: Option<Archive>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let lease = services.leases.acquire("nself:housekeeping").await;
            tokio::select! {
                () = lease.lost() => {}
                () = keep_house(&services, archive.as_ref()) => {}
            }
        }
    })
}

async fn keep_house(services: &Services, archive: Option<&Archive>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let mut close = tokio::time::interval(CLOSE_EVERY);
    loop {
        tokio::select! {
            _ = sweep.tick() => sweep_values(services).await,
            _ = close.tick() => close_months(services, archive).await,
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

/// What cannot be done now, because somebody writes or the database is away, is done at the next look.
async fn close_months(services: &Services, archive: Option<&Archive>) {
    let mut client = match services.pool.get().await {
        Ok(client) => client,
        Err(failure) => return warn!(error = %failure, "cannot close months of the audit log"),
    };
    match months::close(&mut client).await {
        Ok(sealed) if sealed.is_empty() => {}
        Ok(sealed) => info!(months = ?sealed, "audit log: months sealed"),
        Err(failure) => return warn!(error = %failure, "cannot close months of the audit log"),
    }
    let Some(Archive {
        keep_months,
        directory,
    }) = archive
    else {
        return;
    };
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let Ok(first_kept) = today
        .first_of_month()
        .checked_sub(i64::from(*keep_months).months())
    else {
        return;
    };
    if let Err(failure) = months::put_away(&mut client, first_kept, directory).await {
        warn!(error = %failure, "cannot put away a month of the audit log");
    }
}
