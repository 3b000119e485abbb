//! One-off events as Hasura's `create_scheduled_event` takes them.

use nself_plugin_api::{prelude::*, serde_json::json, uuid::Uuid};
use serde::Serialize;

use super::schedules::note;
use crate::{Scheduler, hasura, plan, store::schedules};

/// As Hasura answers.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Accepted {
    /// `success`.
    pub message: &'static str,
    /// The event.
    pub event_id: Uuid,
}

pub(crate) async fn create(
    cx: Cx<Scheduler>,
    who: Principal,
    Json(event): Json<hasura::ScheduledEvent>,
) -> Result<Json<Accepted>> {
    let event_id = Uuid::now_v7();
    let wanted = hasura::one_off(event_id, &event)?;
    let tx = cx.db().begin().await?;
    let now = schedules::now(&tx).await?;
    // An event whose time has just passed is delivered all the same, as Hasura does.
    plan::add_from(
        &tx,
        &cx.plugin().zones,
        "event",
        &wanted,
        now,
        event.schedule_at.min(now),
    )
    .await?;
    note(
        &tx,
        "scheduler.created",
        &wanted.definition.name,
        json!({}),
        &who,
    )
    .await?;
    schedules::tell(&tx).await?;
    tx.commit().await?;
    Ok(Json(Accepted {
        message: "success",
        event_id,
    }))
}
