//! What is looked after from time to time.

use nself_plugin_api::{
    capability::audit::{Entry, append_in},
    prelude::*,
    serde_json::json,
};

use crate::{
    Orchestrator,
    config::setting,
    store::{commands, definitions, events, instances, schedules, watchers},
    telling,
};

/// Commands that end in one transaction.
const COMMANDS_MAX: i64 = 500;

/// Ends commands that nobody said anything of in time.
pub(crate) async fn end_commands(cx: Cx<Orchestrator>) -> Result<()> {
    let max = cx.plugin().config.device_deliveries_max;
    let limit = setting("device_deliveries_max", max);
    let too_often = format!("it was handed out as often as {limit}");
    let max = i32::try_from(max).unwrap_or(i32::MAX);
    loop {
        let tx = cx.db().begin().await?;
        let ended = commands::end_unheard(&tx, max, &too_often, COMMANDS_MAX).await?;
        for command in &ended {
            telling::ended(&tx, command, None).await?;
        }
        tx.commit().await?;
        if ended.is_empty() {
            return Ok(());
        }
    }
}

/// Deletes what is too old, some thousand rows at a time.
pub(crate) async fn prune(cx: Cx<Orchestrator>) -> Result<()> {
    let days = i32::try_from(cx.plugin().config.history_days).unwrap_or(i32::MAX);
    while commands::prune(&cx.db(), days).await? > 0 {}
    watchers::prune(&cx.db()).await?;
    while instances::prune(&cx.db(), days).await? > 0 {}
    while definitions::prune(&cx.db(), days).await? > 0 {}
    let minutes = i32::try_from(cx.plugin().config.event_minutes).unwrap_or(i32::MAX);
    while events::prune(&cx.db(), minutes).await? > 0 {}
    Ok(())
}

/// A family was purged: its workflows and what was for its machines go with it.
pub(crate) async fn family_purged(cx: Cx<Orchestrator>, event: Event) -> Result<()> {
    let Some(family) = event.family_id else {
        return Ok(());
    };
    let tx = cx.db().begin().await?;
    let gone = commands::forget(&tx, family).await?
        + instances::forget(&tx, family).await?
        + events::forget(&tx, family).await?
        + schedules::forget(&tx, family).await?;
    if gone > 0 {
        let entry = Entry {
            action: "orchestrator.family_forgotten",
            target: &family.to_string(),
            details: json!({}),
            family_id: None,
            actor: None,
        };
        append_in(&tx, entry).await?;
    }
    tx.commit().await
}
