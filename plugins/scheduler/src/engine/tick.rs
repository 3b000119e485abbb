//! One tick: what is due is taken, fired and moved on, in one transaction and by one reading of the database's clock.

use std::{collections::HashMap, time::Duration};

use nself_plugin_api::{
    jiff::{SignedDuration, Timestamp},
    prelude::{Cx, Result},
    tracing::{debug, warn},
    uuid::Uuid,
};

use crate::{
    Scheduler,
    missed::due,
    refusal::ScheduleError,
    schedule::Definition,
    store::{
        self,
        schedules::{Place, Stored},
        tick::{Fires, Move},
    },
    timing::Timing,
    zone::Zones,
};

/// Most schedules of one tick.
const SCHEDULES_MAX: i64 = 500;
/// Most of them when each target is reached in a sub-transaction of its own.
const CAREFUL_MAX: i64 = 50;
/// When this many fires are together, the rest is left to the next tick.
const FIRES_MAX: usize = 2_000;
/// How often is asked whether the run is over that another one waits for.
const WAIT: SignedDuration = SignedDuration::from_secs(1);

/// Fires what is due; how many schedules were looked at.
pub(crate) async fn tick(cx: &Cx<Scheduler>, careful: bool) -> Result<usize> {
    let db = cx.db();
    let tx = db.begin().await?;
    let limit = if careful { CAREFUL_MAX } else { SCHEDULES_MAX };
    let taken = store::tick::take(&tx, limit).await?;
    let Some((now, _)) = taken.first() else {
        tx.rollback().await?;
        return Ok(0);
    };
    let now = *now;
    let (mut fires, mut moves) = (Fires::default(), Vec::with_capacity(taken.len()));
    for (_, schedule) in &taken {
        moves.push(look(&cx.plugin().zones, schedule, now, &mut fires));
        if fires.nominals.len() >= FIRES_MAX {
            break;
        }
    }
    let fired = store::tick::fire(&tx, &fires, "time", now, careful).await?;
    let mut by_id: HashMap<Uuid, &mut Move> = moves.iter_mut().map(|one| (one.id, one)).collect();
    for one in &fired {
        if let Some(moved) = by_id.get_mut(&one.schedule) {
            moved.note(one);
        }
    }
    for moved in &mut moves {
        if moved.waiting_at.is_some() {
            let ask = now.checked_add(WAIT).unwrap_or(now);
            moved.place.due_at = Some(moved.place.due_at.map_or(ask, |due| due.min(ask)));
        }
    }
    store::tick::advance(&tx, &moves, now).await?;
    tx.commit().await?;
    cx.plugin().metrics.note(&moves, &fired);
    debug!(
        schedules = moves.len(),
        fires = fired.len(),
        "schedules were fired"
    );
    Ok(moves.len())
}

/// What to fire for a schedule that is due, and how it goes on.
fn look(zones: &Zones, schedule: &Stored, now: Timestamp, fires: &mut Fires) -> Move {
    let definition = &schedule.definition;
    if let Some(waiting) = schedule.waiting_at {
        fires.push(schedule.id, waiting, 0, true);
    }
    let here = Place {
        next_at: schedule.next_at,
        due_at: None,
    };
    let Some(pending) = schedule.next_at else {
        return Move::new(schedule, here);
    };
    let timing = match definition.when().read(schedule.created_at, zones) {
        Ok(timing) => timing,
        Err(error) => return stuck(schedule, here, &error),
    };
    let id = schedule.id.as_u128();
    let delay = |nominal| definition.delay(id, &timing, nominal);
    if put_off(pending, delay(pending)) > now {
        // It was looked at for a run that waits.
        return Move::new(schedule, placed(definition, id, &timing, Some(pending)));
    }
    let due = due(&timing, pending, now, definition.catch_up());
    for nominal in &due.fire {
        let delay_ms = i64::try_from(delay(*nominal).as_millis()).unwrap_or(0);
        fires.push(schedule.id, *nominal, delay_ms, false);
    }
    let mut moved = Move::new(schedule, placed(definition, id, &timing, due.next));
    moved.missed = i64::from(due.skipped);
    if due.next.is_none()
        && let Err(error) = timing.find_after(now)
    {
        moved.trouble = Some(error.to_string());
    }
    moved
}

fn stuck(schedule: &Stored, here: Place, error: &ScheduleError) -> Move {
    warn!(schedule = schedule.definition.name, error = %error, "a schedule has no next time");
    let mut moved = Move::new(schedule, here);
    moved.trouble = Some(error.to_string());
    moved
}

fn put_off(nominal: Timestamp, delay: Duration) -> Timestamp {
    SignedDuration::try_from(delay)
        .ok()
        .and_then(|delay| nominal.checked_add(delay).ok())
        .unwrap_or(nominal)
}

/// Where a schedule stands whose next time is known.
pub(crate) fn placed(
    definition: &Definition,
    id: u128,
    timing: &Timing,
    next: Option<Timestamp>,
) -> Place {
    Place {
        next_at: next,
        due_at: next.map(|next| put_off(next, definition.delay(id, timing, next))),
    }
}

/// Where a schedule stands that begins, or begins anew, after an instant.
pub(crate) fn place_after(
    definition: &Definition,
    id: Uuid,
    timing: &Timing,
    after: Timestamp,
) -> Result<Place, ScheduleError> {
    let next = timing.find_after(after)?;
    Ok(placed(definition, id.as_u128(), timing, next))
}

/// Computes the times anew that were computed with older zone data.
pub(crate) async fn renew(cx: &Cx<Scheduler>) -> Result<()> {
    let (db, zones) = (cx.db(), &cx.plugin().zones);
    loop {
        let tx = db.begin().await?;
        let outdated = store::schedules::hold_outdated(&tx, zones.version(), SCHEDULES_MAX).await?;
        if outdated.is_empty() {
            return tx.rollback().await;
        }
        let now = store::schedules::now(&tx).await?;
        for schedule in &outdated {
            let (mut place, trouble) = renewed(zones, schedule, now);
            if schedule.waiting_at.is_some() {
                place.due_at = Some(now);
            }
            let trouble = trouble.as_ref().map(ToString::to_string);
            store::schedules::move_to(&tx, schedule.id, place, zones.version(), trouble.as_deref())
                .await?;
        }
        store::schedules::tell(&tx).await?;
        tx.commit().await?;
    }
}

fn renewed(zones: &Zones, schedule: &Stored, now: Timestamp) -> (Place, Option<ScheduleError>) {
    let here = Place {
        next_at: schedule.next_at,
        due_at: schedule.due_at,
    };
    // What is due already was due by what was known then; the tick decides about it.
    let is_over = schedule.next_at.is_none() && schedule.trouble.is_none();
    if is_over || schedule.due_at.is_some_and(|due| due <= now) {
        return (here, None);
    }
    let definition = &schedule.definition;
    let place = definition
        .when()
        .read(schedule.created_at, zones)
        .and_then(|timing| place_after(definition, schedule.id, &timing, now));
    match place {
        Ok(place) => (place, None),
        Err(error) => (
            Place {
                next_at: here.next_at,
                due_at: None,
            },
            Some(error),
        ),
    }
}

/// Fires a schedule that the transaction holds outside of its times.
pub(crate) async fn fire_now(
    tx: &impl nself_plugin_api::prelude::Queries,
    schedule: &Stored,
    nominals: &[Timestamp],
    origin: &str,
    now: Timestamp,
) -> Result<Move> {
    let mut fires = Fires::default();
    for nominal in nominals {
        fires.push(schedule.id, *nominal, 0, false);
    }
    let fired = store::tick::fire(tx, &fires, origin, now, true).await?;
    let place = Place {
        next_at: schedule.next_at,
        due_at: schedule.due_at,
    };
    let mut moved = Move::new(schedule, place);
    moved.trouble.clone_from(&schedule.trouble);
    for one in &fired {
        moved.note(one);
    }
    store::tick::advance(tx, std::slice::from_ref(&moved), now).await?;
    Ok(moved)
}
