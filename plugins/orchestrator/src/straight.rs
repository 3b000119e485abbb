//! Runs that go straight to their end: nothing that they do needs anything from outside, so the engine takes them there in memory,
//! and what is written is a run that has ended. Runs that end at the same time are written together.

use std::{pin::pin, sync::Arc};

use nself_plugin_api::{
    futures_util::future::{self, Either},
    prelude::{Cx, Error, Result},
    serde_json::{self, json},
    uuid::Uuid,
};

use crate::{
    Orchestrator,
    advance::{FIRST_STEPS_MAX, FIRST_TURNS_MAX, PATIENCE, World, secrets},
    engine::{Program, State, Status, TaskRecord},
    gather::{Gatherer, Shared, share},
    outcome::storable,
    store::{
        history,
        instances::{Instance, New},
        together::{self, Ended, Times},
    },
};

impl Shared for Ended {
    type Outcome = Option<Times>;

    fn gatherer(plugin: &Orchestrator) -> &Gatherer<Self> {
        &plugin.ended
    }

    fn bytes(&self) -> usize {
        // What goes in goes into the history as well, and what comes out comes from there.
        self.history.len() * 2 + self.state.as_ref().map_or(0, Vec::len)
    }

    async fn write(cx: &Cx<Orchestrator>, all: &[&Self]) -> Result<Vec<Option<Times>>> {
        let kept = together::keep(&cx.db(), all).await?;
        let kept: std::collections::HashMap<Uuid, Times> = kept.into_iter().collect();
        Ok(all.iter().map(|one| kept.get(&one.id).copied()).collect())
    }
}

/// Starts a run and takes it to its end; none when it does not go straight there, when its key has a run already or its definition
/// is gone: then nothing has happened.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn start(
    cx: &Cx<Orchestrator>,
    new: &New<'_>,
    program: Arc<Program>,
    is_audited: bool,
) -> Result<Option<Instance>> {
    let id = Uuid::now_v7();
    let Some(end) = run(cx, id, new, program).await? else {
        cx.plugin().programs.note(new.definition_id, false);
        return Ok(None);
    };
    let bytes_max = cx.plugin().config.state_bytes_max as usize;
    let Some(ended) = written(id, new, end, is_audited, bytes_max)? else {
        return Ok(None);
    };
    let (status, output, error) = (ended.status, ended.output.clone(), ended.error.clone());
    let Some(times) = share(cx, ended).await? else {
        return Ok(None);
    };
    Ok(Some(Instance {
        id,
        namespace: new.namespace.to_owned(),
        name: new.name.to_owned(),
        version: new.version.to_owned(),
        family_id: new.family_id,
        status: status.to_owned(),
        key: new.key.map(str::to_owned),
        input: new.input.clone(),
        output,
        error,
        parent_id: None,
        created_by: new.created_by.to_owned(),
        created_at: times.created_at,
        updated_at: times.ended_at,
        ended_at: Some(times.ended_at),
        current: None,
        waits_for: None,
    }))
}

/// Where a run has got to.
struct End {
    state: State,
    status: Status,
    records: Vec<TaskRecord>,
}

/// Runs it in memory; none when it needs something, or takes longer than whoever starts it should wait.
async fn run(
    cx: &Cx<Orchestrator>,
    id: Uuid,
    new: &New<'_>,
    program: Arc<Program>,
) -> Result<Option<End>> {
    let mut limits = cx.plugin().config.limits();
    limits.steps = limits.steps.min(FIRST_STEPS_MAX);
    let world = World {
        secrets: secrets(cx, &program),
        limits,
        now: cx.clock().now()?,
    };
    let input = new.input.clone();
    let (tasks, clock) = (cx.tasks(), cx.clock());
    let done = tasks.blocking(move || {
        let id = id.to_string();
        let mut state = world
            .tell(|around| program.start(input, &id, around))
            .ok()?;
        let mut records = Vec::new();
        for _ in 0..FIRST_TURNS_MAX {
            let progress = world.tell(|around| program.advance(&mut state, Vec::new(), around));
            records.extend(progress.records);
            match progress.status {
                Status::Running if progress.opened.is_empty() => {}
                status if status.is_final() && progress.opened.is_empty() => {
                    return Some(End {
                        state,
                        status,
                        records,
                    });
                }
                _ => return None,
            }
        }
        None
    });
    match future::select(pin!(done), pin!(clock.sleep(PATIENCE))).await {
        Either::Left((end, _)) => {
            let most = cx.plugin().config.history_max as usize;
            Ok(end?.filter(|end| end.records.len() <= most))
        }
        Either::Right(_) => Ok(None),
    }
}

/// What is written of it; none when it has grown over its limits, which the long way says.
fn written(
    id: Uuid,
    new: &New<'_>,
    end: End,
    is_audited: bool,
    bytes_max: usize,
) -> Result<Option<Ended>> {
    let state = serde_json::to_vec(&end.state).map_err(Error::internal)?;
    if state.len() > bytes_max {
        return Ok(None);
    }
    let (status, output, error) = match end.status {
        Status::Completed(output) => ("completed", Some(storable(output)), None),
        Status::Faulted(fault) => ("faulted", None, Some(storable(json!(fault)))),
        _ => return Ok(None),
    };
    Ok(Some(Ended {
        id,
        definition_id: new.definition_id,
        namespace: new.namespace.to_owned(),
        name: new.name.to_owned(),
        version: new.version.to_owned(),
        family_id: new.family_id,
        input: new.input.clone(),
        key: new.key.map(str::to_owned),
        created_by: new.created_by.to_owned(),
        is_audited,
        status,
        output,
        // One that has failed can be taken back to where it did.
        state: error.is_some().then_some(state),
        error,
        records: i64::try_from(end.records.len()).unwrap_or(i64::MAX),
        history: history::text(&end.records)?,
    }))
}
