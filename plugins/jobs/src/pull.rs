//! Workers in any language: they fetch jobs of a queue over HTTP, one lease for each, and say with it how the job goes.

mod report;
pub(crate) mod say;
mod wait;

use std::time::Duration;

use nself_plugin_api::{
    bytes::Bytes,
    jiff::Timestamp,
    prelude::*,
    serde_json::{self, Value, value::RawValue},
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::report::{Action, Answered, Line, Report};
use crate::{
    Jobs, context,
    engine::Job,
    error::JobError,
    store::pull::{Fetch, Wish},
};

/// Most jobs of one fetch.
const JOBS_MAX: i32 = 1_000;
/// Longest wait for a job.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest lease.
const LEASE_SECONDS_MAX: f64 = 3_600.0;
/// The lease of a worker that does not say.
const LEASE_SECONDS: f64 = 60.0;

/// What a worker asks for.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FetchRequest {
    /// Its name, for who looks at what runs.
    pub worker: String,
    /// Most jobs that it takes, from 1 to 1000.
    #[serde(default = "one")]
    pub jobs_max: i32,
    /// How long it waits for a job when there is none, from 0 to 60 s.
    #[serde(default)]
    pub wait_seconds: f64,
    /// How long it has each job until it is heard of again, from 1 to 3600 s; 60 when it does not say.
    #[serde(default = "lease_seconds")]
    pub lease_seconds: f64,
}

fn one() -> i32 {
    1
}

pub(crate) fn lease_seconds() -> f64 {
    LEASE_SECONDS
}

/// A job that a worker has.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Fetched {
    /// What the worker says about the job it says with this.
    pub lease: Uuid,
    /// When the job is given to others, unless the worker is heard of before.
    pub expires_at: Option<Timestamp>,
    /// The job; the same at every attempt.
    pub id: i64,
    /// What it is.
    pub kind: String,
    /// Where it waited.
    pub queue: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts before it is given up.
    pub attempts_max: u32,
    /// Its input.
    pub payload: Box<RawValue>,
    /// Whose it is.
    pub family_id: Option<Uuid>,
    /// Words of whoever enqueued it.
    pub tags: Vec<String>,
    /// W3C trace context of its cause.
    pub trace_parent: Option<String>,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
    /// The time of the schedule that it is for.
    pub scheduled_at: Option<Timestamp>,
    /// When the schedule fired.
    pub fired_at: Option<Timestamp>,
    /// What the job before it in its chain has found.
    pub previous: Option<Value>,
    /// The batch whose end it follows: `id`, `name`, `total`, `failed`, `is_cancelled`.
    pub ended_batch: Option<Value>,
    /// Why the attempts before this one failed, oldest first.
    pub errors: Vec<Value>,
}

/// Fetches jobs for a worker; when there are none, after they have come or its wait is over.
pub(crate) async fn fetch(
    cx: &Cx<Jobs>,
    queue: &str,
    request: &FetchRequest,
) -> Result<Vec<Fetched>> {
    let worker = &*request.worker;
    if worker.is_empty() || worker.chars().count() > 100 || worker.chars().any(char::is_control) {
        return Err(option("worker", "a text of 1 to 100 characters"));
    }
    if !(1..=JOBS_MAX).contains(&request.jobs_max) {
        return Err(option("jobs_max", "an integer from 1 to 1000"));
    }
    let wait = Duration::try_from_secs_f64(request.wait_seconds).ok();
    let wait = wait
        .filter(|wait| *wait <= WAIT_MAX)
        .ok_or_else(|| option("wait_seconds", "a number from 0 to 60"))?;
    let wish = Wish {
        queue,
        worker,
        jobs_max: request.jobs_max,
        lease_seconds: checked_lease(request.lease_seconds)?,
    };
    let fetch = wait::fetch(cx, &wish, wait).await?;
    Ok(fetch.map_or_else(Vec::new, |fetch| told(queue, fetch)))
}

fn checked_lease(seconds: f64) -> Result<f64> {
    if (1.0..=LEASE_SECONDS_MAX).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(option("lease_seconds", "a number from 1 to 3600"))
    }
}

fn option(name: &str, expected: &str) -> Error {
    JobError::Option {
        message: format!("{name}: expected {expected}"),
    }
    .into()
}

/// What a worker reads of a job's options.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    tags: Vec<String>,
    trace_parent: Option<String>,
    scheduled_at: Option<Timestamp>,
    fired_at: Option<Timestamp>,
    previous: Option<Value>,
    ended_batch: Option<Value>,
    errors: Vec<Value>,
}

fn told(queue: &str, fetch: Fetch) -> Vec<Fetched> {
    let expires_at = fetch.expires_at;
    let one = |(lease, job): (Uuid, Job)| {
        let options: Options = serde_json::from_slice(&job.meta).unwrap_or_default();
        Fetched {
            lease,
            expires_at,
            id: job.id,
            kind: job.kind.to_string(),
            queue: queue.to_owned(),
            attempt: job.attempt,
            attempts_max: job.attempts_max,
            payload: raw(&job.payload),
            family_id: job.family_id,
            tags: options.tags,
            trace_parent: options.trace_parent,
            enqueued_at: context::enqueued_at(job.id),
            scheduled_at: options.scheduled_at,
            fired_at: options.fired_at,
            previous: options.previous,
            ended_batch: options.ended_batch,
            errors: options.errors,
        }
    };
    fetch.jobs.into_iter().map(one).collect()
}

/// JSON of the database as it is; null when there is none (any more).
fn raw(json: &Bytes) -> Box<RawValue> {
    let text = std::str::from_utf8(json).unwrap_or_default();
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
