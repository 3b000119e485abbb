//! Which events of the host's log are worth keeping: those that a run or a schedule may listen to.
//!
//! The log tells every event that happens on the host, and asking the database about each would cost more than nearly all of them are
//! worth. So what was learnt once holds for all events that were told before it: whoever is not in it had not begun then, and does not
//! hear what came before him. A host that catches up asks once and not once for each event.

use std::sync::{Mutex, PoisonError};

use nself_plugin_api::prelude::{Cx, Event, Result};

use crate::{
    Orchestrator,
    store::schedules::{self, Heard},
};

/// What this host has learnt last.
#[derive(Default)]
pub(crate) struct Hearing(Mutex<Option<Heard>>);

/// Whether anybody may listen to an event of the host's log.
pub(crate) async fn is_heard(cx: &Cx<Orchestrator>, event: &Event) -> Result<bool> {
    let hearing = &cx.plugin().hearing.0;
    let known = hearing
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some(known) = known.filter(|known| event.time.is_some_and(|time| time <= known.until)) {
        return Ok(is_in(&known, &event.kind));
    }
    let heard = schedules::heard(&cx.db()).await?;
    let is_heard = is_in(&heard, &event.kind);
    *hearing.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
    Ok(is_heard)
}

fn is_in(heard: &Heard, kind: &str) -> bool {
    let types = heard.types.as_ref();
    types.is_none_or(|types| types.iter().any(|one| one == kind))
}
