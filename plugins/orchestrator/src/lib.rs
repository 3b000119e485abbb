//! Durable workflows in the CNCF Serverless Workflow DSL 1.0, and signed commands for the machines of a family.
//!
//! The engine is pure: it goes from state to state and says what it needs. The plugin keeps the state in Postgres, meets the needs,
//! and drives instances by jobs, so that leases, rescue and retries are those of the jobs plugin.
#![forbid(unsafe_code)]

mod advance;
mod calling;
mod cli;
mod command;
mod config;
pub mod dsl;
pub mod engine;
mod error;
mod exchange;
pub mod expressions;
mod files;
mod gather;
mod given_up;
pub mod graph;
mod hearing;
mod matching;
mod outcome;
mod perform;
mod process;
mod programs;
mod reach;
mod registering;
mod room;
mod routes;
mod standing;
mod starting;
mod store;
mod straight;
mod sweep;
mod telling;
mod version;
mod watching;
mod worker;

use std::{sync::Arc, time::Duration};

use nself_plugin_api::{
    capability::policy::Roles,
    prelude::*,
    tracing::{error, info},
    uuid::Uuid,
};

pub use crate::config::Config;
use crate::{
    exchange::Tokens,
    gather::Gatherer,
    hearing::Hearing,
    programs::Programs,
    routes::{commands, definitions, events, fetching, graphs, instances},
    store::together::{Ended, Step},
    watching::Watching,
};

/// The secret that workflows' secrets are read from: a JSON object of names and values.
const SECRETS: &str = "workflow-secrets";

/// The plugin: its declaration, and what its handlers share.
pub struct Orchestrator {
    config: Config,
    /// Who commands the devices of a family.
    device_managers: Roles,
    /// Who starts the workflows of a family, and sees and steers its runs.
    workflow_managers: Roles,
    programs: Programs,
    hearing: Hearing,
    tokens: Tokens,
    /// Names this process to other hosts.
    host: Uuid,
    watching: Watching,
    ended: Gatherer<Ended>,
    steps: Gatherer<Step>,
    /// Where the operator's definitions lie.
    files: Arc<files::Place>,
}

impl Plugin for Orchestrator {
    const ABOUT: About = about!("orchestrator");

    const REQUIRES: Requires = Requires {
        capabilities: &[
            "nself.db/1",
            "nself.crypto/1",
            "nself.http/1",
            "nself.process/1",
            "jobs.queue/1",
        ],
        optional: &["scheduler.schedules/1", "stream.channels/1"],
        // What is called stands in definitions; private addresses are refused unless the operator lists them.
        egress: &["*"],
        secrets: &[SECRETS],
        tables: &[TableGrant {
            table: "public.devices",
            rights: &["select"],
        }],
        emits: &["device_command.*", "workflow.*"],
        // An operator commands the devices of all of them.
        families: Families::All,
        ..Requires::NOTHING
    };

    const PROVIDES: &'static [Provided<Self>] =
        &[
            Provided::new("orchestrator.workflows/1", registering::call).functions(&[
                "orchestrator.register(text,text,text)",
                "orchestrator.registration(text,text)",
            ]),
        ];

    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/v1/workflows", definitions::list)
            .authenticated()
            .summary("Definitions of workflows"),
        Route::put(
            "/v1/workflows/{namespace}/{name}/{version}",
            definitions::put,
        )
        .service("workflows")
        .body_bytes_max(1 << 20)
        .summary("Keep a definition, in YAML or JSON; a version does not change any more"),
        Route::get(
            "/v1/workflows/{namespace}/{name}/{version}",
            definitions::show,
        )
        .authenticated()
        .summary("A definition; the version latest is the highest"),
        Route::delete(
            "/v1/workflows/{namespace}/{name}/{version}",
            definitions::remove,
        )
        .service("workflows")
        .summary("Remove a definition; what runs stays on it"),
        Route::post(
            "/v1/workflows/{namespace}/{name}/{version}/runs",
            instances::start,
        )
        .authenticated()
        .body_bytes_max(4 << 20)
        .timeout(Duration::from_secs(60))
        .summary("Start a workflow, and wait for its end if you like"),
        Route::get(
            "/v1/workflows/{namespace}/{name}/{version}/graph",
            graphs::definition,
        )
        .authenticated()
        .summary("The graph of a definition, as Mermaid or SVG"),
        Route::post("/v1/workflow-definitions", definitions::apply)
            .service("workflows")
            .body_bytes_max(1 << 20)
            .summary("Keep a definition under the name that stands in it"),
        Route::post("/v1/workflow-definitions/validate", definitions::validate)
            .service("workflows")
            .body_bytes_max(1 << 20)
            .summary("Say what is wrong with a definition"),
        Route::post("/v1/workflow-definitions/files", routes::files::apply)
            .service("workflows")
            .summary("Bring in the definitions of the operator's directory"),
        Route::get("/v1/workflow-runs", instances::list)
            .authenticated()
            .summary("Runs of workflows, the newest first"),
        Route::get("/v1/workflow-runs/{id}", instances::show)
            .authenticated()
            .summary("A run, the tasks that it is at and what they wait for"),
        Route::get("/v1/workflow-runs/{id}/history", instances::history)
            .authenticated()
            .summary("What happened to the tasks of a run"),
        Route::get("/v1/workflow-runs/{id}/graph", graphs::run)
            .authenticated()
            .summary("The graph of a run, each task in the colour of its status"),
        Route::get("/v1/workflow-runs/{id}/watch", instances::watch)
            .authenticated()
            .summary("What happens to a run, as it happens"),
        Route::post("/v1/workflow-runs/{id}/cancel", instances::cancel)
            .authenticated()
            .summary("End a run"),
        Route::post("/v1/workflow-runs/{id}/suspend", instances::suspend)
            .authenticated()
            .summary("Let a run rest: what comes in waits"),
        Route::post("/v1/workflow-runs/{id}/resume", instances::resume)
            .authenticated()
            .summary("Let a run go on"),
        Route::post("/v1/workflow-runs/{id}/retry", instances::retry)
            .authenticated()
            .summary("Take a run that failed back to the task that failed"),
        // The same for operators and services alone: what the command line calls.
        Route::get("/v1/orchestrator/workflows", definitions::list)
            .service("workflows")
            .summary("Definitions of workflows, for operators"),
        Route::post(
            "/v1/orchestrator/workflows/{namespace}/{name}/runs",
            instances::start_named,
        )
        .service("workflows")
        .body_bytes_max(4 << 20)
        .timeout(Duration::from_secs(3_660))
        .summary("Start a workflow, for operators"),
        Route::get(
            "/v1/orchestrator/workflows/{namespace}/{name}/graph",
            graphs::named,
        )
        .service("workflows")
        .summary("The graph of a definition, for operators"),
        Route::get("/v1/orchestrator/runs/{id}/graph", graphs::run)
            .service("workflows")
            .summary("The graph of a run, for operators"),
        Route::get("/v1/orchestrator/runs", instances::list)
            .service("workflows")
            .summary("Runs of workflows, for operators"),
        Route::get("/v1/orchestrator/runs/{id}", instances::show)
            .service("workflows")
            .summary("A run, the tasks that it is at and what they wait for, for operators"),
        Route::get("/v1/orchestrator/runs/{id}/history", instances::history)
            .service("workflows")
            .summary("What happened to the tasks of a run, for operators"),
        Route::post("/v1/orchestrator/runs/{id}/cancel", instances::cancel)
            .service("workflows")
            .summary("End a run, for operators"),
        Route::post("/v1/orchestrator/runs/{id}/suspend", instances::suspend)
            .service("workflows")
            .summary("Let a run rest, for operators"),
        Route::post("/v1/orchestrator/runs/{id}/resume", instances::resume)
            .service("workflows")
            .summary("Let a run go on, for operators"),
        Route::post("/v1/orchestrator/runs/{id}/retry", instances::retry)
            .service("workflows")
            .summary("Take a run back to the task that failed, for operators"),
        Route::post("/v1/events", events::take)
            .authenticated()
            .body_bytes_max(4 << 20)
            .summary("CloudEvents for workflows that listen: structured, binary, or a batch"),
        Route::post("/v1/devices/{id}/commands", commands::ask)
            .authenticated()
            .body_bytes_max(128 << 10)
            .summary("Ask a device to do something"),
        Route::get("/v1/devices/{id}/commands", fetching::fetch)
            .roles(&[Role::Device])
            .timeout(Duration::from_secs(40))
            .summary("What this device is to do, as signed texts; it may wait for that"),
        Route::get("/v1/device-commands", commands::list)
            .authenticated()
            .summary("Commands of devices, the newest first"),
        Route::get("/v1/device-commands/keys", commands::keys)
            .public()
            .summary("The keys that devices check their commands with"),
        Route::get("/v1/device-commands/{id}", commands::show)
            .authenticated()
            .summary("A command of a device, and what came of it"),
        Route::post("/v1/device-commands/{id}/outcome", fetching::end)
            .roles(&[Role::Device])
            .body_bytes_max(128 << 10)
            .summary("The device says what came of a command"),
        Route::post("/v1/device-commands/{id}/cancel", commands::cancel)
            .authenticated()
            .summary("Take a command back that has not ended"),
    ];

    const JOBS: &'static [Job<Self>] = &[
        Job::new("orchestrator.advance", worker::go_on)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.timer", worker::timer)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.call", calling::call)
            .attempts_max(100)
            .timeout(calling::TIMEOUT)
            .keep(Keep::Failed),
        Job::new(process::KIND, process::work)
            .queue("programs")
            .attempts_max(100)
            .timeout(process::TIME_MAX)
            .keep(Keep::Failed),
        Job::new(process::REMOVAL, process::remove)
            .queue("programs")
            .keep(Keep::Failed),
        Job::new("orchestrator.event", worker::event)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.ended", worker::child_ended)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.cancel", worker::cancel)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.command", worker::command_ended)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.schedules", starting::hand_over)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.scheduled", starting::scheduled)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.again", starting::again)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.start", starting::start_by_job)
            .attempts_max(100)
            .keep(Keep::Failed),
        Job::new("orchestrator.register", registering::register)
            .attempts_max(100)
            .keep(Keep::Failed),
    ];

    const COMMAND: &'static str = "workflow";

    const COMMANDS: &'static [Command] = cli::ALL;

    const TASKS: &'static [Task<Self>] = &[
        Task::every(Duration::from_secs(15), "commands", sweep::end_commands).singleton(),
        Task::every(Duration::from_secs(3_600), "prune", sweep::prune).singleton(),
        Task::every(Duration::from_secs(10), "files", files::complain),
    ];

    const SUBSCRIPTIONS: &'static [Subscription<Self>] = &[
        Subscription::new("family_end", &["family.purged"], sweep::family_purged),
        Subscription::new("given_up", &["jobs.job_discarded"], given_up::discarded),
        Subscription::new("listeners", &["*"], events::of_the_host),
    ];

    const MIGRATIONS: &'static [Migration] = &[
        migration!("0001_devices"),
        migration!("0002_workflows"),
        migration!("0003_schedules"),
        migration!("0004_parts"),
        migration!("0005_registrations"),
        migration!("0006_causes"),
        migration!("0007_room"),
        migration!("0008_order"),
        migration!("0009_keys"),
    ];

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        let project = context.about().facts()?.directory;
        Ok(Self {
            files: Arc::new(files::Place::of(&config, &project)),
            config,
            programs: Programs::default(),
            hearing: Hearing::default(),
            tokens: Tokens::default(),
            host: Uuid::now_v7(),
            watching: Watching::default(),
            ended: Gatherer::default(),
            steps: Gatherer::default(),
            device_managers: context.policy().roles("device.manage")?,
            workflow_managers: context.policy().roles("workflow.manage")?,
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        match files::apply(&cx).await {
            Ok(None) => {}
            Ok(Some(plan)) => info!(plan = %plan, "workflows of the operator's files"),
            // A mistake in a file must not stop what has nothing to do with it: all stays as it was.
            Err(mistake) if mistake.status() < 500 => {
                error!(error = %mistake, "the operator's workflows are not applied");
            }
            Err(trouble) => return Err(trouble),
        }
        // Whoever keeps the times may have been another one, or none, while this was away.
        store::schedules::hand_over_some(&cx.db()).await
    }
}

export_plugin!(Orchestrator);
