//! A host in the foreground: what `nself up` and `nself serve` share.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::{CliError, Context, Exit, urls};
use crate::{
    config::{Config, Provenance, secrets::Secrets},
    control::ControlServer,
    http::handed,
    plugin::crashes,
    run::{DatabaseChoice, Host, StartSettings, control::HostControl, heartbeat::Heartbeat},
    telemetry::{self, Telemetry},
};

/// Fewest threads that drive requests.
const WORKERS_MIN: usize = 4;

/// What is served.
pub(super) struct Serve {
    pub(super) config: Config,
    pub(super) provenance: Provenance,
    pub(super) database: DatabaseChoice,
    pub(super) migrate: bool,
}

/// Runs a host until it is asked to stop.
pub(super) fn run(context: &Context, serve: Serve) -> Result<(), CliError> {
    let telemetry = Arc::new(telemetry::init(
        &serve.config,
        &context.variables,
        context.output.is_colourful(),
    )?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    let beating = Heartbeat::start(runtime.handle().clone());
    let beating = beating.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    let done = runtime.block_on(serve_until_stopped(context, serve, &telemetry));
    drop(beating);
    // A plugin that blocks a thread must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry.flush();
    done
}

/// A plugin that blocks a thread blocks a worker: with fewer than four, two of them would be the whole host.
fn worker_threads() -> usize {
    std::thread::available_parallelism()
        .map_or(WORKERS_MIN, std::num::NonZeroUsize::get)
        .max(WORKERS_MIN)
}

async fn serve_until_stopped(
    context: &Context,
    serve: Serve,
    telemetry: &Arc<Telemetry>,
) -> Result<(), CliError> {
    let Serve {
        config,
        provenance,
        database,
        migrate,
    } = serve;
    let grace = Duration::from_millis(config.shutdown.grace_ms);
    let state = config.state_directory();
    let secrets = Secrets::of(&config)?;
    let control = ControlServer::bind(&state)?;
    crashes::begin(&state);
    let mut signals = Signals::new()?;
    let progress = context.progress("starting");
    let settings = StartSettings {
        config,
        provenance,
        secrets,
        database,
        migrate,
        progress: Arc::new(move |step| progress.set(step)),
    };
    let host = tokio::select! {
        started = Host::start(settings) => Arc::new(started?),
        () = signals.next() => {
            return Err(CliError::new("INTERRUPTED", Exit::Interrupted, "stopped while starting"));
        }
    };
    info!(
        ready_ms = u64::try_from(host.uptime().as_millis()).unwrap_or(u64::MAX),
        "host ready"
    );
    for address in handed::unused() {
        warn!(%address, "a socket that was handed over is not listened on: `http.bind` and `http.port` say another address");
    }
    tell_manager(NotifyState::Ready);
    let urls = urls::of(&host);
    context
        .output
        .answer(&json!({"pid": std::process::id(), "urls": urls}), || {
            urls::text(&urls)
        })?;
    let (stop_control, stopped) = tokio::sync::oneshot::channel::<()>();
    let commands = Arc::new(HostControl {
        host: Arc::clone(&host),
        telemetry: Arc::clone(telemetry),
    });
    let controlling = tokio::spawn(async move {
        // Either way the host is on its way out.
        control.run(commands, async { _ = stopped.await }).await;
    });
    tokio::select! {
        () = signals.next() => info!("stopping"),
        () = host.stop_requested() => info!("stopping, as asked"),
    }
    tell_manager(NotifyState::Stopping);
    let stopping = host.stop(grace);
    tokio::pin!(stopping);
    let clean = tokio::select! {
        clean = &mut stopping => clean,
        () = signals.next() => {
            warn!("stopping at once");
            host.abort();
            stopping.await
        }
    };
    let _ = stop_control.send(());
    let _ = controlling.await;
    if !clean {
        warn!("something had to be cut off");
    }
    Ok(())
}

/// Tells whoever started the host, if it wants to know (sd_notify(3)).
fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "whoever started the host cannot be told how it is");
    }
}

/// The signals that ask for a stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        let listen =
            |kind| signal(kind).map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
