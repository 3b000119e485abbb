//! The jobs that drive instances. Each may be worked twice: what was taken in once is not needed any more.

use nself_plugin_api::{
    prelude::{Cx, JobRun, Result},
    serde_json::{self, Value, json},
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    advance::{self, By, advance},
    engine::{Error as Fault, Outcome},
    matching, starting,
    store::{commands, events, instances, jobs},
};

#[derive(Deserialize)]
struct Which {
    instance: Uuid,
}

#[derive(Deserialize)]
struct WhichNeed {
    instance: Uuid,
    need: i64,
}

#[derive(Deserialize)]
struct WhichEvent {
    event: Uuid,
}

#[derive(Deserialize)]
struct WhichCommand {
    command: Uuid,
}

/// An instance can go on.
pub(crate) async fn go_on(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let Which { instance } = job.json()?;
    advance(&cx, instance, Vec::new(), By::ItsJob).await
}

/// A timer of an instance is due. That its job has come is what counts: the clock may have been set back since.
pub(crate) async fn timer(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let WhichNeed { instance, need } = job.json()?;
    let fired = vec![(crate::advance::need(need), Outcome::Fired)];
    advance(&cx, instance, fired, By::Outcome).await
}

/// A command that an instance waits for has ended.
pub(crate) async fn command_ended(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let WhichCommand { command } = job.json()?;
    let Some((instance, need, ended)) = commands::bound(&cx.db(), command).await? else {
        return Ok(());
    };
    let outcome = match &*ended.status {
        "done" => Outcome::Completed(json!({"status": "done", "result": ended.result})),
        "expired" => Outcome::Failed(Fault::timeout(
            "the device said nothing of the command in time",
        )),
        _ => Outcome::Failed(Fault::communication(
            500,
            ended
                .error
                .unwrap_or_else(|| format!("the command is {}", ended.status)),
        )),
    };
    let given = vec![(crate::advance::need(need), outcome)];
    advance(&cx, instance, given, By::Outcome).await
}

/// A child has ended whose parent waits for it.
pub(crate) async fn child_ended(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let Which { instance } = job.json()?;
    let Some(child) = jobs::child(&cx.db(), instance).await? else {
        return Ok(());
    };
    let outcome = match &*child.status {
        "completed" => Outcome::Completed(child.output.unwrap_or_default()),
        "faulted" => Outcome::Failed(fault(child.error)),
        _ => Outcome::Failed(Fault::runtime("the workflow was cancelled")),
    };
    let given = vec![(crate::advance::need(child.need), outcome)];
    advance(&cx, child.parent, given, By::Outcome).await
}

fn fault(error: Option<Value>) -> Fault {
    let read = error.and_then(|error| serde_json::from_value(error).ok());
    read.unwrap_or_else(|| Fault::runtime("the workflow failed"))
}

/// An instance that its parent needs no more.
pub(crate) async fn cancel(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let Which { instance } = job.json()?;
    instances::cancel(&cx.db(), instance).await?;
    advance(&cx, instance, Vec::new(), By::Outcome).await
}

/// An event came: it starts what it starts, and everybody who waits for one like it gets it, after what came before it.
pub(crate) async fn event(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let WhichEvent { event } = job.json()?;
    starting::offer(&cx, event).await?;
    let listeners = events::listeners(&cx.db(), event).await?;
    let meant = listeners
        .into_iter()
        .filter_map(|(instance, filters, event)| {
            matching::fits(&filters, &event).then_some(instance)
        });
    let mut instances: Vec<Uuid> = meant.collect();
    instances.dedup();
    for instance in instances {
        advance::hear(&cx, instance, event).await?;
    }
    Ok(())
}
