//! A plugin in a process of its own, as the host calls it: the same interface, whichever process is behind it at the moment.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    entry::RawHandle,
    error::Error,
    extension::{JobHandlers, JobHandlersProvider},
    future::Fut,
    instance::{Instance, InstanceProvider},
    request::Request,
    response::Response,
    wire::{Garbled, Link, Reader, RemoteObject, Wire, Writer},
};
use prometheus::IntCounter;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::{error, info, warn};

use super::{Begin, ROOT, child::root, offered::Offered, process::Process};
use crate::{
    capability::{error::error as failure, log},
    plugin::{health::Health, manifest::Manifest, offer::Offer},
};

/// Time before the first new process; each one that ends soon doubles it.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A process that ran for so long is followed by the next one after the first pause again.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// Under what a plugin's processes are counted as failing, beside its tasks.
const PART: &str = "process";

/// What an isolated plugin is made of.
pub struct Plan {
    /// What it declares.
    pub manifest: Arc<Manifest>,
    /// The copy that was checked.
    pub file: PathBuf,
    /// Memory that its process may write to.
    pub memory_bytes: u64,
    /// What it is offered.
    pub offer: Arc<Offer>,
    /// Its configuration, JSON.
    pub config: String,
    /// For a new process to start.
    pub step_timeout: Duration,
    /// Whether its process can tell the time by itself.
    pub is_machines_clock: bool,
    /// Counts new processes.
    pub restarts: IntCounter,
    /// How it does.
    pub health: Arc<Health>,
    /// Is told the number of its process, and when it has none.
    pub process: watch::Sender<Option<u32>>,
}

/// Code of what is asked of a plugin whose process is not there.
const DOWN: &str = "PLUGIN_DOWN";

/// What is asked of a plugin whose process is not there.
pub(super) fn down(why: &str) -> Error {
    Error {
        retry_after_ms: 1_000,
        ..failure(
            502,
            DOWN,
            "the plugin's process has ended and is being started again: try again",
            why,
        )
    }
}

/// A plugin in a process of its own.
pub struct Isolated {
    place: Arc<Place>,
    keeper: JoinHandle<()>,
}

impl Drop for Isolated {
    fn drop(&mut self) {
        // With it goes the process.
        self.keeper.abort();
    }
}

/// Where the process of the moment is found.
struct Place {
    live: ArcSwapOption<Live>,
    has_jobs: bool,
    is_stopping: AtomicBool,
}

/// What one process has made.
struct Live {
    instance: Instance,
    jobs: Option<JobHandlers>,
}

impl Isolated {
    /// Starts the first process, which makes the plugin's instance; not started yet.
    ///
    /// # Errors
    ///
    /// When there is no process, or the plugin does not come up in it.
    pub async fn create(plan: Plan) -> Result<Instance, Error> {
        let place = Arc::new(Place {
            live: ArcSwapOption::empty(),
            has_jobs: !plan.manifest.jobs.is_empty(),
            is_stopping: AtomicBool::new(false),
        });
        let (process, live) = plan.bring_up().await?;
        place.live.store(Some(live));
        plan.process.send_replace(process.id());
        let keeper = tokio::spawn(keep(plan, Arc::clone(&place), process));
        Ok(Instance::new(Arc::new(Self { place, keeper })))
    }
}

impl Plan {
    /// A process in which the plugin has been made; not started yet.
    async fn bring_up(&self) -> Result<(Process, Arc<Live>), Error> {
        let id = &self.manifest.id;
        let abi = &self.manifest.abi;
        let begin = Begin {
            file: self.file.clone(),
            major: abi.major,
            needs: abi.needs,
            memory_bytes: self.memory_bytes,
            is_machines_clock: self.is_machines_clock,
        };
        let offered = Arc::new(Offered(Arc::clone(&self.offer)));
        let started = Process::start(id, &begin, offered);
        let (mut process, connection) = started.map_err(|cause| {
            failure(
                500,
                "PLUGIN_PROCESS",
                "no process can be started for the plugin",
                cause,
            )
        })?;
        let link: Arc<dyn Link> = connection;
        let file = RemoteObject::new(link, ROOT);
        let config = file.arguments().bytes(self.config.as_bytes());
        let made = match file.call::<Made>(root::CREATE, config).await {
            Ok(made) => made,
            Err(said) if said.code.as_slice() == DOWN.as_bytes() => {
                return Err(down(&process.ended().await));
            }
            Err(said) => return Err(said),
        };
        if !made.walls.is_empty() {
            warn!(
                plugin = id,
                walls = made.walls,
                "the plugin's process is held by less than this version knows: a newer kernel has it"
            );
        }
        made.instance.set_log_level(log::level());
        info!(
            plugin = id,
            process = process.id(),
            "the plugin's process runs"
        );
        let live = Live {
            instance: made.instance,
            jobs: made.jobs,
        };
        Ok((process, Arc::new(live)))
    }

    /// Another process in the place of one that ended. Nothing is asked of it before it has started.
    async fn bring_back(&self, place: &Place) -> Result<Process, Error> {
        let (process, live) = self.bring_up().await?;
        live.instance.start().await?;
        place.live.store(Some(live));
        Ok(process)
    }
}

/// What `create` of a process comes to.
pub(super) struct Made {
    pub(super) instance: Instance,
    pub(super) jobs: Option<JobHandlers>,
    /// What of the walls this system does not have.
    pub(super) walls: String,
}

impl Wire for Made {
    fn send(self, out: Writer) -> Writer {
        let out = out.bytes(self.walls.as_bytes()).with(self.instance);
        match self.jobs {
            None => out.with(0_u32),
            Some(jobs) => out.with(1_u32).with(jobs),
        }
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let walls = input.text()?;
        let instance = Instance::receive(input)?;
        let has_jobs = u32::receive(input)? == 1;
        let jobs = has_jobs.then(|| JobHandlers::receive(input)).transpose()?;
        Ok(Self {
            instance,
            jobs,
            walls,
        })
    }
}

/// Waits for the end of a process, and puts another one into its place.
async fn keep(plan: Plan, place: Arc<Place>, mut process: Process) {
    let id = &plan.manifest.id;
    let mut pause = PAUSE;
    loop {
        let since = Instant::now();
        let mut how = process.ended().await;
        place.live.store(None);
        plan.process.send_replace(None);
        if place.is_stopping.load(Ordering::Acquire) {
            return;
        }
        if since.elapsed() > GOOD_RUN {
            pause = PAUSE;
        }
        process = loop {
            error!(
                plugin = id,
                again_in_ms = pause.as_millis(),
                "the plugin's process ended: {how}"
            );
            plan.health
                .task_fails(PART, format!("its process ended: {how}"));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            plan.restarts.inc();
            match timeout(plan.step_timeout, plan.bring_back(&place)).await {
                Ok(Ok(process)) => break process,
                Ok(Err(said)) => how = said.to_string(),
                Err(_) => how = format!("it did not come up within {:?}", plan.step_timeout),
            }
        };
        plan.process.send_replace(process.id());
        plan.health.task_works(PART);
    }
}

impl Isolated {
    /// What the process of the moment answers, or that there is none.
    fn with<T: 'static>(&self, call: impl FnOnce(&Live) -> Fut<T>) -> Fut<T> {
        match &*self.place.live.load() {
            Some(live) => call(live),
            None => Fut::failed(down("it is being started")),
        }
    }
}

impl InstanceProvider for Isolated {
    fn start(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.with(|live| live.instance.start())
    }

    fn stop(&self, deadline_ms: u64) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.place.is_stopping.store(true, Ordering::Release);
        let place = Arc::clone(&self.place);
        let stopping = match &*place.live.load() {
            Some(live) => live.instance.stop(deadline_ms),
            // What has ended has stopped.
            None => Fut::new(std::future::ready(Ok(()))),
        };
        stopping.inspect(move |_| place.live.store(None))
    }

    fn handle(
        &self,
        route: u32,
        request: Request,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'static {
        self.with(|live| live.instance.handle(route, request))
    }

    fn run_task(&self, task: u32) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.with(|live| live.instance.run_task(task))
    }

    fn on_event(
        &self,
        subscription: u32,
        event: Bytes,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.with(|live| live.instance.on_event(subscription, event))
    }

    fn on_schedule(
        &self,
        schedule: u32,
        payload: Bytes,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.with(|live| live.instance.on_schedule(schedule, payload))
    }

    fn call(
        &self,
        capability: u32,
        method: Str<'_>,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        self.with(|live| live.instance.call(capability, method, payload))
    }

    fn set_log_level(&self, level: u32) {
        if let Some(live) = &*self.place.live.load() {
            live.instance.set_log_level(level);
        }
    }

    fn extension(&self, id: Str<'_>) -> RawHandle {
        if id.as_str() != JobHandlers::ID || !self.place.has_jobs {
            return RawHandle::default();
        }
        JobHandlers::new(Arc::new(Jobs(Arc::clone(&self.place)))).into_raw()
    }
}

/// The handlers of the plugin's jobs.
struct Jobs(Arc<Place>);

impl JobHandlersProvider for Jobs {
    fn run(
        &self,
        job: u32,
        id: i64,
        attempt: u32,
        attempts_max: u32,
        context: Bytes,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let live = self.0.live.load();
        match live.as_ref().and_then(|live| live.jobs.as_ref()) {
            Some(jobs) => jobs.run(job, id, attempt, attempts_max, context, payload),
            None => Fut::failed(down("it is being started")),
        }
    }
}
