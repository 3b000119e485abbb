//! Back to the task that failed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    error::Error,
    need::NeedId,
    state::{Frame, Role, Stage, State, TaskFrame},
    surroundings::Surroundings,
};

/// Takes the state back to where the error came that nobody caught. Needs get new numbers, timers are moved by the time between.
pub(super) fn retry_failed(state: &mut State, around: &Surroundings<'_>) -> Result<(), Error> {
    let Some(failed) = state.failed.take() else {
        return Err(Error::configuration("the instance has not faulted"));
    };
    let mut numbers = BTreeMap::new();
    state.waits.clear();
    for (old, mut wait) in failed.waits {
        let new = NeedId(state.next);
        state.next += 1;
        let since = match wait.role {
            // The workflow gets the whole of its time again.
            Role::Deadline => state.started_at,
            _ => failed.at,
        };
        let moved = |at: Timestamp| at.saturating_add(around.now.duration_since(since));
        wait.at = wait.at.map(|at| moved(at).unwrap_or(at));
        numbers.insert(old, new);
        state.waits.insert(new, wait);
        state.reopen.push(new);
    }
    state.threads = failed.threads;
    for frame in state
        .threads
        .values_mut()
        .flat_map(|thread| &mut thread.frames)
    {
        if let Frame::Task(task) = frame {
            renumber(task, &numbers);
        }
    }
    let top = failed
        .thread
        .and_then(|thread| state.threads.get_mut(&thread))
        .and_then(|thread| thread.frames.last_mut());
    if let Some(Frame::Task(task)) = top {
        task.stage = Stage::Begin;
        task.attempt += 1;
    }
    state.context = failed.context;
    state.end = None;
    Ok(())
}

fn renumber(task: &mut TaskFrame, numbers: &BTreeMap<NeedId, NeedId>) {
    let change = |need: &mut NeedId| {
        if let Some(new) = numbers.get(need) {
            *need = *new;
        }
    };
    if let Some(timeout) = &mut task.timeout {
        change(timeout);
    }
    match &mut task.stage {
        Stage::Waiting(need) | Stage::Emitting(need, _) | Stage::Delaying { need, .. } => {
            change(need);
        }
        Stage::Trying {
            limit: Some(need), ..
        } => change(need),
        Stage::Listening(listening) => change(&mut listening.need),
        _ => {}
    }
}
