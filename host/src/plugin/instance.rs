//! A running plugin: one loaded version of it, with everything that belongs to it and ends with it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deadpool_postgres::Pool;
use futures_util::{FutureExt, future::BoxFuture};
use nself_plugin_api::abi::{
    bytes::Bytes, error::Error, extension::JobHandlers, instance::Instance,
};
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument, debug_span, info, info_span, warn};

use super::{handlers::Attempt, health::Health, manifest::Manifest, watchdog::Watches};
use crate::{
    capability::{call::Provider, error::unavailable, task::Background},
    config::Isolation,
    http::TraceContext,
    http::{Generation, InFlight},
    hub::Hub,
    loader::Sha256,
    telemetry::trace::{self, Kind, Span, Trace, Tracer},
};

/// For handlers that are cut off to be dropped.
const CUT_TIMEOUT: Duration = Duration::from_millis(500);

/// One loaded version of a plugin.
pub struct Running {
    parts: Parts,
    loops: Mutex<Vec<JoinHandle<()>>>,
}

/// What [`Running::new`] puts together.
pub struct Parts {
    /// What it declares.
    pub manifest: Arc<Manifest>,
    /// Hash of its file.
    pub sha256: Sha256,
    /// The mapped file.
    pub file: PathBuf,
    /// Where it runs.
    pub isolation: Isolation,
    /// The plugin behind the boundary.
    pub instance: Instance,
    /// The handlers of its jobs; nothing when it declares none.
    pub job_handlers: Option<JobHandlers>,
    /// Counts its requests and sockets.
    pub generation: Arc<Generation>,
    /// Its background work.
    pub background: Arc<Background>,
    /// Its panics.
    pub health: Arc<Health>,
    /// Turns true when it is asked to end.
    pub draining: watch::Sender<bool>,
    /// Notes what it is polled for.
    pub watches: Watches,
    /// Has its open sockets, and those of the others.
    pub hub: Arc<Hub>,
    /// Gets the spans of what it is called for, where traces are exported.
    pub tracer: Option<Tracer>,
    /// Its way to the database; nothing when it does not use it.
    pub pool: Option<Pool>,
    /// The number of its process, while it has one of its own.
    pub process: watch::Receiver<Option<u32>>,
}

impl Running {
    /// A plugin that has been started.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            loops: Mutex::default(),
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.parts.manifest.id
    }

    /// What it declares.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.parts.manifest
    }

    /// Hash of its file.
    pub fn sha256(&self) -> &Sha256 {
        &self.parts.sha256
    }

    /// The mapped file.
    pub fn file(&self) -> &std::path::Path {
        &self.parts.file
    }

    /// Where it runs.
    pub fn isolation(&self) -> Isolation {
        self.parts.isolation
    }

    /// The plugin behind the boundary.
    pub fn instance(&self) -> &Instance {
        &self.parts.instance
    }

    /// Counts its requests and sockets.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.parts.generation
    }

    /// Its panics.
    pub fn health(&self) -> &Health {
        &self.parts.health
    }

    /// Notes what it is polled for.
    pub fn watches(&self) -> &Watches {
        &self.parts.watches
    }

    /// Where its sockets are.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.parts.hub
    }

    /// Its way to the database; nothing when it does not use it.
    pub fn pool(&self) -> Option<&Pool> {
        self.parts.pool.as_ref()
    }

    /// The number of its process, while it has one of its own.
    pub fn process(&self) -> Option<u32> {
        *self.parts.process.borrow()
    }

    /// Turns true when it is asked to end.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.parts.draining.subscribe()
    }

    /// Keeps a loop of the host that works for this plugin; it ends with it.
    pub fn adopt(&self, work: JoinHandle<()>) {
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(work);
    }

    /// Works a job of the kind with that number; `None` when it takes no more calls because it drains.
    ///
    /// Takes no slot of the requests: how many jobs run at once is bounded by their queues, and a long one shall not keep
    /// requests out.
    pub fn run_job(
        &self,
        number: u32,
        attempt: Attempt,
    ) -> Option<impl Future<Output = Result<Bytes, Error>> + Send + 'static + use<>> {
        let in_flight = self.parts.generation.join().ok()?;
        let Attempt {
            id,
            attempt,
            attempts_max,
            context,
            payload,
        } = attempt;
        let handlers = self.parts.job_handlers.as_ref()?;
        let joined = self.join_job(number, id, attempt, &context);
        let run = || handlers.run(number, id, attempt, attempts_max, context, payload);
        let result = within(joined.as_ref(), run);
        let result = self.parts.watches.job(number).future(result);
        // A span that is recorded costs a microsecond, more than all the rest: only who looks closely pays that.
        let span = debug_span!("job", plugin = self.id(), job = id, attempt);
        let worked = until_cut(in_flight, result, cut_off).instrument(span);
        Some(traced(joined, worked))
    }

    /// Takes an event of the subscription with that number; it joins the trace of the event's cause.
    pub fn on_event(
        &self,
        number: u32,
        kind: &str,
        trace_parent: Option<&str>,
        event: Bytes,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<> {
        let joined = self.join("event", trace_parent);
        let joined = joined.map(|(trace, mut span)| {
            span.rename(format!("event {kind}"));
            (trace, span)
        });
        let taken = within(joined.as_ref(), || {
            self.parts.instance.on_event(number, event)
        });
        let watch = self.parts.watches.subscription(number);
        traced(joined, watch.future(taken))
    }

    /// A span of what was left for this plugin, in the trace of its cause, if that is recorded; else none, and no cost.
    fn join(&self, name: &'static str, trace_parent: Option<&str>) -> Option<(Trace, Box<Span>)> {
        let tracer = self.parts.tracer.as_ref()?;
        let parent = trace_parent.and_then(TraceContext::parse);
        let trace = Trace::below(parent, Some(tracer));
        let mut span = trace.span(Kind::Consumer, name)?;
        span.text("nself.plugin", self.id());
        Some((trace, span))
    }

    /// The same of a job, whose context says its cause.
    fn join_job(
        &self,
        number: u32,
        id: i64,
        attempt: u32,
        context: &Bytes,
    ) -> Option<(Trace, Box<Span>)> {
        self.parts.tracer.as_ref()?;
        let context: Cause = serde_json::from_slice(context.as_slice()).unwrap_or_default();
        let (trace, mut span) = self.join("job", context.trace_parent.as_deref())?;
        let job = usize::try_from(number).ok();
        if let Some(job) = job.and_then(|number| self.parts.manifest.jobs.get(number)) {
            span.rename(format!("job {}", job.kind));
        }
        span.number("nself.job.id", id)
            .number("nself.job.attempt", attempt.into());
        Some((trace, span))
    }

    /// Runs the schedule with that number; `None` when it takes no more calls because it drains.
    pub fn run_schedule(
        &self,
        number: u32,
        scheduled_at: &str,
    ) -> Option<impl Future<Output = Result<(), Error>> + Send + 'static + use<>> {
        let in_flight = self.parts.generation.join().ok()?;
        let due = Bytes::from(scheduled_at.as_bytes());
        let done = self.parts.instance.on_schedule(number, due);
        let done = self.parts.watches.schedule(number).future(done);
        let span = info_span!("schedule", plugin = self.id(), due = scheduled_at);
        Some(until_cut(in_flight, done, cut_off).instrument(span))
    }

    /// Lets nothing new in. The first step of [`Self::end`].
    pub fn drain(&self) {
        self.parts.draining.send_replace(true);
        self.parts.generation.drain();
    }

    /// Drains and ends it: nothing new comes in, what is under way may finish until the deadline, then the plugin is told
    /// to stop, and what still runs is dropped. True when nothing had to be cut off.
    pub async fn end(&self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        self.drain();
        let drained = timeout_at(deadline, self.parts.generation.drained())
            .await
            .is_ok();
        if !drained {
            self.parts.generation.cut();
            // What blocks its thread cannot be dropped, and is not waited for.
            let _ = timeout(CUT_TIMEOUT, self.parts.generation.drained()).await;
        }
        let loops = std::mem::take(&mut *self.loops.lock().unwrap_or_else(PoisonError::into_inner));
        let mut finished = true;
        for mut work in loops {
            if timeout_at(deadline, &mut work).await.is_err() {
                work.abort();
                finished = false;
            }
        }
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(500));
        let stop = self
            .parts
            .instance
            .stop(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let stop = self.parts.watches.stop().future(stop);
        match timeout(left, stop).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => warn!(
                plugin = self.id(),
                error = failure.message.to_text(),
                "the plugin failed while stopping"
            ),
            Err(_) => {
                warn!(plugin = self.id(), "the plugin did not stop in time");
                finished = false;
            }
        }
        self.parts.background.abort();
        info!(plugin = self.id(), version = %self.parts.manifest.version, drained, finished, "plugin stopped");
        drained && finished
    }
}

impl Provider for Running {
    fn call(
        &self,
        capability: &str,
        method: &str,
        payload: Bytes,
    ) -> Option<BoxFuture<'static, Result<Bytes, Error>>> {
        let number = self
            .parts
            .manifest
            .provides
            .iter()
            .position(|provided| provided == capability)?;
        let in_flight = self.parts.generation.enter(false).ok()?;
        let joined = trace::begin(Kind::Internal, "call").map(|mut span| {
            span.rename(format!("{capability} {method}"));
            span.text("nself.plugin", self.id());
            (span.trace(), span)
        });
        let function = u32::try_from(number).ok()?;
        let call = || self.parts.instance.call(function, method.into(), payload);
        let answer = within(joined.as_ref(), call);
        let answer = self.parts.watches.capability(number).future(answer);
        Some(traced(joined, until_cut(in_flight, answer, exchanged)).boxed())
    }
}

/// What a job's context says of its cause.
#[derive(Default, Deserialize)]
struct Cause {
    trace_parent: Option<String>,
}

/// Calls at the place of a span, if there is one: a plugin in a process of its own is told there what it is called for.
fn within<R>(joined: Option<&(Trace, Box<Span>)>, call: impl FnOnce() -> R) -> R {
    match joined {
        Some((trace, _)) => trace.clone().sync_scope(call),
        None => call(),
    }
}

/// Drives `work` within its span, if there is one.
async fn traced<T>(
    joined: Option<(Trace, Box<Span>)>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Some((trace, mut span)) = joined else {
        return work.await;
    };
    let result = trace.scope(work).await;
    match &result {
        Ok(_) => span.succeed(),
        Err(error) => span.fail(&error.code.to_text()),
    }
    result
}

/// The plugin's answer, or `late` when its time to finish is over.
async fn until_cut<T>(
    in_flight: InFlight,
    answer: impl Future<Output = Result<T, Error>>,
    late: fn() -> Error,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        answer = answer => answer,
        () = in_flight.cut() => Err(late()),
    }
}

fn exchanged() -> Error {
    unavailable(
        "PLUGIN_STOPPING",
        "the plugin that offers this was exchanged before it had finished: try again",
        1_000,
        "its time to finish is over",
    )
}

/// A code of its own, which no handler answers with: whoever keeps the queue knows that the handler did not fail.
fn cut_off() -> Error {
    unavailable(
        "HANDLER_STOPPED",
        "the plugin that works this had to stop before it had finished: try again",
        1_000,
        "its time to finish is over",
    )
}
