//! Kinds that this plugin works itself.

mod base_backup;
mod db_backup;
mod http_request;
mod send_email;

use nself_plugin_api::prelude::*;
use serde::Serialize;

pub(crate) use self::{
    base_backup::run as base_backup, db_backup::run as db_backup,
    http_request::run as http_request, send_email::run as send_email,
};
use crate::{Jobs, sweep};

/// What `jobs.prune` has done.
#[derive(Debug, Serialize)]
pub(crate) struct Pruned {
    /// Days that were dropped and rows that were deleted.
    pruned: i64,
}

/// `jobs.prune`: the sweep, now.
pub(crate) async fn prune(cx: Cx<Jobs>, _: JobRun) -> Result<Pruned> {
    let pruned = sweep::drop_old(&cx).await?;
    Ok(Pruned { pruned })
}
