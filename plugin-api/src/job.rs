//! Jobs: work with input, which a plugin that keeps queues hands to the plugin that declares the kind.

use std::{marker::PhantomData, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    abi::zst::Item,
    cx::Cx,
    error::{Error, Result},
    route::{BoxFuture, Callback},
};

/// A kind of job that this plugin works: `Job::new("photos.resize", resize)`.
///
/// The kind begins with the plugin's id and a dot. What the row does not say, the queue decides. The handler's value becomes
/// the job's result as JSON. An error is a failed attempt, which is tried again by the job's policy; with
/// [`Error::with_retry_after`] then, and after [`Error::discard`] not at all. A handler may be called twice for one job,
/// as when the machine dies before the result is written: [`JobRun::id`] is the same then.
pub struct Job<P: 'static> {
    pub(crate) kind: &'static str,
    pub(crate) queue: Option<&'static str>,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) keep: Option<Keep>,
    pub(crate) run: &'static dyn ErasedJob<P>,
}

impl<P: 'static> Job<P> {
    /// Works jobs of that kind with `run`.
    pub const fn new<F, O>(kind: &'static str, run: F) -> Self
    where
        F: Callback<P, JobRun, O>,
        O: Serialize + 'static,
    {
        Self {
            kind,
            queue: None,
            attempts_max: None,
            timeout: None,
            keep: None,
            run: Item::<F, Output<O>>::of(run),
        }
    }

    /// The queue that its jobs wait in.
    #[must_use]
    pub const fn queue(mut self, queue: &'static str) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Attempts before it is given up.
    #[must_use]
    pub const fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// Time for one attempt; then the handler is dropped.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Which finished jobs stay to be looked at.
    #[must_use]
    pub const fn keep(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }
}

/// Which finished jobs stay to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// None: a job that has ended is gone.
    None,
    /// Those that were given up.
    Failed,
    /// All of them.
    All,
}

impl Keep {
    /// The word in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Failed => "failed",
            Self::All => "all",
        }
    }
}

/// One attempt at a job.
#[derive(Debug, Clone)]
pub struct JobRun {
    /// The job; the same at every attempt.
    pub id: i64,
    /// Its kind, as this plugin declares it.
    pub kind: &'static str,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts before it is given up.
    pub attempts_max: u32,
    /// Its input, JSON unless whoever enqueues it has agreed otherwise.
    pub payload: Bytes,
    pub(crate) context: Bytes,
}

impl JobRun {
    /// The input read as JSON.
    ///
    /// # Errors
    ///
    /// `JOB_PAYLOAD` with what is wrong and where. It is a failed attempt like others: a newer version may read it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload)
            .map_err(|error| Error::invalid("JOB_PAYLOAD", format!("{}: {error}", self.kind)))
    }

    /// Whose job it is and what became of it so far. Read when asked for, because most handlers need none of it.
    ///
    /// # Errors
    ///
    /// `JOB_CONTEXT` when the plugin that keeps the queue has written something else.
    pub fn context(&self) -> Result<JobContext> {
        serde_json::from_slice(&self.context)
            .map_err(|error| Error::new(500, "JOB_CONTEXT", format!("{}: {error}", self.kind)))
    }

    /// Whether a failure of this attempt ends the job.
    pub fn is_last(&self) -> bool {
        self.attempt >= self.attempts_max
    }
}

/// What is known of a job beside its input. What a queue does not tell is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobContext {
    /// The tenant that it belongs to.
    pub family_id: Option<uuid::Uuid>,
    /// The queue that it waited in.
    pub queue: String,
    /// Words that whoever enqueued it found useful.
    pub tags: Vec<String>,
    /// W3C trace context of its cause.
    pub trace_parent: Option<String>,
    /// When it was enqueued.
    pub enqueued_at: Option<jiff::Timestamp>,
    /// The time of the schedule that it is for.
    pub scheduled_at: Option<jiff::Timestamp>,
    /// When the schedule fired, which is later when no host was there at that time.
    pub fired_at: Option<jiff::Timestamp>,
    /// What the job before it in a chain has found.
    pub previous: Option<serde_json::Value>,
    /// The batch whose end it follows.
    pub ended_batch: Option<JobBatch>,
    /// Why the attempts before this one failed, oldest first.
    pub errors: Vec<JobFailure>,
}

/// How a batch of jobs ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobBatch {
    /// Which one.
    pub id: uuid::Uuid,
    /// What whoever opened it calls it.
    pub name: Option<String>,
    /// Its jobs.
    pub total: u32,
    /// Those of them that did not complete.
    pub failed: u32,
    /// Whether somebody ended all of it.
    pub is_cancelled: bool,
}

/// A failed attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobFailure {
    /// Which one, from 1.
    pub attempt: u32,
    /// When.
    pub at: Option<jiff::Timestamp>,
    /// Stable code of the error.
    pub code: String,
    /// Its sentence.
    pub message: String,
}

/// Tells a job's handler, whose value is written as JSON, from other callbacks.
pub(crate) struct Output<O>(PhantomData<fn() -> O>);

/// A handler with the type of its result forgotten.
pub(crate) trait ErasedJob<P>: Send + Sync {
    fn run(&self, cx: Cx<P>, run: JobRun) -> BoxFuture<Result<Vec<u8>>>;
}

impl<P, F, O> ErasedJob<P> for Item<F, Output<O>>
where
    P: 'static,
    F: Callback<P, JobRun, O>,
    O: Serialize + 'static,
{
    fn run(&self, cx: Cx<P>, run: JobRun) -> BoxFuture<Result<Vec<u8>>> {
        let running = self.get().call(cx, run);
        Box::pin(async move { serde_json::to_vec(&running.await?).map_err(Error::internal) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(context: &'static str) -> JobRun {
        JobRun {
            id: 7,
            kind: "photos.resize",
            attempt: 2,
            attempts_max: 2,
            payload: Bytes::from_static(b"{\"width\": \"wide\"}"),
            context: Bytes::from_static(context.as_bytes()),
        }
    }

    #[test]
    fn a_context_tells_what_the_queue_tells_and_what_a_later_one_adds_is_passed_over() {
        let told =
            run(r#"{"tags": ["a"], "errors": [{"attempt": 1, "code": "BUSY"}], "moon": "full"}"#);
        let context = told.context().expect("it reads");
        assert_eq!(
            (context.family_id, context.tags),
            (None, vec!["a".to_owned()])
        );
        assert_eq!(
            (context.errors[0].attempt, &*context.errors[0].code),
            (1, "BUSY")
        );
        assert!(told.is_last());
        assert_eq!((context.scheduled_at, context.previous), (None, None));
        let told = run(
            r#"{"scheduled_at": "2030-01-01T00:00:00Z", "previous": 3, "ended_batch": {"total": 2}}"#,
        );
        let context = told.context().expect("it reads");
        assert_eq!(context.scheduled_at, "2030-01-01T00:00:00Z".parse().ok());
        assert_eq!(context.previous, Some(3.into()));
        assert_eq!(context.ended_batch.expect("a batch").total, 2);
        assert_eq!(
            run("").context().expect_err("it is empty").code(),
            "JOB_CONTEXT"
        );
    }

    #[test]
    fn an_input_that_does_not_read_says_why() {
        #[derive(Debug, Deserialize)]
        struct Size {
            #[expect(dead_code, reason = "it is never read")]
            width: u32,
        }
        let error = run("{}").json::<Size>().expect_err("a word is no width");
        assert_eq!((error.status(), error.code()), (422, "JOB_PAYLOAD"));
        assert!(
            error.message().starts_with("photos.resize: invalid type"),
            "{error}"
        );
    }
}
