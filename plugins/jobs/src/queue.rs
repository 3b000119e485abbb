//! `jobs.queue/1`, the capability that other plugins call. Who has it may also call the SQL functions that come with it,
//! which is what a job needs that has to be enqueued together with a write.

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, Value},
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use crate::{
    Jobs, batch,
    enqueue::{self, NewJob},
    error::{JobError, refused},
    reserved::{self, Asked},
    store::{self, batches::NewBatch},
};

/// What names a job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: i64,
    reason: Option<String>,
}

/// What names a batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichBatch {
    id: Uuid,
    reason: Option<String>,
}

/// A line that a job writes down.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: i64,
    #[serde(default)]
    level: Level,
    message: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// How far a job is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    id: i64,
    progress: Value,
}

/// Answers a call of `jobs.queue/1`.
pub(crate) async fn call(cx: Cx<Jobs>, call: CapabilityCall) -> Result<Vec<u8>> {
    match call.method.as_str() {
        "enqueue" => {
            let job: NewJob = call.json()?;
            reserved::check_job(&job)?;
            json(&enqueue::one(&cx, job).await?)
        }
        "enqueue_many" => {
            let jobs: Vec<NewJob> = call.json()?;
            jobs.iter().try_for_each(reserved::check_job)?;
            json(&enqueue::many(&cx, &jobs).await?)
        }
        "reserved" => json(&call.json::<Asked>()?.answer()),
        "show" => {
            let Which { id, .. } = call.json()?;
            let shown = store::control::find(&cx.db(), id).await?;
            json(&shown.ok_or(JobError::Unknown { id })?)
        }
        "cancel" => {
            let Which { id, reason } = call.json()?;
            json(&cancel(&cx.db(), id, reason.as_deref()).await?)
        }
        "retry" => {
            let Which { id, .. } = call.json()?;
            json(&retry(&cx.db(), id).await?)
        }
        "log" => {
            let Line { id, level, message } = call.json()?;
            let level = level.name();
            store::told::write(&cx.db(), id, level, &message)
                .await
                .map_err(refused)?;
            json(&())
        }
        "progress" => {
            let Progress { id, progress } = call.json()?;
            store::told::progress(&cx.db(), id, &progress)
                .await
                .map_err(refused)?;
            json(&())
        }
        "batch_open" => {
            let new: NewBatch = call.json()?;
            reserved::check_next(new.then.as_ref())?;
            json(&batch::open(&cx.db(), &new).await?)
        }
        "batch_seal" => json(&batch::seal(&cx.db(), call.json::<WhichBatch>()?.id).await?),
        "batch_show" => json(&batch::show(&cx.db(), call.json::<WhichBatch>()?.id).await?),
        "batch_cancel" => {
            let WhichBatch { id, reason } = call.json()?;
            json(&batch::cancel(&cx, id, reason.as_deref()).await?)
        }
        "queues" => json(&store::queues::all(&cx.db(), None).await?),
        _ => {
            let method = call.method;
            Err(JobError::Method { method }.into())
        }
    }
}

/// The state that a job was in, or is in now.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Changed {
    /// The job.
    pub id: i64,
    /// Its state: before a cancellation, after a retry.
    pub state: String,
}

/// Ends a job. One that runs is told, and ends when its worker lets it.
pub(crate) async fn cancel(db: &impl Queries, id: i64, reason: Option<&str>) -> Result<Changed> {
    let state = store::control::cancel(db, id, reason).await?;
    let state = state.ok_or(JobError::Unknown { id })?;
    if matches!(&*state, "completed" | "cancelled" | "discarded") {
        let change = "cancelled";
        return Err(JobError::State { state, change }.into());
    }
    Ok(Changed { id, state })
}

/// Makes a job available now.
pub(crate) async fn retry(db: &impl Queries, id: i64) -> Result<Changed> {
    let state = store::control::retry(db, id).await?;
    let state = state.ok_or(JobError::Unknown { id })?;
    if state != "available" {
        let change = "retried";
        return Err(JobError::State { state, change }.into());
    }
    Ok(Changed { id, state })
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(answer).map_err(Error::internal)
}
