//! The operator's files.

use nself_plugin_api::prelude::*;

use crate::{
    Orchestrator,
    error::WorkflowError,
    files::{self, Plan},
};

pub(crate) async fn apply(cx: Cx<Orchestrator>) -> Result<Data<Plan>> {
    if cx.plugin().config.workflows_directory.is_none() {
        let problem =
            "there are no files: name workflows_directory in [plugins.orchestrator.config]";
        return Err(WorkflowError::File(problem.to_owned()).into());
    }
    files::apply(&cx).await.map(Data)
}
