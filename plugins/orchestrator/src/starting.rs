//! Workflows that start by themselves, and starts that jobs ask for.
//!
//! Who keeps a workflow's schedule is its highest version, and that is settled in the transaction that adds or removes one. Times of
//! day and intervals are handed over to whatever plugin provides `scheduler.schedules/1`, which fires each of them once over all
//! hosts, as a job; pauses after a run are delayed jobs, and events start what they start in the transaction that marks them.

use nself_plugin_api::{
    prelude::{Cx, Error, JobRun, Queries, Result},
    serde_json::{self, Value, json},
    tracing::{debug, error, warn},
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    advance::{DEPTH_MAX, World, secrets},
    dsl::{Definition, duration},
    engine::{Gathered, Program, State},
    error::WorkflowError,
    matching,
    outcome::storable,
    programs, room,
    store::{
        definitions,
        instances::{self, New},
        schedules::{self, Offer, Starts, Timed},
    },
    version::{self, LATEST},
};

/// What keeps times of day and intervals.
const SCHEDULES: &str = "scheduler.schedules/1";
/// Under which name they are kept there.
const KEEPER: &str = "workflows";
/// Who started what nobody asked for.
const BY: &str = "schedule";
/// The key of a definition's metadata that names the zone of its times.
const ZONE: &str = "nself.zone";

/// The zone that a definition's times are read in.
pub(crate) fn zone(definition: &Definition) -> Option<&str> {
    definition.document.metadata.get(ZONE)?.as_str()
}

/// Lets the highest version of a workflow keep its schedule; none keeps it when that has none.
pub(crate) async fn settle(tx: &impl Queries, namespace: &str, name: &str) -> Result<()> {
    schedules::one_at_a_time(tx, namespace, name).await?;
    let version = version::resolve(tx, namespace, name, LATEST).await?;
    let said = match version {
        Some(version) => schedules::said(tx, namespace, name, &version).await?,
        None => None,
    };
    let keeper = schedules::keeper(tx, namespace, name).await?;
    let said = said.and_then(|said| Some((said.definition_id, said.schedule?)));
    match said {
        Some((definition, _)) if keeper == Some(definition) => return Ok(()),
        Some((definition_id, schedule)) => {
            let on = if schedule["on"].is_null() {
                None
            } else {
                subscription(tx, definition_id).await?
            };
            let (filters, types) = on.unzip();
            let new = schedules::New {
                namespace,
                name,
                definition_id,
                after_seconds: seconds(&schedule["after"]),
                filters,
                types: types.flatten(),
            };
            let id = schedules::put(tx, &new).await?;
            schedules::pause(tx, id).await?;
        }
        None if keeper.is_none() => return Ok(()),
        None => schedules::remove(tx, namespace, name).await?,
    }
    schedules::hand_over(tx).await
}

/// Which events start a definition: filters and types as they are kept.
async fn subscription(
    tx: &impl Queries,
    definition: Uuid,
) -> Result<Option<(Value, Option<Vec<String>>)>> {
    let Some((format, source)) = definitions::source(tx, definition).await? else {
        return Ok(None);
    };
    // It was found good before it was kept.
    let read = Definition::parse(&source, programs::format(&format)).ok();
    let program = read.and_then(|definition| Program::compile(&definition).ok());
    let on = program.and_then(|program| program.starts_on());
    Ok(on.map(|on| (storable(json!(on.filters)), matching::types(&on.filters))))
}

fn seconds(length: &Value) -> Option<f64> {
    duration(length).map(|length| length.as_secs_f64())
}

/// A schedule in the words of the plugin that keeps it.
fn wanted(timed: &Timed) -> Vec<Value> {
    let (namespace, name) = (&timed.namespace, &timed.name);
    let target = json!({"job": {
        "kind": "orchestrator.scheduled", "payload": {"namespace": namespace, "name": name},
    }});
    let one = |word: &str, spec: String| {
        // It runs beside the run before it, whatever that does: so the standard says of both.
        json!({
            "name": format!("workflow/{namespace}/{name}/{word}"), "spec": spec, "zone": timed.zone, "target": target, "overlap": "allow",
        })
    };
    let cron = timed.schedule["cron"].as_str();
    let every = seconds(&timed.schedule["every"]);
    let cron = cron.map(|cron| one("cron", cron.to_owned()));
    let every = every.map(|every| one("every", format!("@every PT{every}S")));
    cron.into_iter().chain(every).collect()
}

/// What is wrong with the times of a definition, as far as somebody is there who can tell.
///
/// # Errors
///
/// `WORKFLOW_INVALID` with what is wrong.
pub(crate) async fn check(cx: &Cx<Orchestrator>, definition: &Definition) -> Result<()> {
    let Some(schedule) = definition.source.get("schedule") else {
        return Ok(());
    };
    let timed = Timed {
        namespace: definition.document.namespace.clone(),
        name: definition.document.name.clone(),
        schedule: schedule.clone(),
        zone: zone(definition).map(str::to_owned),
    };
    let wanted = wanted(&timed);
    if wanted.is_empty() {
        return Ok(());
    }
    let asked = json!({"keeper": KEEPER, "schedules": wanted});
    let calls = cx.calls();
    let refused = calls.json_if_provided::<Applied>(SCHEDULES, "check", &asked);
    match refused.await {
        Ok(Some(answer)) => match answer.refused.into_iter().next() {
            Some(refused) => Err(WorkflowError::Schedule(refused.problem).into()),
            None => Ok(()),
        },
        Ok(None) => Ok(()),
        // It is looked at again when it is handed over.
        Err(error) => {
            debug!(error = %error, "the times of a workflow cannot be checked");
            Ok(())
        }
    }
}

#[derive(Debug, Deserialize)]
struct Applied {
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    name: String,
    problem: String,
}

/// Hands all times over.
pub(crate) async fn hand_over(cx: Cx<Orchestrator>, _job: JobRun) -> Result<()> {
    let tx = cx.db().begin().await?;
    let timed = schedules::hold_timed(&tx).await?;
    let wanted: Vec<Value> = timed.iter().flat_map(wanted).collect();
    let is_empty = wanted.is_empty();
    let asked = json!({"keeper": KEEPER, "schedules": wanted});
    let calls = cx.calls();
    let answer = calls.json_if_provided::<Applied>(SCHEDULES, "apply", &asked);
    match answer.await? {
        Some(answer) => {
            for refused in answer.refused {
                let (schedule, problem) = (refused.name, refused.problem);
                error!(schedule, problem, "a workflow does not start at its times");
            }
        }
        None if is_empty => {}
        None => return Err(WorkflowError::NoScheduler.into()),
    }
    tx.rollback().await
}

#[derive(Deserialize)]
struct Which {
    namespace: String,
    name: String,
}

/// A time of a workflow's schedule has come.
pub(crate) async fn scheduled(cx: Cx<Orchestrator>, job: JobRun) -> Result<Value> {
    let Which { namespace, name } = job.json()?;
    let tx = cx.db().begin().await?;
    let Some(starts) = schedules::find(&tx, &namespace, &name).await? else {
        return Err(Error::discard(format!(
            "{namespace}/{name} starts by itself no more"
        )));
    };
    let key = format!("schedule/{}", job.id);
    let input = json!({});
    let new = New {
        key: Some(&key),
        ..by_itself(&starts, &input)
    };
    let run = instances::start(&tx, &new).await?;
    tx.commit().await?;
    Ok(json!({"run": run}))
}

#[derive(Deserialize)]
struct Again {
    schedule: Uuid,
    generation: i64,
}

/// The pause after a run is over.
pub(crate) async fn again(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let Again {
        schedule,
        generation,
    } = job.json()?;
    let tx = cx.db().begin().await?;
    let Some(starts) = schedules::hold_paused(&tx, schedule, generation).await? else {
        return Ok(());
    };
    let input = json!({});
    let new = New {
        schedule_id: Some(schedule),
        ..by_itself(&starts, &input)
    };
    instances::start(&tx, &new).await?;
    schedules::began(&tx, schedule).await?;
    tx.commit().await
}

/// A run that nobody asked for.
fn by_itself<'a>(starts: &'a Starts, input: &'a Value) -> New<'a> {
    New {
        definition_id: starts.definition_id,
        namespace: &starts.namespace,
        name: &starts.name,
        version: &starts.version,
        family_id: None,
        input,
        key: None,
        parent: None,
        depth: 0,
        schedule_id: None,
        created_by: BY,
    }
}

/// An event came: what it starts is started, once.
pub(crate) async fn offer(cx: &Cx<Orchestrator>, event: Uuid) -> Result<()> {
    let meant = schedules::started_by(&cx.db(), event).await?;
    if meant.is_empty() {
        return Ok(());
    }
    let tx = cx.db().begin().await?;
    let Some(offer) = schedules::take_offer(&tx, event).await? else {
        return Ok(());
    };
    for (starts, filters) in meant {
        // A workflow that families may start runs for the family of its event; the others hear what can be trusted.
        let family = offer.family_id.filter(|_| starts.for_families);
        let may = family.is_some() || offer.is_trusted;
        if !may || !matching::fits(&filters, &offer.event) {
            continue;
        }
        if offer.depth >= DEPTH_MAX {
            // A circle of workflows ends here; so does what has no end otherwise.
            let depth = offer.depth;
            warn!(
                workflow = starts.name,
                depth, "an event starts nothing: too many runs have started one another"
            );
            continue;
        }
        if schedules::hold(&tx, &starts).await? {
            take(cx, &tx, &starts, family, &offer).await?;
        }
    }
    tx.commit().await
}

async fn take(
    cx: &Cx<Orchestrator>,
    tx: &impl Queries,
    starts: &Starts,
    family: Option<Uuid>,
    offer: &Offer,
) -> Result<()> {
    let Ok(program) = programs::of(cx, tx, starts.definition_id).await? else {
        return Ok(());
    };
    let before = schedules::gathered(tx, starts.id, family).await?;
    let before: Option<State> = before.and_then(|state| serde_json::from_slice(&state).ok());
    let world = World {
        secrets: secrets(cx, &program),
        limits: cx.plugin().config.limits(),
        now: cx.clock().now()?,
    };
    let (tasks, event) = (cx.tasks(), offer.event.clone());
    let gathered = tasks
        .blocking(move || world.tell(|around| program.gather(before, event, around)))
        .await?;
    match gathered {
        Ok(Gathered::Nothing) => Ok(()),
        Ok(Gathered::Part(state)) => {
            let state = serde_json::to_vec(&state).map_err(Error::internal)?;
            schedules::gather(tx, starts.id, family, &state).await
        }
        Ok(Gathered::All(events)) => {
            schedules::scatter(tx, starts.id, family).await?;
            match room::check(cx, tx, family, 1).await {
                Ok(()) => {}
                Err(full) if room::is_full(&full) => {
                    warn!(workflow = starts.name, error = %full, "an event starts nothing");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            let input = storable(events);
            let new = New {
                family_id: family,
                depth: offer.depth + 1,
                ..by_itself(starts, &input)
            };
            instances::start(tx, &new).await.map(drop)
        }
        Err(fault) => {
            warn!(workflow = starts.name, error = %fault, "an event cannot be judged");
            schedules::scatter(tx, starts.id, family).await
        }
    }
}

/// What a job asks to be started: a schedule's target, or whoever enqueues jobs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    namespace: String,
    name: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    input: Value,
}

/// A job that starts a workflow: once, however often it is worked. It runs for the family that the job is for.
pub(crate) async fn start_by_job(cx: Cx<Orchestrator>, job: JobRun) -> Result<Value> {
    let wanted: Wanted = job.json()?;
    let (namespace, name) = (&*wanted.namespace, &*wanted.name);
    let family = job.context()?.family_id;
    let tx = cx.db().begin().await?;
    let version = wanted.version.as_deref().unwrap_or(LATEST);
    let version = version::resolve(&tx, namespace, name, version).await?;
    let found = match &version {
        Some(version) => definitions::find(&tx, namespace, name, version).await?,
        None => None,
    };
    let Some(found) = found else {
        return Err(Error::discard(format!(
            "there is no workflow {namespace}/{name}"
        )));
    };
    room::check(&cx, &tx, family, 1).await?;
    let starts = Starts {
        id: Uuid::nil(),
        definition_id: found.id,
        namespace: found.namespace,
        name: found.name,
        version: found.version,
        for_families: found.for_families,
    };
    let (key, input) = (format!("job/{}", job.id), storable(wanted.input));
    let new = New {
        family_id: family,
        key: Some(&key),
        ..by_itself(&starts, &input)
    };
    let run = instances::start(&tx, &new).await?;
    tx.commit().await?;
    Ok(json!({"run": run}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_words_of_who_keeps_them() {
        let timed = Timed {
            namespace: "home".to_owned(),
            name: "tea".to_owned(),
            schedule: json!({"cron": "0 5 * * *", "every": {"minutes": 2}}),
            zone: Some("Europe/Berlin".to_owned()),
        };
        let said = wanted(&timed);
        assert_eq!(said[0]["name"], "workflow/home/tea/cron");
        assert_eq!(said[0]["spec"], "0 5 * * *");
        assert_eq!(said[1]["spec"], "@every PT120S");
        assert_eq!(said[1]["zone"], "Europe/Berlin");
    }
}
