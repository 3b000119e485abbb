//! How many runs of a family may be open. It is looked at in the transaction that opens one, so that many at once are not more than that.

use nself_plugin_api::{
    prelude::{Cx, Queries, Result},
    uuid::Uuid,
};

use crate::{Orchestrator, error::WorkflowError, store::instances};

/// Looks whether a family may have as many open runs as it has in this transaction, with `coming` that are still to be made in it.
///
/// # Errors
///
/// `WORKFLOW_TOO_MANY` when those are too many.
pub(crate) async fn check(
    cx: &Cx<Orchestrator>,
    tx: &impl Queries,
    family: Option<Uuid>,
    coming: u32,
) -> Result<()> {
    let Some(family) = family else { return Ok(()) };
    let max = cx.plugin().config.family_instances_max;
    if instances::has_at_most(tx, family, max - coming.min(max)).await? {
        return Ok(());
    }
    Err(WorkflowError::TooMany { max }.into())
}

/// Whether an error says that a family has no room.
pub(crate) fn is_full(error: &nself_plugin_api::Error) -> bool {
    error.code() == "WORKFLOW_TOO_MANY"
}
