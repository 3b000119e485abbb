//! What is looked after from time to time.

use nself_plugin_api::prelude::*;

use crate::{Jobs, engine, family_end, store};

/// Replaces what has died of the engine.
pub(crate) async fn engine(cx: Cx<Jobs>) -> Result<()> {
    engine::start(&cx)
}

/// Makes room for the next days, and drops what is too old and what is of families that are gone.
pub(crate) async fn prune(cx: Cx<Jobs>) -> Result<()> {
    drop_old(&cx).await.map(|_| ())
}

/// The same; how much was dropped.
pub(crate) async fn drop_old(cx: &Cx<Jobs>) -> Result<i64> {
    let config = &cx.plugin().config;
    store::control::make_partitions(&cx.db()).await?;
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
    let (finished, discarded) = (days(config.finished_days), days(config.discarded_days));
    let mut dropped = family_end::stragglers(cx).await?;
    loop {
        match store::control::prune(&cx.db(), finished, discarded).await? {
            0 => return Ok(dropped),
            more => dropped += more,
        }
    }
}
