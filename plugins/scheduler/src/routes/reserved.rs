//! Schedules that only operators make and fire by hand: those whose jobs act on what the operator has as a whole, such as archives of
//! the database. The plugin that keeps the jobs knows which these are.

use nself_plugin_api::{
    Kind,
    prelude::*,
    serde_json::{Value, json},
};
use serde::Deserialize;

use crate::{Scheduler, refusal::ScheduleError};

/// What it says of a job.
#[derive(Deserialize)]
struct Answer {
    kind: Option<String>,
}

/// Refuses what a schedule does when it is not for whoever asks.
pub(crate) async fn check(cx: &Cx<Scheduler>, who: &Principal, action: &Value) -> Result<()> {
    if who.kind == Kind::Operator {
        return Ok(());
    }
    check_action(cx, action).await
}

/// The same for whoever is no operator.
pub(crate) async fn check_action(cx: &Cx<Scheduler>, action: &Value) -> Result<()> {
    if !action["kind"].is_string() {
        return Ok(());
    }
    let job = json!({"kind": action["kind"], "options": action["options"]});
    let answer: Answer = cx.calls().json("jobs.queue/1", "reserved", &job).await?;
    match answer.kind {
        Some(kind) => Err(ScheduleError::Reserved { kind }.into()),
        None => Ok(()),
    }
}
