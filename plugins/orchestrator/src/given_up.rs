//! Jobs that drive instances and were given up. The jobs plugin takes a job for the cause when hosts die three times while it runs alone,
//! and where hosts are killed often that hits the innocent: such a job is enqueued anew, some times. An instance whose job is lost for good
//! ends with an error that says so: one that stands still and nobody looks after is the one thing that must not be.

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, Value, json},
    tracing::{error, warn},
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    advance::{By, advance, give_up},
    engine::{Error as Fault, Outcome},
    store::{commands, jobs, needs},
};

/// Jobs that hosts died of are enqueued anew so often.
const ANEW_MAX: u64 = 5;

/// A job as the jobs plugin shows it.
#[derive(Deserialize)]
struct Shown {
    kind: String,
    family_id: Option<Uuid>,
    payload: Option<Value>,
    error: Option<Value>,
}

/// A job of anybody's was discarded.
pub(crate) async fn discarded(cx: Cx<Orchestrator>, event: Event) -> Result<()> {
    let of_us = event.data["kind"]
        .as_str()
        .is_some_and(|kind| kind.starts_with("orchestrator."));
    let Some(id) = event.data["id"].as_i64().filter(|_| of_us) else {
        return Ok(());
    };
    let asked = json!({ "id": id }).to_string().into_bytes();
    let shown = match cx.calls().call("jobs.queue/1", "show", asked).await {
        Ok(shown) => shown,
        // Somebody has forgotten it.
        Err(unknown) if unknown.status() == 404 => return Ok(()),
        Err(trouble) => return Err(trouble),
    };
    let job: Shown = serde_json::from_slice(&shown).map_err(Error::internal)?;
    let Some(mut payload) = job.payload else {
        return Ok(());
    };
    let run = payload["instance"]
        .as_str()
        .and_then(|run| run.parse().ok());
    let run: Option<Uuid> = run.filter(|_| job.kind == "orchestrator.call");
    if let Some(run) = run {
        // It may have gone on with another call than the one that it was enqueued for.
        let asked = payload["need"].as_i64().unwrap_or_default();
        if let Some(need) = needs::of_job(&cx.db(), run, asked, id).await?.last() {
            payload["need"] = json!(need);
        }
    }
    let code = job.error.as_ref().and_then(|error| error["code"].as_str());
    let code = code.unwrap_or("no code");
    let times = payload["anew"].as_u64().unwrap_or(0);
    if matches!(code, "JOB_KILLS_HOST" | "HOST_DIED") && times < ANEW_MAX {
        warn!(job = id, times, "a job that hosts died of is enqueued anew");
        payload["anew"] = json!(times + 1);
        let options = json!({ "family_id": job.family_id });
        let tx = cx.db().begin().await?;
        let anew = jobs::enqueue(&tx, &job.kind, &payload, &options).await?;
        if let Some(run) = run {
            needs::hand_on(&tx, run, id, anew).await?;
        }
        return tx.commit().await;
    }
    error!(
        job = id,
        kind = job.kind,
        code,
        "a job of a workflow was given up"
    );
    let why = Fault::runtime(format!("the job {id} ({}) was given up: {code}", job.kind));
    let Some((instance, need)) = driven(&cx, &job.kind, &payload).await? else {
        return Ok(());
    };
    match need {
        // Its task fails, and may be caught.
        Some(number) => {
            let failed = vec![(crate::advance::need(number), Outcome::Failed(why))];
            advance(&cx, instance, failed, By::Outcome).await
        }
        None => give_up(&cx, instance, why).await,
    }
}

/// The instance that waits for a job, and its need when it is one.
async fn driven(
    cx: &Cx<Orchestrator>,
    kind: &str,
    payload: &Value,
) -> Result<Option<(Uuid, Option<i64>)>> {
    let id = |name: &str| payload[name].as_str()?.parse::<Uuid>().ok();
    match kind {
        "orchestrator.ended" => match id("instance") {
            Some(child) => {
                let ended = jobs::child(&cx.db(), child).await?;
                Ok(ended.map(|ended| (ended.parent, Some(ended.need))))
            }
            None => Ok(None),
        },
        "orchestrator.command" => match id("command") {
            Some(command) => {
                let bound = commands::bound(&cx.db(), command).await?;
                Ok(bound.map(|(instance, need, _)| (instance, Some(need))))
            }
            None => Ok(None),
        },
        _ => Ok(id("instance").map(|instance| (instance, payload["need"].as_i64()))),
    }
}
