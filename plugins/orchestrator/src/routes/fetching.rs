//! Commands of devices, for the device that they are for.

use std::{pin::pin, time::Duration};

use nself_plugin_api::{
    capability::db::Notification,
    futures_util::{
        StreamExt,
        future::{self, Either},
    },
    prelude::*,
    serde_json::Value,
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use super::commands::open;
use crate::{
    Orchestrator,
    command::BYTES_MAX,
    error::CommandError,
    store::commands::{self as store, Command},
    telling,
};

/// Commands of one answer.
const PAGE_MAX: i64 = 50;
/// Longest wait of a request.
const WAIT_SECONDS_MAX: u32 = 25;

/// Whether the request waits.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wait {
    /// Seconds that the request waits for a command when there is none; at most 25.
    pub wait: Option<u32>,
}

/// A command as its machine gets it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Delivered {
    /// Which one: the claim `jti` of the signed text.
    id: Uuid,
    /// A compact JWS. Check it with one of the keys, and that `sub` is this machine, before doing anything of it.
    signed: String,
}

/// What came of a command.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    /// Whether it was done.
    pub done: bool,
    /// What came of it; at most 64 KiB.
    #[serde(default)]
    pub result: Option<Value>,
    /// Why it was not done; at most 1000 characters.
    #[serde(default)]
    pub error: Option<String>,
}

pub(crate) async fn fetch(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(device): Path<Uuid>,
    Query(wait): Query<Wait>,
) -> Result<Data<Vec<Delivered>>> {
    let unknown = || Error::from(CommandError::NoDevice { id: device });
    let paired = store::family_of(&cx.db(), device, who.family_id).await?;
    if paired.is_none() || who.device_id != Some(device) {
        return Err(unknown());
    }
    let limit = Duration::from_secs(wait.wait.unwrap_or(0).min(WAIT_SECONDS_MAX).into());
    let given = wait_for(&cx, device, limit).await?;
    let given = given
        .into_iter()
        .map(|(id, signed)| Delivered { id, signed });
    Ok(Data(given.collect()))
}

/// The same answer again is taken, so a machine may repeat what it did not see arrive.
pub(crate) async fn end(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<Uuid>,
    Json(outcome): Json<Outcome>,
) -> Result<Data<Command>> {
    let unknown = || Error::from(CommandError::Unknown { id });
    let device = who.device_id.ok_or_else(unknown)?;
    check(&outcome)?;
    let status = if outcome.done { "done" } else { "failed" };
    let tx = cx.db().begin().await?;
    let held = store::hold(&tx, id, None, Some(device)).await?;
    let held = held.ok_or_else(unknown)?;
    if held.status == status && held.result == outcome.result && held.error == outcome.error {
        return Ok(Data(held));
    }
    open(held)?;
    let ended = store::end(
        &tx,
        id,
        status,
        outcome.result.as_ref(),
        outcome.error.as_deref(),
    )
    .await?;
    telling::ended(&tx, &ended, Some(&who.subject)).await?;
    tx.commit().await?;
    Ok(Data(ended))
}

fn check(outcome: &Outcome) -> Result<(), CommandError> {
    let too_long = outcome
        .result
        .as_ref()
        .is_some_and(|result| result.to_string().len() > BYTES_MAX);
    if too_long {
        let (field, problem) = ("result", "is longer than 64 KiB");
        return Err(CommandError::Invalid { field, problem });
    }
    let error = outcome.error.as_deref().unwrap_or_default();
    if error.len() > 1_000 || error.contains('\0') {
        let (field, problem) = ("error", "must be at most 1000 characters of text");
        return Err(CommandError::Invalid { field, problem });
    }
    Ok(())
}

/// What is due for a device, as soon as something is; nothing when the time is over or the plugin drains.
async fn wait_for(
    cx: &Cx<Orchestrator>,
    device: Uuid,
    limit: Duration,
) -> Result<Vec<(Uuid, String)>> {
    let given = deliver(cx, device).await?;
    if !given.is_empty() || limit.is_zero() {
        return Ok(given);
    }
    // Before the next look: what is asked for after it is heard.
    let mut told = cx.db().listen(store::CHANNEL).await?;
    let (tasks, clock) = (cx.tasks(), cx.clock());
    let until = clock.monotonic()? + limit;
    loop {
        let given = deliver(cx, device).await?;
        let left = until.saturating_sub(clock.monotonic()?);
        if !given.is_empty() || left.is_zero() {
            return Ok(given);
        }
        let again = store::due_in(&cx.db(), device).await?;
        let again = again.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.02)).ok());
        let late = pin!(clock.sleep(left.min(again.unwrap_or(left))));
        let heard = pin!(hear(&mut told, device));
        let reason = future::select(late, heard);
        if let Either::Left(_) = future::select(pin!(tasks.draining()), reason).await {
            return Ok(Vec::new());
        }
    }
}

async fn deliver(cx: &Cx<Orchestrator>, device: Uuid) -> Result<Vec<(Uuid, String)>> {
    let seconds = cx.plugin().config.device_redelivery_seconds;
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let db = cx.db();
    if store::family_of(&db, device, None).await?.is_none() {
        // Its token outlives it by minutes; its commands do not.
        return Err(CommandError::NoDevice { id: device }.into());
    }
    store::deliver(&db, device, seconds, PAGE_MAX).await
}

/// Until the device has a new command, or it may have.
async fn hear(told: &mut nself_plugin_api::capability::db::Notifications, device: Uuid) {
    let device = device.to_string();
    loop {
        match told.next().await {
            Some(Ok(Notification::Payload(other))) if other != device => {}
            Some(_) => return,
            // The channel is gone: the time decides.
            None => return future::pending().await,
        }
    }
}
