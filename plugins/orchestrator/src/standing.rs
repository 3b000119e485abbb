//! What a run that has not ended is at: its tasks from its state, and what they wait for from its open needs.

use std::collections::BTreeMap;

use nself_plugin_api::{
    Schema,
    futures_util::future,
    jiff::Timestamp,
    prelude::{Cx, Error, Result},
    serde_json::{self, Value},
    uuid::Uuid,
};
use serde::Serialize;

use crate::{
    Orchestrator,
    advance::need as need_of,
    engine::{NeedId, State, UnderWay, Waiting},
    store::{
        instances,
        needs::{self, Open},
    },
};

/// A task that is under way.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct Current {
    /// The task, as a JSON pointer into the definition.
    pub reference: String,
    /// Its name.
    pub name: String,
    /// Where it runs, with iterations and branches.
    pub position: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it started.
    pub started_at: Timestamp,
}

/// Something that a run waits for.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct WaitsFor {
    /// `timer`, `event`, `child`, or `call`, which is a request, a program or a command of a device.
    pub kind: String,
    /// The position of the task that waits; null when it is the workflow.
    pub position: Option<String>,
    /// `task`, or whose time it is: `timeout` of the task, of an `attempt`, or the `deadline` of the workflow.
    pub purpose: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When a timer is due.
    pub due_at: Option<Timestamp>,
    /// Attributes of the events that are meant, as far as the definition names them: one of these. None are any event.
    pub events: Option<Value>,
    /// The job of a request or program.
    pub job_id: Option<i64>,
    /// What becomes of that job: `available`, `running`, `retryable`, ...
    pub job_state: Option<String>,
    /// The run that it waits for.
    pub run_id: Option<Uuid>,
    /// The command of a device that it waits for.
    pub command_id: Option<Uuid>,
}

/// Where a run stands.
pub(crate) struct Standing {
    pub current: Vec<Current>,
    pub waits_for: Vec<WaitsFor>,
}

/// Where a run stands. One that has not begun, or has ended, is at nothing.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn of(cx: &Cx<Orchestrator>, id: Uuid) -> Result<Standing> {
    let (db, work) = (cx.db(), cx.tasks());
    let (state, open) =
        future::try_join(instances::state(&db, id), needs::open_of(&db, id)).await?;
    let read = work.blocking(move || {
        let Some(state) = state else {
            return Ok((Vec::new(), BTreeMap::new()));
        };
        let state: State = serde_json::from_slice(&state).map_err(Error::internal)?;
        Ok::<_, Error>((state.under_way(), state.waiting()))
    });
    let (tasks, mut waiting): (Vec<UnderWay>, BTreeMap<NeedId, Waiting>) = read.await??;
    let waits_for = open.into_iter().map(|open| {
        let who = waiting.remove(&need_of(open.need));
        waits_for(open, who)
    });
    Ok(Standing {
        waits_for: waits_for.collect(),
        current: tasks.into_iter().map(current).collect(),
    })
}

fn current(task: UnderWay) -> Current {
    Current {
        reference: task.reference,
        name: task.name,
        position: task.position,
        attempt: task.attempt,
        started_at: task.started_at,
    }
}

fn waits_for(open: Open, who: Option<Waiting>) -> WaitsFor {
    let (purpose, position) = who
        .map(|who| (who.purpose.to_owned(), who.position))
        .unzip();
    WaitsFor {
        kind: open.kind,
        position: position.flatten(),
        purpose,
        since: open.since,
        due_at: open.due_at,
        events: open.filters,
        job_id: open.job_id,
        job_state: open.job_state,
        run_id: open.run_id,
        command_id: open.command_id,
    }
}
