//! Pausing a queue, and waiting until nothing of it runs.

use std::time::{Duration, Instant};

use nself_plugin_api::{prelude::*, serde_json::json};

use crate::{Jobs, audit, error::JobError, store};

/// Pauses between two looks, the first and the longest.
const LOOK_AFTER: Duration = Duration::from_millis(20);
const LOOK_AFTER_MAX: Duration = Duration::from_millis(500);

/// Lets nothing of the queue begin.
pub(crate) async fn pause(
    cx: &Cx<Jobs>,
    principal: &Principal,
    name: &str,
    reason: Option<&str>,
) -> Result<()> {
    let tx = cx.db().begin().await?;
    if !store::queues::pause(&tx, name, &principal.subject, reason).await? {
        let name = name.to_owned();
        return Err(JobError::UnknownQueue { name }.into());
    }
    let details = json!({"reason": reason});
    audit::note(&tx, principal, "jobs.queue_paused", name, details).await?;
    tx.commit().await
}

/// Waits until nothing of the queue runs; how many jobs still do when the patience ends.
pub(crate) async fn wait(cx: &Cx<Jobs>, name: &str, patience: Duration) -> Result<i64> {
    let (since, mut pause) = (Instant::now(), LOOK_AFTER);
    loop {
        let running = store::queues::running(&cx.db(), name).await?;
        let left = patience.saturating_sub(since.elapsed());
        if running == 0 || left.is_zero() {
            return Ok(running);
        }
        cx.clock().sleep(pause.min(left)).await?;
        pause = (pause * 2).min(LOOK_AFTER_MAX);
    }
}
