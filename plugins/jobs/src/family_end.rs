//! The end of a family: its jobs go with it, and what hangs on them.

use nself_plugin_api::{
    capability::{
        audit::{Entry, append_in},
        db::Transaction,
    },
    prelude::*,
    serde_json::json,
    tracing::info,
    uuid::Uuid,
};

use crate::{Jobs, store::families as store};

/// Most jobs of one transaction, and most finished ones that it looks at.
const JOBS_MAX: i32 = 5_000;
const LOOKS_MAX: i32 = 20_000;
/// How long jobs are looked for that somebody enqueues for a family which is gone already.
const STRAGGLERS_HOURS: i32 = 24;

/// A family was purged.
pub(crate) async fn purged(cx: Cx<Jobs>, event: Event) -> Result<()> {
    let Some(family) = event.family_id else {
        return Ok(());
    };
    store::note_gone(&cx.db(), family).await?;
    let forgotten = forget(&cx, family).await?;
    info!(forgotten, "jobs of a family that is gone");
    Ok(())
}

/// Looks once more for jobs of families that are gone; how many there were.
pub(crate) async fn stragglers(cx: &Cx<Jobs>) -> Result<i64> {
    let mut forgotten = 0;
    for family in store::gone(&cx.db(), STRAGGLERS_HOURS).await? {
        forgotten += forget(cx, family).await?;
    }
    Ok(forgotten)
}

/// Takes away all jobs of a family; how many. Done again it finds nothing, so it may be cut off anywhere.
async fn forget(cx: &Cx<Jobs>, family: Uuid) -> Result<i64> {
    let mut forgotten = 0;
    loop {
        let tx = cx.db().begin().await?;
        let jobs = store::forget(&tx, family, JOBS_MAX).await?;
        end_step(tx, family, forgotten, jobs).await?;
        forgotten += jobs;
        if jobs == 0 {
            break;
        }
    }
    let mut after = 0;
    loop {
        let tx = cx.db().begin().await?;
        let look = store::forget_finished(&tx, family, after, LOOKS_MAX).await?;
        end_step(tx, family, forgotten, look.forgotten).await?;
        forgotten += look.forgotten;
        let Some(last) = look.last else {
            return Ok(forgotten);
        };
        after = last;
    }
}

/// Commits a step, the first one that takes something away with an entry in the audit log.
async fn end_step(tx: Transaction, family: Uuid, before: i64, now: i64) -> Result<()> {
    if before == 0 && now > 0 {
        let entry = Entry {
            action: "jobs.family_forgotten",
            target: &family.to_string(),
            details: json!({}),
            family_id: None,
            actor: None,
        };
        append_in(&tx, entry).await?;
    }
    tx.commit().await
}
