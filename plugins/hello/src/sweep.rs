//! The task `sweep`: forgets notes that were removed long ago. It compares what is with what should be and does a bounded
//! step, so a run that is lost costs only time.

use nself_plugin_api::{prelude::*, tracing::info};

use crate::{Hello, store};

/// Notes forgotten in one run.
const STEP: i64 = 1_000;

pub(crate) async fn run(cx: Cx<Hello>) -> Result<()> {
    let forgotten = store::forget(&cx.db(), cx.plugin().config.keep_removed_days, STEP).await?;
    if forgotten > 0 {
        info!(forgotten, "removed notes are gone for good");
    }
    Ok(())
}
