//! Instances of workflows: started, looked at, steered.

use std::time::Duration;

use nself_plugin_api::{
    Kind,
    capability::audit::{Entry, append_in},
    futures_util::{Stream, stream},
    http::HeaderMap,
    prelude::*,
    serde_json::{self, Value, json},
    uuid::Uuid,
};
use serde::Deserialize;

use super::{
    commands::idempotency_key,
    definitions::{self, Which as Wanted},
};
use crate::{
    Orchestrator,
    advance::{World, begin_in, secrets},
    engine::State,
    error::WorkflowError,
    outcome::storable,
    programs,
    reach::Reach,
    room, standing,
    store::{
        definitions::Stored,
        history::{self, Happened},
        instances::{self as store, Instance, New, Which},
    },
    straight,
    version::LATEST,
    watching::{News, Watcher},
};

/// What a service needs that works with the workflows of all families.
pub(crate) const SCOPE: &str = "workflows";
/// Most rows of a page.
const PAGE_MAX: i64 = 1_000;
/// Longest wait of a request.
const WAIT_SECONDS_MAX: u32 = 25;
/// Longest wait of an operator, who watches it. The route gives up a little later.
const WAIT_OF_OPERATORS: Duration = Duration::from_secs(3_600);

/// What comes in.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Start {
    /// The workflow's input.
    pub input: Value,
    /// The family that it runs for; people start it for their active family.
    pub family_id: Option<Uuid>,
    /// Seconds that the request waits for the end; at most 25.
    pub wait_seconds: Option<u32>,
}

/// What comes in on the command line.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StartNamed {
    /// The workflow's version; the highest when it is left out.
    pub version: Option<String>,
    /// The workflow's input.
    pub input: Value,
    /// The family that it runs for.
    pub family_id: Option<Uuid>,
    /// Whether the request waits for the end, for at most an hour.
    pub wait: bool,
}

/// Which instances.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Of this namespace.
    pub namespace: Option<String>,
    /// Of this workflow.
    pub name: Option<String>,
    /// `running`, `waiting`, `suspended`, `completed`, `faulted` or `cancelled`.
    pub status: Option<String>,
    /// Started with this `Idempotency-Key`.
    pub key: Option<String>,
    /// Of this family.
    pub family_id: Option<Uuid>,
    /// Those before this one.
    pub before: Option<Uuid>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
}

/// Which part of a history.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Part {
    /// Rows after this one.
    pub after: Option<i64>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
}

/// Whose instances a caller reaches.
pub(crate) fn reach(cx: &Cx<Orchestrator>, who: &Principal) -> Option<Reach> {
    Reach::of(who, SCOPE, |role| {
        cx.plugin().workflow_managers.contain(role)
    })
}

pub(crate) async fn start(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(name): Path<Wanted>,
    headers: HeaderMap,
    Json(start): Json<Start>,
) -> Result<Created<Instance>> {
    let key = idempotency_key(&headers)?;
    let meant = definitions::meant(&cx, &who, &name).await?;
    let family = match reach(&cx, &who) {
        Some(Reach::Family(own)) if start.family_id.is_none_or(|family| family == own) => Some(own),
        Some(Reach::All) => start.family_id,
        _ => return Err(WorkflowError::Unknown.into()),
    };
    if let Some(family) = family {
        let max = cx.plugin().config.family_instances_max;
        if store::open(&cx.db(), family).await? >= i64::from(max) {
            return Err(WorkflowError::TooMany { max }.into());
        }
    }
    let input = storable(start.input);
    let new = New {
        definition_id: meant.id,
        namespace: &meant.namespace,
        name: &meant.name,
        version: &meant.version,
        family_id: family,
        input: &input,
        key: key.as_deref(),
        parent: None,
        depth: 0,
        schedule_id: None,
        created_by: &who.subject,
    };
    if let Some(ended) = start_straight(&cx, &new, &who).await? {
        return Ok(Created(ended));
    }
    let id = start_winding(&cx, new, &who, &name).await?;
    let seconds = start.wait_seconds.unwrap_or(0).min(WAIT_SECONDS_MAX);
    wait_for(&cx, id, Duration::from_secs(seconds.into()))
        .await
        .map(Created)
}

/// The run, when it has gone straight to its end.
async fn start_straight(
    cx: &Cx<Orchestrator>,
    new: &New<'_>,
    who: &Principal,
) -> Result<Option<Instance>> {
    if !cx.plugin().programs.is_straight(new.definition_id) {
        return Ok(None);
    }
    let Ok(program) = programs::of(cx, &cx.db(), new.definition_id).await? else {
        return Ok(None);
    };
    straight::start(cx, new, program, is_audited(who)).await
}

/// A run that may need something, with the jobs that drive it.
async fn start_winding(
    cx: &Cx<Orchestrator>,
    new: New<'_>,
    who: &Principal,
    name: &Wanted,
) -> Result<Uuid> {
    let tx = cx.db().begin().await?;
    // It may have been removed since it was asked for, and be another one now.
    let found = definitions::find(&tx, reach(cx, who), name).await;
    let is_same = |found: &Stored| found.id == new.definition_id;
    if !found.as_ref().is_ok_and(is_same) {
        cx.plugin().programs.doubt(new.definition_id);
    }
    let found = found?;
    let new = New {
        definition_id: found.id,
        version: &found.version,
        ..new
    };
    let id = match store::add(&tx, &new).await? {
        Some((id, held)) => {
            // Last, because all of the family wait for it from here on.
            let noted = async {
                room::check(cx, &tx, new.family_id, 0).await?;
                if is_audited(who) {
                    note(&tx, "orchestrator.run_started", id, new.family_id, who).await?;
                }
                Ok(())
            };
            begin_in(cx, &tx, id, &held, noted).await?;
            id
        }
        None => same(&tx, &new).await?,
    };
    tx.commit().await?;
    Ok(id)
}

/// What operators do is in the audit log. Who of a family, and which service, has started a run stands in the run.
fn is_audited(who: &Principal) -> bool {
    who.kind == Kind::Operator
}

/// The same on the command line, where the version is left out mostly and waiting has no end.
pub(crate) async fn start_named(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    Json(given): Json<StartNamed>,
) -> Result<Created<Instance>> {
    let wanted = Wanted {
        namespace,
        name,
        version: given.version.unwrap_or_else(|| LATEST.to_owned()),
    };
    let begin = Start {
        input: given.input,
        family_id: given.family_id,
        wait_seconds: None,
    };
    let Created(begun) = start(cx.clone(), who, Path(wanted), headers, Json(begin)).await?;
    let limit = if given.wait {
        WAIT_OF_OPERATORS
    } else {
        Duration::ZERO
    };
    wait_for(&cx, begun.id, limit).await.map(Created)
}

/// The instance that the key has made.
async fn same(tx: &impl Queries, new: &New<'_>) -> Result<Uuid> {
    let key = new.key.unwrap_or_default();
    let found = store::by_key(tx, new.namespace, new.name, new.family_id, key).await?;
    match found {
        Some(found) if found.input == *new.input && found.version == new.version => Ok(found.id),
        _ => Err(WorkflowError::KeyUsed.into()),
    }
}

pub(crate) async fn list(
    cx: Cx<Orchestrator>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Data<Vec<Instance>>> {
    let Some(reach) = reach(&cx, &who) else {
        return Ok(Data(Vec::new()));
    };
    let which = Which {
        family: reach.family().or(filter.family_id),
        namespace: filter.namespace.as_deref(),
        name: filter.name.as_deref(),
        status: filter.status.as_deref(),
        key: filter.key.as_deref(),
        before: filter.before,
        limit: filter.limit.unwrap_or(100).clamp(1, PAGE_MAX),
    };
    store::list(&cx.db(), &which).await.map(Data)
}

pub(crate) async fn show(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Data<Instance>> {
    let id = named(&cx, &who, &id).await?;
    let mut found = find(&cx.db(), reach(&cx, &who), id).await?;
    if found.ended_at.is_none() {
        let standing = standing::of(&cx, id).await?;
        found.current = Some(standing.current);
        found.waits_for = Some(standing.waits_for);
    }
    Ok(Data(found))
}

pub(crate) async fn history(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Result<Data<Vec<Happened>>> {
    let id = named(&cx, &who, &id).await?;
    find(&cx.db(), reach(&cx, &who), id).await?;
    let limit = part.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    history::list(&cx.db(), id, part.after.unwrap_or(0), limit)
        .await
        .map(Data)
}

pub(crate) async fn cancel(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Data<Instance>> {
    let id = named(&cx, &who, &id).await?;
    steer(&cx, &who, id, "orchestrator.run_cancelled", Steer::Cancel).await
}

pub(crate) async fn suspend(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Data<Instance>> {
    let id = named(&cx, &who, &id).await?;
    steer(&cx, &who, id, "orchestrator.run_suspended", Steer::Suspend).await
}

pub(crate) async fn resume(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Data<Instance>> {
    let id = named(&cx, &who, &id).await?;
    steer(&cx, &who, id, "orchestrator.run_resumed", Steer::Resume).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Steer {
    Cancel,
    Suspend,
    Resume,
}

async fn steer(
    cx: &Cx<Orchestrator>,
    who: &Principal,
    id: Uuid,
    action: &str,
    steer: Steer,
) -> Result<Data<Instance>> {
    let tx = cx.db().begin().await?;
    let found = find(&tx, reach(cx, who), id).await?;
    let held = store::hold(&tx, id).await?.ok_or(WorkflowError::NoRun)?;
    if !held.is_open {
        return Err(WorkflowError::Ended {
            status: held.status,
        }
        .into());
    }
    match steer {
        Steer::Cancel => store::cancel(&tx, id).await?,
        Steer::Suspend => store::suspend(&tx, id, true).await?,
        Steer::Resume => store::suspend(&tx, id, false).await?,
    }
    if steer != Steer::Suspend {
        store::queue(&tx, id).await?;
    }
    note(&tx, action, id, found.family_id, who).await?;
    tx.commit().await?;
    find(&cx.db(), reach(cx, who), id).await.map(Data)
}

/// Takes an instance that has faulted back to the task that failed.
pub(crate) async fn retry(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Data<Instance>> {
    let id = named(&cx, &who, &id).await?;
    let tx = cx.db().begin().await?;
    let found = find(&tx, reach(&cx, &who), id).await?;
    let held = store::hold(&tx, id).await?.ok_or(WorkflowError::NoRun)?;
    let cannot = || WorkflowError::Ended {
        status: found.status.clone(),
    };
    if held.status != "faulted" {
        return Err(cannot().into());
    }
    let program = programs::of(&cx, &tx, held.definition_id).await?;
    let program = program.map_err(|_| cannot())?;
    let kept = held.state.unwrap_or_default();
    let mut state: State = serde_json::from_slice(&kept).map_err(|_| cannot())?;
    let world = World {
        secrets: secrets(&cx, &program),
        limits: cx.plugin().config.limits(),
        now: held.now,
    };
    world
        .tell(|around| program.retry_failed(&mut state, around))
        .map_err(|_| cannot())?;
    let state = serde_json::to_vec(&state).map_err(Error::internal)?;
    room::check(&cx, &tx, found.family_id, 1).await?;
    store::revive(&tx, id, held.epoch, &state).await?;
    store::queue(&tx, id).await?;
    note(&tx, "orchestrator.run_retried", id, found.family_id, &who).await?;
    tx.commit().await?;
    find(&cx.db(), reach(&cx, &who), id).await.map(Data)
}

/// What happens to an instance, as it happens: its history from the row `after` on, or from the one that `Last-Event-ID` names, then how
/// it ended.
pub(crate) async fn watch(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
    Query(part): Query<Part>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent>> + Send + 'static>> {
    let id = named(&cx, &who, &id).await?;
    find(&cx.db(), reach(&cx, &who), id).await?;
    // A client that lost the line says what it heard last; anything else is nothing.
    let heard = headers.get("last-event-id");
    let heard = heard.and_then(|last| last.to_str().ok()?.parse().ok());
    let after = heard.or(part.after).unwrap_or(0);
    let watcher = Watcher::of(&cx, id, News::Any);
    let news = stream::unfold(Some((cx, watcher, id, after)), async |at| {
        let (cx, mut watcher, id, after) = at?;
        match batch(&cx, &mut watcher, id, after).await {
            Ok(Some((text, last, is_end))) => {
                let next = (!is_end).then_some((cx, watcher, id, last));
                let event = if is_end { "ended" } else { "progress" };
                let event = SseEvent::data(&text).event(event).id(&last.to_string());
                Some((Ok(event), next))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Sse(news))
}

/// The next rows of a history, or the instance when it has ended and they are all told.
async fn batch(
    cx: &Cx<Orchestrator>,
    watcher: &mut Watcher,
    id: Uuid,
    after: i64,
) -> Result<Option<(String, i64, bool)>> {
    loop {
        // In this order: what is written after the first look is looked for again.
        let instance = store::find(&cx.db(), id, None).await?;
        let Some(instance) = instance else {
            return Ok(None);
        };
        let rows = history::list(&cx.db(), id, after, 100).await?;
        if let Some(last) = rows.last() {
            let (text, last) = (serde_json::to_string(&rows), last.number);
            return Ok(Some((text.map_err(Error::internal)?, last, false)));
        }
        if instance.ended_at.is_some() {
            let text = serde_json::to_string(&instance).map_err(Error::internal)?;
            return Ok(Some((text, after, true)));
        }
        if !watcher.news(Duration::MAX).await? {
            return Ok(None);
        }
    }
}

/// The instance when it has ended, or when the time is over.
async fn wait_for(cx: &Cx<Orchestrator>, id: Uuid, limit: Duration) -> Result<Instance> {
    let mut watcher = Watcher::of(cx, id, News::TheEnd);
    let until = cx.clock().monotonic()? + limit;
    loop {
        let found = store::find(&cx.db(), id, None).await?;
        let found = found.ok_or(WorkflowError::NoRun)?;
        let left = until.saturating_sub(cx.clock().monotonic()?);
        let is_over = found.ended_at.is_some() || left.is_zero();
        if is_over || !watcher.news(left).await? {
            return Ok(found);
        }
    }
}

/// The run that is meant: by its id, or by the beginning or end of one, which is enough for who sees all of them.
pub(super) async fn named(cx: &Cx<Orchestrator>, who: &Principal, given: &str) -> Result<Uuid> {
    if let Ok(id) = given.parse() {
        return Ok(id);
    }
    let is_part = (4..36).contains(&given.len())
        && given
            .chars()
            .all(|one| one.is_ascii_hexdigit() || one == '-');
    if is_part && reach(cx, who) == Some(Reach::All) {
        let found = store::by_part(&cx.db(), &given.to_ascii_lowercase()).await?;
        if let [id] = found[..] {
            return Ok(id);
        }
    }
    Err(WorkflowError::NoRun.into())
}

pub(super) async fn find(db: &impl Queries, reach: Option<Reach>, id: Uuid) -> Result<Instance> {
    let Some(reach) = reach else {
        return Err(WorkflowError::NoRun.into());
    };
    let found = store::find(db, id, reach.family()).await?;
    found.ok_or_else(|| WorkflowError::NoRun.into())
}

async fn note(
    tx: &impl Queries,
    action: &str,
    id: Uuid,
    family: Option<Uuid>,
    who: &Principal,
) -> Result<()> {
    let entry = Entry {
        action,
        target: &id.to_string(),
        details: json!({}),
        family_id: family,
        actor: Some(&who.subject),
    };
    append_in(tx, entry).await
}
