//! Schedules: made, looked at, changed, paused.

use nself_plugin_api::{
    capability::audit,
    jiff::Timestamp,
    prelude::*,
    serde_json::{Value, json},
};
use serde::{Deserialize, Serialize};

use super::reserved;
use crate::{
    Scheduler,
    engine::tick,
    plan::{self, Wanted},
    refusal::ScheduleError,
    schedule::{Definition, When},
    shown::Shown,
    store::schedules::{self, Stored},
};

/// Most rows of a page.
const PAGE_MAX: i64 = 1_000;
/// Most times of a preview.
const PREVIEW_MAX: usize = 1_000;

/// Which schedules.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Of this owner.
    pub owner: Option<String>,
    /// Those after this name.
    pub after: Option<String>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
}

/// Why a schedule is paused.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Reason {
    /// A sentence for who looks at it later.
    pub reason: Option<String>,
}

/// What is to be previewed.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preview {
    /// A cron expression, `@every 90s`, `@at 2030-01-01T00:00:00Z`, or an RRULE of RFC 5545.
    pub spec: String,
    /// IANA name of the time zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// For local times that do not exist.
    #[serde(default)]
    pub gap: crate::schedule::GapRule,
    /// For local times that happen twice.
    #[serde(default)]
    pub overlap_time: crate::schedule::OverlapTime,
    /// The first instant at which it may fire.
    #[serde(default)]
    pub start_at: Option<Timestamp>,
    /// The last instant at which it may fire.
    #[serde(default)]
    pub end_at: Option<Timestamp>,
    /// Times after this one; now when it is left out.
    #[serde(default)]
    pub after: Option<Timestamp>,
    /// How many, at most 1000.
    #[serde(default)]
    pub count: Option<u32>,
}

/// When a text fires.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Previewed {
    /// The text in the one form in which times are compared.
    pub spec: String,
    /// The zone of its local times.
    pub zone: String,
    /// The times.
    pub next: Vec<PreviewedTime>,
}

/// One time.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct PreviewedTime {
    /// The instant.
    pub at: Timestamp,
    /// What the walls of the zone show.
    pub local: String,
}

pub(crate) async fn list(
    cx: Cx<Scheduler>,
    Query(filter): Query<Filter>,
) -> Result<Data<Vec<Shown>>> {
    let limit = filter.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let after = filter.after.unwrap_or_default();
    let db = cx.db();
    let found = schedules::list(&db, filter.owner.as_deref(), &after, limit).await?;
    let now = schedules::now(&db).await?;
    let zones = &cx.plugin().zones;
    Ok(Data(
        found
            .into_iter()
            .map(|one| Shown::of(one, zones, now))
            .collect(),
    ))
}

pub(crate) async fn show(cx: Cx<Scheduler>, Path(name): Path<String>) -> Result<Data<Shown>> {
    shown(&cx, &name).await.map(Data)
}

pub(crate) async fn create(
    cx: Cx<Scheduler>,
    who: Principal,
    Json(definition): Json<Definition>,
) -> Result<Created<Shown>> {
    let name = definition.name.clone();
    let wanted = Wanted {
        action: definition.check()?,
        definition,
    };
    reserved::check(&cx, &who, &wanted.action).await?;
    let tx = cx.db().begin().await?;
    let now = schedules::now(&tx).await?;
    plan::add(&tx, &cx.plugin().zones, "api", &wanted, now).await?;
    note(&tx, "scheduler.created", &name, json!({}), &who).await?;
    schedules::tell(&tx).await?;
    tx.commit().await?;
    shown(&cx, &name).await.map(Created)
}

pub(crate) async fn replace(
    cx: Cx<Scheduler>,
    who: Principal,
    Path(name): Path<String>,
    Json(definition): Json<Definition>,
) -> Result<Data<Shown>> {
    if definition.name != name {
        return Err(ScheduleError::invalid(
            "name",
            "must be the one in the address: a schedule keeps its name",
        )
        .into());
    }
    let wanted = Wanted {
        action: definition.check()?,
        definition,
    };
    reserved::check(&cx, &who, &wanted.action).await?;
    let tx = cx.db().begin().await?;
    let stored = own(&tx, &name).await?;
    let now = schedules::now(&tx).await?;
    plan::change(&tx, &cx.plugin().zones, &stored, &wanted, now).await?;
    note(&tx, "scheduler.changed", &name, json!({}), &who).await?;
    schedules::tell(&tx).await?;
    tx.commit().await?;
    shown(&cx, &name).await.map(Data)
}

pub(crate) async fn remove(
    cx: Cx<Scheduler>,
    who: Principal,
    Path(name): Path<String>,
) -> Result<NoContent> {
    let tx = cx.db().begin().await?;
    let stored = own(&tx, &name).await?;
    schedules::remove(&tx, &[stored.id]).await?;
    note(&tx, "scheduler.removed", &name, json!({}), &who).await?;
    tx.commit().await?;
    Ok(NoContent)
}

pub(crate) async fn pause(
    cx: Cx<Scheduler>,
    who: Principal,
    Path(name): Path<String>,
    Json(reason): Json<Reason>,
) -> Result<Data<Shown>> {
    let reason = reason.reason.as_deref();
    if reason.is_some_and(|reason| reason.len() > 1_000 || reason.contains('\0')) {
        return Err(
            ScheduleError::invalid("reason", "must be at most 1000 characters of text").into(),
        );
    }
    let tx = cx.db().begin().await?;
    let stored = held(&tx, &name).await?;
    schedules::pause(&tx, stored.id, &who.subject, reason).await?;
    note(
        &tx,
        "scheduler.paused",
        &name,
        json!({"reason": reason}),
        &who,
    )
    .await?;
    tx.commit().await?;
    shown(&cx, &name).await.map(Data)
}

/// Nothing of the pause is made up for: that is what `backfill` is there for.
pub(crate) async fn resume(
    cx: Cx<Scheduler>,
    who: Principal,
    Path(name): Path<String>,
) -> Result<Data<Shown>> {
    let tx = cx.db().begin().await?;
    let stored = held(&tx, &name).await?;
    if stored.paused_at.is_some() {
        let now = schedules::now(&tx).await?;
        let timing = stored
            .definition
            .when()
            .read(stored.created_at, &cx.plugin().zones)?;
        let mut place = tick::place_after(&stored.definition, stored.id, &timing, now)?;
        if stored.waiting_at.is_some() {
            place.due_at = Some(now);
        }
        schedules::resume(&tx, stored.id, place).await?;
        note(&tx, "scheduler.resumed", &name, json!({}), &who).await?;
        schedules::tell(&tx).await?;
    }
    tx.commit().await?;
    shown(&cx, &name).await.map(Data)
}

pub(crate) async fn preview(
    cx: Cx<Scheduler>,
    Json(preview): Json<Preview>,
) -> Result<Data<Previewed>> {
    let now = schedules::now(&cx.db()).await?;
    let when = When {
        spec: preview.spec,
        zone: preview.zone,
        gap: preview.gap,
        overlap_time: preview.overlap_time,
        start_at: preview.start_at,
        end_at: preview.end_at,
    };
    let count = usize::try_from(preview.count.unwrap_or(10))
        .unwrap_or(PREVIEW_MAX)
        .clamp(1, PREVIEW_MAX);
    let zones = cx.plugin().zones.clone();
    // A rule can be written whose times lie far apart.
    let tasks = cx.tasks();
    let read = tasks.blocking(move || {
        let timing = when.read(now, &zones)?;
        let tz = timing.zone().tz().clone();
        let times = timing.after(preview.after.unwrap_or(now)).take(count);
        let next = times.map(|at| PreviewedTime {
            at,
            local: at
                .to_zoned(tz.clone())
                .strftime("%Y-%m-%dT%H:%M:%S%:z")
                .to_string(),
        });
        Ok::<_, ScheduleError>(Previewed {
            next: next.collect(),
            spec: timing.canonical(),
            zone: timing.zone().name().to_owned(),
        })
    });
    Ok(Data(read.await??))
}

/// A schedule with its next times.
pub(super) async fn shown(cx: &Cx<Scheduler>, name: &str) -> Result<Shown> {
    let db = cx.db();
    let stored = schedules::find(&db, name)
        .await?
        .ok_or_else(|| unknown(name))?;
    let now = schedules::now(&db).await?;
    Ok(Shown::of(stored, &cx.plugin().zones, now))
}

/// A schedule, held by the transaction.
pub(super) async fn held(tx: &impl Queries, name: &str) -> Result<Stored> {
    Ok(schedules::hold(tx, name)
        .await?
        .ok_or_else(|| unknown(name))?)
}

/// A schedule that was made over HTTP, held by the transaction: the others are kept elsewhere, and would come back as they were.
async fn own(tx: &impl Queries, name: &str) -> Result<Stored> {
    let stored = held(tx, name).await?;
    if !matches!(&*stored.owner, "api" | "event") {
        let (name, owner) = (name.to_owned(), stored.owner);
        return Err(ScheduleError::Owned { name, owner }.into());
    }
    Ok(stored)
}

fn unknown(name: &str) -> ScheduleError {
    let name = name.to_owned();
    ScheduleError::Unknown { name }
}

/// Writes down who did what.
pub(super) async fn note(
    tx: &impl Queries,
    action: &str,
    name: &str,
    details: Value,
    who: &Principal,
) -> Result<()> {
    let entry = audit::Entry {
        action,
        target: name,
        details,
        family_id: None,
        actor: Some(&who.subject),
    };
    audit::append_in(tx, entry).await
}
