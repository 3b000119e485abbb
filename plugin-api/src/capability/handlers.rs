//! What plugins declare to be called for: for the plugins that keep queues and watch the clock.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::granted;
use crate::{
    cx::Handles,
    error::{Error, Result},
    job::Keep,
};

const ID: &str = "nself.handlers/1";

/// Finds and calls the jobs and schedules of all running plugins.
pub struct Handlers<'a>(pub(crate) &'a Arc<Handles>);

/// What one running plugin declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The plugin's id.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Kinds of jobs that it works.
    pub jobs: Vec<DeclaredJob>,
    /// Schedules that it wants to be run.
    pub schedules: Vec<DeclaredSchedule>,
}

/// A kind of job. What is not there is left to the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredJob {
    /// The kind, such as `photos.resize`.
    pub kind: String,
    /// The queue that its jobs wait in.
    pub queue: Option<String>,
    /// Attempts before a job is given up.
    pub attempts_max: Option<u32>,
    /// Time for one attempt.
    pub timeout_ms: Option<u64>,
    /// Which finished jobs stay.
    pub keep: Option<Keep>,
}

/// A cron schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredSchedule {
    /// Unique within the plugin.
    pub name: String,
    /// Five or six field cron expression.
    pub cron: String,
    /// IANA time zone.
    pub timezone: String,
}

/// An attempt at a job, to be worked where its kind is declared.
#[derive(Debug, Clone)]
pub struct JobCall<'a> {
    /// The kind.
    pub kind: &'a str,
    /// The job; the same at every attempt.
    pub id: i64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts before it is given up.
    pub attempts_max: u32,
    /// A [`JobContext`](crate::job::JobContext) as JSON.
    pub context: Bytes,
    /// The input.
    pub payload: Bytes,
}

impl Handlers<'_> {
    /// What all running plugins declare; one that drains is not among them. To follow it, ask for [`changed`](Self::changed)
    /// first and for the list then: what changes in between is told by the next `changed`.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn list(&self) -> Result<Vec<Declared>> {
        let list = granted!(self, handlers, ID)?.list();
        serde_json::from_slice(list.as_slice()).map_err(Error::internal)
    }

    /// Resolves with the list's generation when it is another one than `seen`: plugins were started, stopped or exchanged.
    /// 0 was never one, so `changed(0)` resolves at once.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub async fn changed(&self, seen: u64) -> Result<u64> {
        Ok(granted!(self, handlers, ID)?.changed(seen).await?)
    }

    /// Works a job and resolves with its result, JSON. The future borrows nothing; dropped, it cancels the work.
    ///
    /// # Errors
    ///
    /// Those of the handler. Without the handler's doing: 404 `JOB_KIND_UNKNOWN` when no running plugin declares the kind,
    /// 503 `HANDLER_UNAVAILABLE` when it is about to end and has not begun, 503 `HANDLER_STOPPED` when it had to end before
    /// it had finished.
    pub fn run_job(
        &self,
        call: JobCall<'_>,
    ) -> impl Future<Output = Result<Bytes>> + Send + 'static + use<> {
        let JobCall {
            kind,
            id,
            attempt,
            attempts_max,
            context,
            payload,
        } = call;
        let running = granted!(self, handlers, ID).map(|handlers| {
            let (context, payload) = (context.into(), payload.into());
            handlers.run_job(kind.into(), id, attempt, attempts_max, context, payload)
        });
        async move { Ok(running?.await?.into()) }
    }

    /// Runs the schedule `name` of a plugin for the time at which it was due. The future borrows nothing.
    ///
    /// # Errors
    ///
    /// Those of the plugin. Without its doing: 404 `SCHEDULE_UNKNOWN`, and 503 as for [`run_job`](Self::run_job).
    pub fn run_schedule(
        &self,
        plugin: &str,
        name: &str,
        scheduled_at: jiff::Timestamp,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let scheduled_at = scheduled_at.to_string();
        let running = granted!(self, handlers, ID).map(|handlers| {
            handlers.run_schedule(plugin.into(), name.into(), scheduled_at.as_str().into())
        });
        async move { Ok(running?.await?) }
    }
}
