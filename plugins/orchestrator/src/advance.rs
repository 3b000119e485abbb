//! One advance of an instance: outcomes go in, and state, history and open needs come out, in one transaction.
//!
//! The row of the instance is held all the time, so advances of one instance happen one after the other, on whatever host. What can
//! be done in the transaction itself (events out, jobs, children) is done there and then, and exists exactly when the advance does.

mod leaving;
mod meeting;
mod work;
mod world;

use std::time::Duration;

use nself_plugin_api::{
    capability::db::Transaction,
    futures_util::future,
    prelude::{Cx, Result},
    uuid::Uuid,
};

use self::{leaving::After, work::Work};
pub(crate) use self::{
    meeting::DEPTH_MAX,
    world::{World, secrets},
};
use crate::{
    Orchestrator,
    engine::{Error as Fault, NeedId, Outcome, Status},
    outcome, programs,
    store::{
        instances::{self, Held},
        needs,
    },
};

/// Turns of the first advance, which whoever starts a run waits for, and the steps of each of these turns.
pub(crate) const FIRST_TURNS_MAX: usize = 4;
pub(crate) const FIRST_STEPS_MAX: u32 = 200;
/// A first turn that takes longer is left to a job, and begins anew there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What the engine's numbers of needs are in the database.
#[expect(clippy::cast_possible_wrap, reason = "needs are counted from 0")]
pub(crate) fn number(need: NeedId) -> i64 {
    need.0 as i64
}

/// The engine's name of a need.
pub(crate) fn need(number: i64) -> NeedId {
    NeedId(number.unsigned_abs())
}

/// Who advances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The job that was enqueued for it.
    ItsJob,
    /// Somebody with an outcome.
    Outcome,
}

/// Takes outcomes in and goes on as far as it may. An instance that has ended, or is not there any more, takes nothing in.
///
/// # Errors
///
/// The database fails: nothing has happened then.
pub(crate) async fn advance(
    cx: &Cx<Orchestrator>,
    id: Uuid,
    given: Vec<(NeedId, Outcome)>,
    by: By,
) -> Result<()> {
    advance_with(cx, id, given, by, None).await.map(drop)
}

/// The same by a job that goes on with the next call itself, instead of one that is enqueued for it: the need of that call.
///
/// # Errors
///
/// As [`advance`].
pub(crate) async fn advance_with(
    cx: &Cx<Orchestrator>,
    id: Uuid,
    given: Vec<(NeedId, Outcome)>,
    by: By,
    job: Option<i64>,
) -> Result<Option<i64>> {
    let tx = cx.db().begin().await?;
    let held = match by {
        By::ItsJob => instances::hold_begun(&tx, id).await?,
        By::Outcome => instances::hold(&tx, id).await?,
    };
    let Some(held) = held.filter(|held| held.is_open) else {
        return tx.commit().await.map(|()| None);
    };
    let After { taken, has_ended } = take_in(cx, &tx, id, &held, given, job).await?;
    tx.commit().await?;
    cx.plugin().watching.tell(id, has_ended);
    Ok(taken)
}

async fn take_in(
    cx: &Cx<Orchestrator>,
    tx: &Transaction,
    id: Uuid,
    held: &Held,
    given: Vec<(NeedId, Outcome)>,
    job: Option<i64>,
) -> Result<After> {
    if held.is_suspended {
        for (need, outcome) in given {
            needs::put_aside(tx, id, number(need), &outcome::keep(outcome)).await?;
        }
        return Ok(After {
            taken: None,
            has_ended: false,
        });
    }
    let mut work = Work::new(cx, tx, id, held);
    work.job = job;
    match programs::of(cx, tx, held.definition_id).await? {
        Ok(program) => work.run(program, given).await?,
        Err(fault) => work.status = Status::Faulted(fault),
    }
    work.leave().await
}

/// The first advance of an instance that was made in this transaction: one that needs nothing from outside has then come and gone in
/// one commit, and what is not done soon goes on in a job. What else is to be written is written `beside` it.
///
/// # Errors
///
/// The database fails, and with it the transaction.
pub(crate) async fn begin_in(
    cx: &Cx<Orchestrator>,
    tx: &Transaction,
    id: Uuid,
    held: &Held,
    beside: impl Future<Output = Result<()>> + Send,
) -> Result<()> {
    let program = programs::of(cx, tx, held.definition_id).await?;
    let mut work = Work::new(cx, tx, id, held);
    work.turns_max = FIRST_TURNS_MAX;
    work.patience = Some(PATIENCE);
    match program {
        Ok(program) => work.run(program, Vec::new()).await?,
        Err(fault) => work.status = Status::Faulted(fault),
    }
    if work.is_slow {
        return future::try_join(instances::queue(tx, id), beside)
            .await
            .map(|_| ());
    }
    let goes_straight = work.has_gone_straight();
    cx.plugin().programs.note(held.definition_id, goes_straight);
    work.leave_beside(beside).await.map(drop)
}

/// Ends an instance that nothing drives any more.
///
/// # Errors
///
/// The database fails: nothing has happened then.
pub(crate) async fn give_up(cx: &Cx<Orchestrator>, id: Uuid, why: Fault) -> Result<()> {
    let tx = cx.db().begin().await?;
    let Some(held) = instances::hold(&tx, id).await?.filter(|held| held.is_open) else {
        return Ok(());
    };
    let mut work = Work::new(cx, &tx, id, &held);
    work.status = Status::Faulted(why);
    work.leave().await?;
    tx.commit().await?;
    cx.plugin().watching.tell(id, true);
    Ok(())
}

/// Shows an event to an instance, after all that came before it and was not shown: `migrations/0008_order.up.sql` says why.
///
/// # Errors
///
/// The database fails: nothing has happened then.
pub(crate) async fn hear(cx: &Cx<Orchestrator>, id: Uuid, event: Uuid) -> Result<()> {
    let tx = cx.db().begin().await?;
    let Some(held) = instances::hold(&tx, id).await?.filter(|held| held.is_open) else {
        return tx.commit().await;
    };
    if held.is_suspended {
        // It looks for what came in the meantime when it goes on.
        needs::look_again(&tx, id, event).await?;
        return tx.commit().await;
    }
    let mut work = Work::new(cx, &tx, id, &held);
    match programs::of(cx, &tx, held.definition_id).await? {
        Ok(program) => {
            if !work.hear(program, event).await? {
                return tx.commit().await;
            }
        }
        Err(fault) => work.status = Status::Faulted(fault),
    }
    let After { has_ended, .. } = work.leave().await?;
    tx.commit().await?;
    cx.plugin().watching.tell(id, has_ended);
    Ok(())
}
