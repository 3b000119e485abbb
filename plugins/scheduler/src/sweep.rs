//! What is looked after from time to time.

use nself_plugin_api::prelude::*;

use crate::{Scheduler, engine, store};

/// Replaces what has died of the engine.
pub(crate) async fn engine(cx: Cx<Scheduler>) -> Result<()> {
    engine::start(&cx)
}

/// Deletes what is too old, some thousand rows at a time.
pub(crate) async fn prune(cx: Cx<Scheduler>) -> Result<()> {
    let days = i32::try_from(cx.plugin().config.history_days).unwrap_or(i32::MAX);
    while store::fires::prune(&cx.db(), days).await? > 0 {}
    Ok(())
}
