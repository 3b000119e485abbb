//! The jobs that drive instances. Each may be worked twice: what was taken in once is not needed any more.

use nself_plugin_api::{
    jiff::SignedDuration,
    prelude::{Cx, Error, JobRun, Result},
    serde_json::{self, Value, json},
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    advance::{By, World, advance, number, secrets},
    command::{Claims, NewCommand, sign},
    engine::{Error as Fault, Need, NeedId, Outcome, State},
    matching,
    perform::{self, Performed},
    process, programs, starting,
    store::{commands, events, instances, jobs},
    telling,
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

/// A call of an instance is to be made.
pub(crate) async fn call(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let WhichNeed { instance, need } = job.json()?;
    let wanted = crate::advance::need(need);
    let call = match find_need(&cx, instance, need).await? {
        Some(Need::Call(call)) => call,
        Some(Need::Run(_)) => {
            let family = job.context()?.family_id;
            return process::hand_over(&cx, instance, need, family).await;
        }
        _ => return Ok(()),
    };
    let outcome = match perform::call(&cx, &call).await {
        Performed::Over(outcome) => outcome,
        Performed::Command(device, new) => {
            match give_command(&cx, instance, need, device, &new).await? {
                Some(refused) => Outcome::Failed(refused),
                None => return Ok(()),
            }
        }
    };
    advance(&cx, instance, vec![(wanted, outcome)], By::Outcome).await
}

/// Asks the engine again what exactly is needed: that is never kept, because it may have secrets in it.
pub(crate) async fn find_need(
    cx: &Cx<Orchestrator>,
    instance: Uuid,
    need: i64,
) -> Result<Option<Need>> {
    let Some(held) = instances::standing(&cx.db(), instance, need).await? else {
        return Ok(None);
    };
    let (Ok(program), Some(state)) = (
        programs::of(cx, &cx.db(), held.definition_id).await?,
        held.state,
    ) else {
        return Ok(None);
    };
    let world = World {
        secrets: secrets(cx, &program),
        limits: cx.plugin().config.limits(),
        now: held.now,
    };
    let state: State = serde_json::from_slice(&state).map_err(Error::internal)?;
    let tasks = cx.tasks();
    let found = tasks.blocking(move || {
        let needs = world.tell(|around| program.needs(&state, around));
        needs.into_iter().find(|(id, _)| number(*id) == need)
    });
    Ok(found.await?.map(|(_, need)| need))
}

/// Gives a device a command in the name of an instance; why it cannot be given.
async fn give_command(
    cx: &Cx<Orchestrator>,
    instance: Uuid,
    need: i64,
    device: Uuid,
    new: &NewCommand,
) -> Result<Option<Fault>> {
    let tx = cx.db().begin().await?;
    let Some(held) = instances::hold(&tx, instance)
        .await?
        .filter(|held| held.is_open)
    else {
        return Ok(None);
    };
    commands::one_at_a_time(&tx, device).await?;
    let Some(family) = commands::family_of(&tx, device, held.family_id).await? else {
        return Ok(Some(Fault::configuration(format!(
            "there is no device {device}"
        ))));
    };
    let key = format!("{instance}/{need}");
    let request = serde_json::to_string(new).map_err(Error::internal)?;
    if commands::by_key(&tx, device, &key, &request)
        .await?
        .is_some()
    {
        return Ok(None);
    }
    let max = cx.plugin().config.device_commands_max;
    if commands::open(&tx, device).await? >= i64::from(max) {
        return Ok(Some(Fault::runtime(format!(
            "{max} commands of the device wait already"
        ))));
    }
    let (id, now) = commands::moment(&tx).await?;
    let expires_at = now + SignedDuration::from_secs(new.seconds().into());
    let claims = Claims {
        jti: id,
        sub: device,
        family,
        iat: now.as_second(),
        exp: expires_at.as_second(),
        name: &new.name,
        input: &new.input,
    };
    let by = format!("workflow:{instance}");
    let row = commands::New {
        id,
        family,
        device,
        name: &new.name,
        signed: &sign(cx, &claims).await?,
        key: Some(&key),
        request: &request,
        created_by: &by,
        created_at: now,
        expires_at,
    };
    let command = commands::add(&tx, &row).await?;
    commands::bind(&tx, id, instance, need).await?;
    telling::asked(&tx, &command, &by).await?;
    tx.commit().await?;
    crate::routes::commands::tell_device(cx, device).await;
    Ok(None)
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

/// An event came: it starts what it starts, and everybody who waits for one like it gets it.
pub(crate) async fn event(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let WhichEvent { event } = job.json()?;
    starting::offer(&cx, event).await?;
    for (instance, need, filters, value) in events::listeners(&cx.db(), event).await? {
        if !matching::fits(&filters, &value) {
            continue;
        }
        let tx = cx.db().begin().await?;
        let need: NeedId = crate::advance::need(need);
        crate::advance::deliver(&cx, &tx, instance, event, need, value).await?;
        tx.commit().await?;
        instances::tell(&cx.db(), instance).await?;
    }
    Ok(())
}
