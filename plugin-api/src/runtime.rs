//! A plugin behind the boundary: what the exported entry creates, and how the host's calls reach the author's functions.

use std::{future::Future, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    abi::{
        bytes::{Bytes, Str},
        capability::log::Log,
        entry::{Host, RawHandle},
        error::Error as AbiError,
        extension::{JobHandlers, JobHandlersProvider},
        future::Fut,
        instance::{Instance, InstanceProvider},
        request, response,
    },
    cx::{Context, Cx},
    error::{Error, Result},
    event::Event,
    extract::Request,
    job::JobRun,
    log,
    plugin::Plugin,
    route::{CapabilityCall, NoInput, Scheduled},
};

/// Makes an instance of `P`; what the exported entry points to.
pub fn create<P: Plugin>(host: Host, config: Str<'_>) -> Fut<Instance> {
    let logger = host.log();
    if let Some(logger) = logger {
        log::install(logger);
    }
    let config = serde_json::from_str::<P::Config>(config.as_str());
    Fut::new(async move {
        let config = config
            .map_err(|error| Error::invalid("CONFIG_INVALID", format!("configuration: {error}")))?;
        let context = Context::new(&host);
        let plugin = P::create(context.clone(), config).await?;
        Ok(Instance::new(Arc::new(Running::<P> {
            cx: Cx::new(context, Arc::new(plugin)),
            marker: PhantomData,
        })))
    })
}

struct Running<P> {
    cx: Cx<P>,
    marker: PhantomData<P>,
}

/// An error for a number that the manifest does not have: host and plugin disagree about the manifest.
fn unknown(what: &str, number: u32) -> Error {
    Error::new(
        500,
        "MANIFEST_MISMATCH",
        format!("this plugin has no {what} number {number}"),
    )
}

fn row<T>(rows: &'static [T], number: u32, what: &str) -> Result<&'static T> {
    usize::try_from(number)
        .ok()
        .and_then(|at| rows.get(at))
        .ok_or_else(|| unknown(what, number))
}

fn abi<T>(result: Result<T>) -> Result<T, AbiError> {
    result.map_err(Into::into)
}

impl<P: Plugin> InstanceProvider for Running<P> {
    fn start(&self) -> impl Future<Output = Result<(), AbiError>> + Send + 'static {
        let starting = P::start(self.cx.clone());
        async move { abi(starting.await) }
    }

    fn stop(
        &self,
        deadline_ms: u64,
    ) -> impl Future<Output = Result<(), AbiError>> + Send + 'static {
        let stopping = P::stop(self.cx.clone(), Duration::from_millis(deadline_ms));
        async move { abi(stopping.await) }
    }

    fn handle(
        &self,
        route: u32,
        request: request::Request,
    ) -> impl Future<Output = Result<response::Response, AbiError>> + Send + 'static {
        match row(P::ROUTES, route, "route") {
            Ok(route) => route
                .handler
                .call(self.cx.clone(), Request { raw: request }),
            Err(unknown) => Fut::failed(unknown.into()),
        }
    }

    fn run_task(&self, task: u32) -> impl Future<Output = Result<(), AbiError>> + Send + 'static {
        let running =
            row(P::TASKS, task, "task").map(|task| task.run.call(self.cx.clone(), NoInput));
        async move { abi(running?.await) }
    }

    fn on_event(
        &self,
        subscription: u32,
        event: Bytes,
    ) -> impl Future<Output = Result<(), AbiError>> + Send + 'static {
        let handling =
            row(P::SUBSCRIPTIONS, subscription, "subscription").and_then(|subscription| {
                let event: Event = serde_json::from_slice(event.as_slice())
                    .map_err(|error| Error::invalid("EVENT_INVALID", format!("event: {error}")))?;
                Ok(subscription.handle.call(self.cx.clone(), event))
            });
        async move { abi(handling?.await) }
    }

    fn on_schedule(
        &self,
        schedule: u32,
        payload: Bytes,
    ) -> impl Future<Output = Result<(), AbiError>> + Send + 'static {
        let running = row(P::SCHEDULES, schedule, "schedule").and_then(|schedule| {
            let scheduled_at = std::str::from_utf8(payload.as_slice())
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Error::invalid("SCHEDULE_PAYLOAD", "expected an RFC 3339 time"))?;
            Ok(schedule
                .run
                .call(self.cx.clone(), Scheduled { scheduled_at }))
        });
        async move { abi(running?.await) }
    }

    fn call(
        &self,
        capability: u32,
        method: Str<'_>,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, AbiError>> + Send + 'static {
        let calling = row(P::PROVIDES, capability, "capability").map(|provided| {
            let call = CapabilityCall {
                method: method.as_str().to_owned(),
                payload: payload.into(),
            };
            provided.call.call(self.cx.clone(), call)
        });
        async move { Ok(calling?.await?.into()) }
    }

    fn set_log_level(&self, level: u32) {
        log::set_level(level);
    }

    fn extension(&self, id: Str<'_>) -> RawHandle {
        match id.as_str() {
            JobHandlers::ID if !P::JOBS.is_empty() => {
                let cx = self.cx.clone();
                JobHandlers::new(Arc::new(Jobs { cx })).into_raw()
            }
            _ => RawHandle::default(),
        }
    }
}

/// The handlers of the plugin's jobs.
struct Jobs<P> {
    cx: Cx<P>,
}

impl<P: Plugin> JobHandlersProvider for Jobs<P> {
    fn run(
        &self,
        job: u32,
        id: i64,
        attempt: u32,
        attempts_max: u32,
        context: Bytes,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, AbiError>> + Send + 'static {
        let running = row(P::JOBS, job, "job").map(|job| {
            let run = JobRun {
                id,
                kind: job.kind,
                attempt,
                attempts_max,
                payload: payload.into(),
                context: context.into(),
            };
            job.run.run(self.cx.clone(), run)
        });
        async move { Ok(running?.await?.into()) }
    }
}

/// Sends panics of this image to the host's log; each image has its own panic hook.
pub(crate) fn forward_panics(logger: &'static Log) {
    std::panic::set_hook(Box::new(move |info| {
        let message = crate::abi::panic::message_of(info.payload());
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        logger.panicked(message.as_str().into(), location.as_str().into());
    }));
}
