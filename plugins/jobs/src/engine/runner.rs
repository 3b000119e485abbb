//! Runners: they begin jobs and note how they ended.
//!
//! A job is polled once where it begins. Most small jobs are done then; one that waits for something goes on as a piece of
//! work of its own, with its time limit, and can be cancelled.
//!
//! A handler that holds its thread, which none may, holds a runner, and a thread of the host, of which there are four at
//! least. What it must not hold is whoever was woken on that thread since the runner was polled, such as the completer: the last
//! one that was woken waits there for the poll to end, and no other thread takes it away. So a runner lets those go first
//! before it polls a job of a kind that has not shown that it does not hold its thread.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use nself_plugin_api::{
    bytes::Bytes,
    capability::handlers::JobCall,
    futures_util::{
        FutureExt,
        future::{self, Either},
    },
    jiff::Timestamp,
    prelude::{Cx, Error, Result},
    route::BoxFuture,
    serde_json::json,
    tracing::{debug, warn},
};

use super::{
    kinds::{self, Kind, Source},
    lease::{Job, Lease},
    running::Stop,
};
use crate::{
    Jobs, context, push,
    store::{
        self,
        finish::{Ending, State},
    },
};

/// The code of a handler whose plugin does not run, or takes nothing more.
const AWAY: &str = "HANDLER_UNAVAILABLE";

/// Pause before a job is tried again that its plugin had to give up, because it ends or is exchanged.
const PAUSE: Duration = Duration::from_secs(1);

/// Seconds before a job is looked at again whose kind nobody works here: a quarter of its age, within these.
const UNKNOWN_PAUSE: (f64, f64) = (1.0, 60.0);
/// Age at which such a job is no more a matter of plugins that start, end or are rolled out: it fails from then on.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(24 * 3_600);

/// Begins jobs until there are none to come.
pub(super) async fn run(cx: Cx<Jobs>) -> Result<()> {
    let engine = &cx.plugin().engine;
    while let Some((job, lease)) = engine.backlog.next().await {
        engine.claims.moved(engine.backlog.len());
        begin(&cx, job, lease).await;
    }
    Ok(())
}

type Work = BoxFuture<Result<Bytes>>;

async fn begin(cx: &Cx<Jobs>, job: Job, lease: Arc<Lease>) {
    let engine = &cx.plugin().engine;
    let Some(kind) = kinds::of_claimed(cx, &job.kind, lease.claimed_at).await else {
        let message = format!(
            "no running plugin works jobs of the kind {:?}, and it has no endpoint",
            job.kind
        );
        let ending = ending(&job, Err(Error::not_found("JOB_KIND_UNKNOWN", message)));
        let observed = &cx.plugin().observed;
        observed.ended(observed.other(), &job, &lease, Instant::now(), &ending);
        note(cx, &lease, ending, None);
        return free_place(cx);
    };
    let observed = &cx.plugin().observed;
    if !kind.observed.is_swift() {
        let_others_go().await;
    }
    let begun = kind.observed.begin(&job, engine.now(cx));
    let mut work = start(cx, &job, &lease, &kind);
    let first = poll_fn(|task| Poll::Ready(work.as_mut().poll(task))).await;
    kind.observed.polled(begun.elapsed());
    match first {
        Poll::Ready(outcome) => {
            let ending = ending(&job, outcome);
            observed.ended(&kind.observed, &job, &lease, begun, &ending);
            note(cx, &lease, ending, kind.is_kept);
            free_place(cx);
        }
        Poll::Pending => {
            observed.goes_on(&job, &lease);
            go_on(cx, job, lease, &kind, (begun, work));
        }
    }
}

/// Whoever was woken on this thread is polled before this goes on.
async fn let_others_go() {
    let mut has_let_go = false;
    poll_fn(|task| {
        if std::mem::replace(&mut has_let_go, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn start(cx: &Cx<Jobs>, job: &Job, lease: &Lease, kind: &Arc<Kind>) -> Work {
    if job.payload.is_empty() {
        // A large payload lies elsewhere.
        let (cx, mut job, kind) = (cx.clone(), job.clone(), Arc::clone(kind));
        let queue = Arc::clone(&lease.queue_name);
        return async move {
            let large = store::claim::large(&cx.db(), job.id).await?;
            let large = large.ok_or_else(|| Error::discard("the payload of the job is gone"))?;
            job.payload = large.payload;
            if let Some(previous) = large.previous {
                job.meta = context::with_previous(&job.meta, &previous);
            }
            call(&cx, &job, &queue, &kind).await
        }
        .boxed();
    }
    call(cx, job, &lease.queue_name, kind)
}

fn call(cx: &Cx<Jobs>, job: &Job, queue: &Arc<str>, kind: &Kind) -> Work {
    if let Source::Endpoint(endpoint) = &kind.source {
        let (endpoint, queue) = (Arc::clone(endpoint), Arc::clone(queue));
        return push::deliver(cx.clone(), endpoint, job.clone(), queue, limit(job, kind)).boxed();
    }
    if !kind.is_worked() {
        let away = "the plugin that works jobs of this kind does not run";
        let pause = cx.plugin().engine.kinds.away_pause();
        return future::ready(Err(Error::unavailable(AWAY, away, pause))).boxed();
    }
    cx.handlers()
        .run_job(JobCall {
            kind: &job.kind,
            id: job.id,
            attempt: job.attempt,
            attempts_max: job.attempts_max,
            context: context::of(job, queue),
            payload: job.payload.clone(),
        })
        .boxed()
}

/// Drives a job that waits for something as work of its own.
fn go_on(cx: &Cx<Jobs>, job: Job, lease: Arc<Lease>, kind: &Kind, (begun, work): (Instant, Work)) {
    let engine = &cx.plugin().engine;
    let stop = engine
        .running
        .insert(job.id, Arc::clone(&lease), kind.is_kept);
    let metrics = Arc::clone(&kind.observed);
    let limit = limit(&job, kind);
    let (id, of_job, of_this) = (job.id, cx.clone(), Arc::clone(&stop));
    let spawned = cx.tasks().spawn("job", async move {
        let outcome = match supervise(&of_job, limit, &stop, work).await {
            Outcome::Ended(outcome) => Some(outcome),
            Outcome::Late => Some(Err(late(limit))),
            Outcome::Cancelled => Some(Err(Error::conflict(
                CANCELLED,
                "it was cancelled while it ran",
            ))),
            Outcome::Abandoned => None,
        };
        let ending = outcome.map(|outcome| ending(&job, outcome));
        if let Some(ending) = &ending {
            let observed = &of_job.plugin().observed;
            observed.ended(&metrics, &job, &lease, begun, ending);
        }
        of_job
            .plugin()
            .engine
            .running
            .end(&of_job, job.id, &stop, ending);
        free_place(&of_job);
        Ok(())
    });
    if let Err(error) = spawned {
        // The plugin lacks nothing that it has asked for, so this is the host at its end: the lease is given back with it.
        warn!(error = %error, "a job cannot go on");
        engine.running.end(cx, id, &of_this, None);
        free_place(cx);
    }
}

/// Time for an attempt.
fn limit(job: &Job, kind: &Kind) -> Duration {
    job.timeout().unwrap_or(kind.timeout)
}

/// The code of the error of a job that somebody ended.
const CANCELLED: &str = "JOB_CANCELLED";

fn late(limit: Duration) -> Error {
    Error::new(
        504,
        "JOB_TIMEOUT",
        format!("it was not done after {} ms", limit.as_millis()),
    )
}

enum Outcome {
    Ended(Result<Bytes>),
    Late,
    Cancelled,
    Abandoned,
}

async fn supervise(cx: &Cx<Jobs>, limit: Duration, stop: &Stop, work: Work) -> Outcome {
    let clock = cx.clock();
    let late = pin!(clock.sleep(limit));
    let stopped = pin!(stop.wake.wait());
    match future::select(work, future::select(late, stopped)).await {
        Either::Left((outcome, _)) => Outcome::Ended(outcome),
        Either::Right((Either::Left(_), _)) => Outcome::Late,
        Either::Right((Either::Right(_), _)) if stop.is_abandoned.load(Ordering::SeqCst) => {
            Outcome::Abandoned
        }
        Either::Right((Either::Right(_), _)) => Outcome::Cancelled,
    }
}

/// Notes how a job ended in its lease.
pub(super) fn note(cx: &Cx<Jobs>, lease: &Arc<Lease>, ending: Ending, is_kept: Option<bool>) {
    let is_listed = match is_kept {
        Some(is_kept) if ending.says_nothing() => lease.complete(ending.job, is_kept),
        _ => lease.end(ending),
    };
    if is_listed {
        cx.plugin().engine.endings.list(Arc::clone(lease));
    }
}

fn free_place(cx: &Cx<Jobs>) {
    let engine = &cx.plugin().engine;
    engine.claims.ended();
    engine.backlog.ended();
    engine.claims.moved(engine.backlog.len());
    if engine.is_draining() {
        engine.ended.wake();
    }
}

/// What becomes of a job whose kind nobody works here. Its plugin may be about to start, or have just ended: that costs no
/// attempt.
fn unknown(job: &Job) -> (State, Option<f64>) {
    let age = Timestamp::now().duration_since(context::enqueued_at(job.id));
    // By a clock that is wrong, it is not enqueued yet.
    let age = Duration::try_from(age).unwrap_or_default();
    if age >= UNKNOWN_PATIENCE {
        return (State::Failed, None);
    }
    let pause = (age.as_secs_f64() / 4.0).clamp(UNKNOWN_PAUSE.0, UNKNOWN_PAUSE.1);
    (State::Snoozed, Some(pause))
}

/// What an outcome means for the job.
fn ending(job: &Job, outcome: Result<Bytes>) -> Ending {
    let error = match outcome {
        Ok(result) if result.is_empty() || &*result == b"null" => return Ending::completed(job.id),
        Ok(result) => {
            return Ending {
                result,
                ..Ending::completed(job.id)
            };
        }
        Err(error) => error,
    };
    debug!(job = job.id, kind = &*job.kind, attempt = job.attempt, error = %error, cause = error.cause(), "an attempt failed");
    let (state, delay) = match error.code() {
        CANCELLED => (State::Cancelled, None),
        // The handler did not begin, or not by its own doing end: the attempt does not count.
        AWAY | "HANDLER_STOPPED" => {
            let pause = error.retry_after().unwrap_or(PAUSE);
            (State::Snoozed, Some(pause.as_secs_f64()))
        }
        "JOB_KIND_UNKNOWN" => unknown(job),
        "JOB_DISCARD" => (State::Discarded, None),
        _ => (
            State::Failed,
            error.retry_after().map(|pause| pause.as_secs_f64()),
        ),
    };
    let error = if matches!(error.code(), AWAY | "HANDLER_STOPPED") {
        Bytes::new()
    } else {
        json!({"code": error.code(), "message": error.message()})
            .to_string()
            .into()
    };
    Ending {
        state,
        error,
        delay,
        ..Ending::completed(job.id)
    }
}
