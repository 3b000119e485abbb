//! Fires: made by hand, made up for, looked at.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::json};
use serde::{Deserialize, Serialize};

use super::{
    reserved,
    schedules::{held, note, shown},
};
use crate::{
    Scheduler,
    engine::tick,
    refusal::ScheduleError,
    shown::Shown,
    store::{self, fires::Fire, schedules::Stored},
};

/// Most fires that one backfill makes.
const BACKFILL_MAX: usize = 1_000;

/// Which fires.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Page {
    /// Those before this time.
    pub before: Option<Timestamp>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
}

/// A window of time.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    /// The first instant.
    pub from: Timestamp,
    /// The last instant, which is not later than now.
    pub to: Timestamp,
    /// Only say what would be fired.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a backfill fires.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Backfilled {
    /// The times of the window that have not been fired.
    pub times: Vec<Timestamp>,
    /// How many of them were fired now.
    pub fired: i64,
}

pub(crate) async fn list(
    cx: Cx<Scheduler>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
) -> Result<Data<Vec<Fire>>> {
    let db = cx.db();
    let stored = store::schedules::find(&db, &name).await?;
    let stored = stored.ok_or(ScheduleError::Unknown { name })?;
    let limit = page.limit.unwrap_or(100).clamp(1, 1_000);
    store::fires::list(&db, stored.id, page.before, limit)
        .await
        .map(Data)
}

/// Now, whatever the schedule says, even if it is paused.
pub(crate) async fn run(
    cx: Cx<Scheduler>,
    who: Principal,
    Path(name): Path<String>,
) -> Result<Data<Shown>> {
    let tx = cx.db().begin().await?;
    let stored = held(&tx, &name).await?;
    reserved::check(&cx, &who, &stored.action).await?;
    let now = store::schedules::now(&tx).await?;
    let moved = tick::fire_now(&tx, &stored, &[now], "manual", now).await?;
    if moved.failed > 0 {
        tx.rollback().await?;
        return Err(ScheduleError::Failed {
            name,
            problem: moved_problem(&stored),
        }
        .into());
    }
    note(&tx, "scheduler.run", &name, json!({}), &who).await?;
    tx.commit().await?;
    shown(&cx, &name).await.map(Data)
}

fn moved_problem(stored: &Stored) -> String {
    let kind = stored.action["kind"]
        .as_str()
        .or(stored.action["event"].as_str());
    format!(
        "{} was refused; are its options right?",
        kind.unwrap_or("the target")
    )
}

/// Fires for the times of a window that have not been fired. What was fired is known for as long as fires are kept.
pub(crate) async fn backfill(
    cx: Cx<Scheduler>,
    who: Principal,
    Path(name): Path<String>,
    Json(window): Json<Window>,
) -> Result<Data<Backfilled>> {
    let tx = cx.db().begin().await?;
    let stored = held(&tx, &name).await?;
    reserved::check(&cx, &who, &stored.action).await?;
    let now = store::schedules::now(&tx).await?;
    let times = missing(&cx, &tx, &stored, &window, now).await?;
    if window.dry_run || times.is_empty() {
        tx.rollback().await?;
        return Ok(Data(Backfilled { times, fired: 0 }));
    }
    let moved = tick::fire_now(&tx, &stored, &times, "backfill", now).await?;
    let details = json!({"from": window.from, "to": window.to, "fired": moved.fired});
    note(&tx, "scheduler.backfilled", &name, details, &who).await?;
    tx.commit().await?;
    Ok(Data(Backfilled {
        times,
        fired: moved.fired,
    }))
}

async fn missing(
    cx: &Cx<Scheduler>,
    tx: &impl Queries,
    stored: &Stored,
    window: &Window,
    now: Timestamp,
) -> Result<Vec<Timestamp>> {
    if window.from > window.to || window.to > now {
        return Err(ScheduleError::Window(
            "from must not be after to, and to not after now".to_owned(),
        )
        .into());
    }
    let timing = stored
        .definition
        .when()
        .read(stored.created_at, &cx.plugin().zones)?;
    let fired = store::fires::nominals(tx, stored.id, window.from, window.to).await?;
    let before = window
        .from
        .checked_sub(nself_plugin_api::jiff::SignedDuration::from_nanos(1));
    let times = timing
        .after(before.unwrap_or(window.from))
        .take_while(|time| *time <= window.to);
    let missing: Vec<Timestamp> = times
        .filter(|time| fired.binary_search(time).is_err())
        .take(BACKFILL_MAX + 1)
        .collect();
    if missing.len() > BACKFILL_MAX {
        let problem = format!(
            "more than {BACKFILL_MAX} times of the window have not been fired: take a shorter one"
        );
        return Err(ScheduleError::Window(problem).into());
    }
    Ok(missing)
}
