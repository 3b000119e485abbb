//! The operator's files.

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use crate::{Scheduler, files, plan::Plan, refusal::ScheduleError};

/// Whether it is only tried.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Trial {
    /// Only say what would be changed.
    pub dry_run: bool,
}

pub(crate) async fn apply(cx: Cx<Scheduler>, Json(trial): Json<Trial>) -> Result<Data<Plan>> {
    let config = &cx.plugin().config;
    if config.schedules_directory.is_none() && config.hasura_cron_triggers.is_none() {
        let problem = "there are no files: name schedules_directory or hasura_cron_triggers in [plugins.scheduler.config]";
        return Err(ScheduleError::File(problem.to_owned()).into());
    }
    files::apply(&cx, trial.dry_run).await.map(Data)
}
