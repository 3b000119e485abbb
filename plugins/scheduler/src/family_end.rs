//! The end of a family: its schedules go with it, or rest where others keep them.

use nself_plugin_api::{
    capability::audit::{Entry, append_in},
    prelude::*,
    serde_json::json,
};

use crate::{
    Scheduler,
    store::{families as store, schedules},
};

/// What people read of a schedule that rests since then.
const WHO: &str = "scheduler";
const WHY: &str = "the family of its jobs is gone";

/// A family was purged.
pub(crate) async fn purged(cx: Cx<Scheduler>, event: Event) -> Result<()> {
    let Some(family) = event.family_id else {
        return Ok(());
    };
    let tx = cx.db().begin().await?;
    let removed = store::remove(&tx, family).await?;
    let resting = store::rest(&tx, family, WHO, WHY).await?;
    if removed + resting > 0 {
        let entry = Entry {
            action: "scheduler.family_forgotten",
            target: &family.to_string(),
            details: json!({"removed": removed, "resting": resting}),
            family_id: None,
            actor: None,
        };
        append_in(&tx, entry).await?;
        schedules::tell(&tx).await?;
    }
    tx.commit().await
}
