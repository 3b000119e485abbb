//! The job that runs a schedule which a plugin declares.

use nself_plugin_api::prelude::{Cx, JobRun, Result};
use serde::Deserialize;

use crate::{Scheduler, target};

#[derive(Deserialize)]
struct Run {
    plugin: String,
    schedule: String,
}

/// Runs it where the plugin runs: here, or the job is tried again and another host may get it.
pub(crate) async fn run(cx: Cx<Scheduler>, job: JobRun) -> Result<()> {
    let Run { plugin, schedule } = job.json()?;
    let scheduled_at = target::scheduled_at(&job)?;
    cx.handlers()
        .run_schedule(&plugin, &schedule, scheduled_at)
        .await
}
