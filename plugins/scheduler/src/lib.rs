//! Schedules: what a schedule's text means, the instants at which it fires, and the plugin that fires it.
//!
//! The time engine knows no database and no clock: everything it needs is passed in. [`Timing`] reads a schedule and names its
//! next fire, [`due`] decides what a host that was away makes up for. The plugin keeps schedules in Postgres, and fires each of
//! their times once, over all hosts, in the transaction that enqueues what it is for.
#![forbid(unsafe_code)]

mod capability_call;
mod commands;
mod config;
mod engine;
mod error;
mod family_end;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hasura;
mod jitter;
mod kept;
mod local;
mod metrics;
mod missed;
mod next;
mod plan;
mod plugin_schedule;
mod refusal;
mod routes;
mod rule;
mod schedule;
mod shown;
mod spec;
mod store;
mod sweep;
mod target;
mod timing;
mod zone;

use std::{path::Path, time::Duration};

use nself_plugin_api::{
    mistake::Mistake,
    prelude::*,
    tracing::{error, info},
};

pub use crate::{
    config::Config,
    error::SpecError,
    jitter::{delay, delay_before},
    missed::{CatchUp, Due, Missed, due},
    rule::{Gap, Overlap},
    timing::{Definition, Timing},
    zone::{Zone, Zones},
};
use crate::{
    engine::{Loops, tick},
    metrics::Metrics,
    routes::{fires, schedules},
};

/// Where systems keep the files of the tz database.
const ZONES_DIRECTORY: &str = "/usr/share/zoneinfo";

/// The plugin: its declaration, and what its handlers share.
pub struct Scheduler {
    config: Config,
    zones: Zones,
    loops: Loops,
    metrics: Metrics,
    /// What kept the operator's files out when they were last applied.
    mistake: Mistake,
}

impl Plugin for Scheduler {
    const ABOUT: About = about!("scheduler");

    const REQUIRES: Requires = Requires {
        capabilities: &[
            "nself.db/1",
            "nself.handlers/1",
            "nself.http/1",
            "jobs.queue/1",
        ],
        egress: &["*"],
        emits: &["schedule.*"],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/v1/schedules", schedules::list)
            .service("schedules")
            .summary("Schedules by name"),
        Route::post("/v1/schedules", schedules::create)
            .service("schedules")
            .summary("Make a schedule"),
        Route::get("/v1/schedules/{name}", schedules::show)
            .service("schedules")
            .summary("A schedule and its next times"),
        Route::put("/v1/schedules/{name}", schedules::replace)
            .service("schedules")
            .summary("Give a schedule another definition"),
        Route::delete("/v1/schedules/{name}", schedules::remove)
            .service("schedules")
            .summary("Remove a schedule and its history"),
        Route::post("/v1/schedules/{name}/pause", schedules::pause)
            .service("schedules")
            .summary("Let a schedule rest"),
        Route::post("/v1/schedules/{name}/resume", schedules::resume)
            .service("schedules")
            .summary("Let a schedule go on; nothing of the pause is made up for"),
        Route::post("/v1/schedules/{name}/run", fires::run)
            .service("schedules")
            .summary("Fire a schedule now"),
        Route::post("/v1/schedules/{name}/backfill", fires::backfill)
            .service("schedules")
            .summary("Fire for the times of a window that have not been fired"),
        Route::get("/v1/schedules/{name}/fires", fires::list)
            .service("schedules")
            .summary("What a schedule fired, newest first"),
        Route::post("/v1/scheduler/preview", schedules::preview)
            .service("schedules")
            .summary("When a text fires"),
        Route::post("/v1/scheduler/apply", routes::files::apply)
            .service("schedules")
            .summary("Bring the schedules to what the operator's files say"),
        Route::post("/v1/scheduler/events", routes::hasura::create)
            .service("schedules")
            .summary("Hasura's create_scheduled_event: deliver a webhook once, at a time"),
    ];

    const JOBS: &'static [Job<Self>] = &[
        Job::new(target::PLUGIN_SCHEDULE, plugin_schedule::run),
        Job::new(target::WEBHOOK, hasura::deliver),
        Job::new(target::CALL, capability_call::run),
    ];

    const TASKS: &'static [Task<Self>] = &[
        Task::every(Duration::from_secs(5), "engine", sweep::engine),
        Task::every(Duration::from_secs(3_600), "prune", sweep::prune).singleton(),
        Task::every(Duration::from_secs(10), "files", files::complain),
    ];

    const SUBSCRIPTIONS: &'static [Subscription<Self>] = &[Subscription::new(
        "family_end",
        &["family.purged"],
        family_end::purged,
    )];

    const PROVIDES: &'static [Provided<Self>] =
        &[Provided::new("scheduler.schedules/1", kept::call)];

    const MIGRATIONS: &'static [Migration] =
        &[migration!("0001_schedules"), migration!("0002_fire")];

    const COMMANDS: &'static [Command] = commands::ALL;

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        Ok(Self {
            config,
            zones: Zones::of_system(Path::new(ZONES_DIRECTORY)),
            loops: Loops::default(),
            metrics: Metrics::register(&context)?,
            mistake: Mistake::default(),
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        match files::apply(&cx, false).await {
            Ok(plan) => info!(plan = %plan, "schedules of the operator's files"),
            // A mistake in a file must not stop what has nothing to do with it: all stays as it was.
            Err(mistake) if mistake.status() < 500 => {
                error!(error = %mistake, "the operator's schedules are not applied");
            }
            Err(trouble) => return Err(trouble),
        }
        tick::renew(&cx).await?;
        engine::start(&cx)
    }
}

export_plugin!(Scheduler);
