//! The operator's files.

use nself_plugin_api::prelude::*;

use crate::{
    Orchestrator,
    error::WorkflowError,
    files::{self, Plan},
};

pub(crate) async fn apply(cx: Cx<Orchestrator>) -> Result<Data<Plan>> {
    let plan = files::apply(&cx).await?;
    let none = || {
        let problem = "there are no files: make the directory workflows in the project's, or name another as workflows_directory in [plugins.orchestrator.config]";
        WorkflowError::File(problem.to_owned())
    };
    Ok(Data(plan.ok_or_else(none)?))
}
