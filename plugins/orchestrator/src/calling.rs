//! Calls: a job makes the request of one need, keeps what came of it, and goes on with the next request of the same run.
//!
//! What came of a request is kept before the next one is made, in one commit that the steps of other runs share. The next need is
//! then looked after by the job that is under way, so that its lease, and its rescue when the host dies, are those of the next
//! need as well: no other job is enqueued, claimed and completed for it.

use std::{sync::Arc, time::Duration};

use nself_plugin_api::{
    jiff::SignedDuration,
    prelude::{Cx, Error, JobRun, Result},
    serde_json,
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    advance::{By, World, advance_with, need as need_of, number, secrets},
    command::{Claims, NewCommand, sign},
    engine::{Call, CallKind, Error as Fault, Need, Outcome, Program, Progress, State, Status},
    error::CommandError,
    gather::{Gatherer, Shared, share},
    perform::{self, Performed},
    process, programs,
    store::{
        commands, history, instances, needs,
        together::{self, Step},
    },
    telling,
};

/// What one call may take, and how long a job goes on with new ones: others wait for its place.
const CALL_SECONDS: u64 = 120;
const GOES_ON_SECONDS: u64 = 5;
/// The time limit of the job.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(CALL_SECONDS + GOES_ON_SECONDS);

#[derive(Deserialize)]
struct WhichNeed {
    instance: Uuid,
    need: i64,
}

impl Shared for Step {
    type Outcome = bool;

    fn gatherer(plugin: &Orchestrator) -> &Gatherer<Self> {
        &plugin.steps
    }

    fn bytes(&self) -> usize {
        self.state.len() + self.history.len()
    }

    async fn write(cx: &Cx<Orchestrator>, all: &[&Self]) -> Result<Vec<bool>> {
        let kept = together::step(&cx.db(), cx.plugin().host, all).await?;
        let kept: std::collections::HashSet<Uuid> = kept.into_iter().collect();
        Ok(all.iter().map(|one| kept.contains(&one.id)).collect())
    }
}

/// A call of an instance is to be made, and those that come after it.
pub(crate) async fn call(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let WhichNeed { instance, need } = job.json()?;
    let until = cx.clock().monotonic()? + Duration::from_secs(GOES_ON_SECONDS);
    for need in needs::of_job(&cx.db(), instance, need, job.id).await? {
        let mut next = match Standing::of(&cx, instance, need).await? {
            Some((standing, Need::Call(call))) => Some((standing, call)),
            Some((_, Need::Run(_))) => {
                let family = job.context()?.family_id;
                process::hand_over(&cx, instance, need, family).await?;
                None
            }
            _ => None,
        };
        while let Some((standing, call)) = next {
            let goes_on = cx.clock().monotonic()? < until;
            next = standing
                .perform(&cx, call, goes_on.then_some(job.id))
                .await?;
        }
    }
    Ok(())
}

/// What exactly an instance needs, unless it needs it no more.
pub(crate) async fn find_need(
    cx: &Cx<Orchestrator>,
    instance: Uuid,
    need: i64,
) -> Result<Option<Need>> {
    let found = Standing::of(cx, instance, need).await?;
    Ok(found.map(|(_, need)| need))
}

/// A run that stands before something that it needs.
struct Standing {
    instance: Uuid,
    need: i64,
    program: Arc<Program>,
    /// As it was when the run was read, which was then by this process's clock.
    world: World,
    read_at: Duration,
    state: State,
    epoch: i64,
    records: i64,
}

impl Standing {
    /// Asks the engine again what exactly is needed: that is never kept, because it may have secrets in it.
    async fn of(cx: &Cx<Orchestrator>, instance: Uuid, need: i64) -> Result<Option<(Self, Need)>> {
        let Some(held) = instances::standing(&cx.db(), instance, need).await? else {
            return Ok(None);
        };
        let read_at = cx.clock().monotonic()?;
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
        let (asked, around) = (Arc::clone(&program), world.clone());
        let tasks = cx.tasks();
        let found = tasks.blocking(move || {
            let needs = around.tell(|around| asked.needs(&state, around));
            let found = needs.into_iter().find(|(id, _)| number(*id) == need);
            (state, found)
        });
        let (state, Some((_, wanted))) = found.await? else {
            return Ok(None);
        };
        let standing = Self {
            instance,
            need,
            program,
            world,
            read_at,
            state,
            epoch: held.epoch,
            records: held.records,
        };
        Ok(Some((standing, wanted)))
    }

    /// Makes the call and takes in what came of it; where the run stands then and its next call, when `job` goes on with it.
    async fn perform(
        self,
        cx: &Cx<Orchestrator>,
        call: Call,
        job: Option<i64>,
    ) -> Result<Option<(Self, Call)>> {
        let (instance, need) = (self.instance, self.need);
        let outcome = match perform::call(cx, &call).await {
            Performed::Over(outcome) => outcome,
            Performed::Command(device, new) => {
                match give_command(cx, instance, need, device, &new).await? {
                    Some(refused) => Outcome::Failed(refused),
                    None => return Ok(None),
                }
            }
        };
        if let Some(job) = job
            && let Some(next) = self.step(cx, outcome.clone(), job).await?
        {
            return Ok(Some(next));
        }
        let given = vec![(need_of(need), outcome)];
        let next = match advance_with(cx, instance, given, By::Outcome, job).await? {
            Some(next) => Self::of(cx, instance, next).await?,
            None => None,
        };
        Ok(match next {
            Some((standing, Need::Call(call))) => Some((standing, call)),
            _ => None,
        })
    }

    /// The short way from one call to the next: nobody holds the run, and what is written finds it as it was when the call was made,
    /// or finds nothing. None when that is so, or when more has come of the call than the next one.
    async fn step(
        self,
        cx: &Cx<Orchestrator>,
        outcome: Outcome,
        job: i64,
    ) -> Result<Option<(Self, Call)>> {
        // By the database's clock, which was read with the run.
        let since = cx.clock().monotonic()?.saturating_sub(self.read_at);
        let mut around = self.world.clone();
        around.now = around.now.saturating_add(since).map_err(Error::internal)?;
        let (program, met) = (Arc::clone(&self.program), self.need);
        let mut state = self.state;
        let tasks = cx.tasks();
        let done = tasks.blocking(move || {
            let given = vec![(need_of(met), outcome)];
            let progress = around.tell(|around| program.advance(&mut state, given, around));
            (state, progress)
        });
        let (state, progress) = done.await?;
        let config = &cx.plugin().config;
        let records = i64::try_from(progress.records.len()).unwrap_or(i64::MAX);
        let Some((next, call)) = only_call(&progress) else {
            return Ok(None);
        };
        let kept = serde_json::to_vec(&state).map_err(Error::internal)?;
        if kept.len() > config.state_bytes_max as usize
            || self.records + records > i64::from(config.history_max)
        {
            return Ok(None);
        }
        let step = Step {
            id: self.instance,
            epoch: self.epoch,
            state: kept,
            met: self.need,
            next,
            job,
            before: self.records,
            records,
            history: history::text(&progress.records)?,
        };
        if !share(cx, step).await? {
            return Ok(None);
        }
        cx.plugin().watching.tell(self.instance, false);
        let call = call.clone();
        let standing = Self {
            need: next,
            state,
            epoch: self.epoch + 1,
            records: self.records + records,
            ..self
        };
        Ok(Some((standing, call)))
    }
}

/// The one call that an advance waits for, when nothing else has come of it.
fn only_call(progress: &Progress) -> Option<(i64, &Call)> {
    let is_plain = progress.closed.is_empty() && progress.status == Status::Waiting;
    match progress.opened.as_slice() {
        [(id, Need::Call(call))] if is_plain && !is_met_at_once(call) => Some((number(*id), call)),
        _ => None,
    }
}

/// Jobs are enqueued in the transaction of the advance.
fn is_met_at_once(call: &Call) -> bool {
    matches!(&call.kind, CallKind::Function(function) if function.name == "job")
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
        let full = CommandError::TooMany { max };
        return Ok(Some(Fault::runtime(full.to_string())));
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
