//! Background jobs: rows in Postgres, enqueued in the transaction of their cause, claimed in batches and worked by the plugins
//! that declare their kinds, by endpoints that they are sent to, and by workers that fetch them over HTTP.
#![forbid(unsafe_code)]

mod answer;
mod audit;
mod batch;
mod builtin;
mod commands;
mod config;
mod context;
mod drain;
mod engine;
mod enqueue;
mod error;
mod family_end;
mod hasura;
mod observed;
mod pull;
mod push;
mod queue;
mod reserved;
mod routes;
mod store;
mod sweep;

use std::time::Duration;

use nself_plugin_api::prelude::*;

pub use crate::config::Config;
use crate::{
    engine::Engine,
    enqueue::Enqueuer,
    observed::Observed,
    routes::{
        batches, dead, hasura as events, jobs, kinds, leases, limits, live, pull as fetching,
        queues,
    },
};

/// The plugin: its declaration, and what its handlers share.
pub struct Jobs {
    config: Config,
    engine: Engine,
    enqueuer: Enqueuer,
    observed: Observed,
}

impl Plugin for Jobs {
    const ABOUT: About = about!("jobs");

    const REQUIRES: Requires = Requires {
        capabilities: &[
            "nself.db/1",
            "nself.handlers/1",
            "nself.http/1",
            "nself.crypto/1",
            "nself.dump/1",
        ],
        optional: &["mail.send/1"],
        egress: &["*"],
        emits: &["jobs.*"],
        ..Requires::NOTHING
    };

    const PROVIDES: &'static [Provided<Self>] = &[Provided::new("jobs.queue/1", queue::call)
        .functions(&[
            "jobs.enqueue(text,jsonb,jsonb)",
            "jobs.enqueue_many(text,jsonb[],jsonb)",
            "jobs.enqueue_many(jsonb)",
            "jobs.cancel(bigint,text)",
            "jobs.open_batch(text,jsonb,uuid)",
            "jobs.seal_batch(uuid)",
            "jobs.write_log(bigint,text,text)",
            "jobs.state(bigint)",
        ])];

    const ROUTES: &'static [Route<Self>] = &[
        Route::post("/v1/jobs", jobs::enqueue)
            .service("jobs")
            .body_bytes_max(4 << 20)
            .summary("Enqueue a job"),
        Route::post("/v1/jobs/batch", jobs::enqueue_many)
            .service("jobs")
            .body_bytes_max(32 << 20)
            .summary("Enqueue many jobs"),
        // A scope of its own: Hasura's key can make jobs of rows that changed, and nothing else.
        Route::post("/v1/jobs/hasura/{kind}", events::take)
            .service("jobs.hasura")
            .body_bytes_max(4 << 20)
            .rate_per_minute(60_000)
            .summary("Make a job of an event of Hasura, once for each event"),
        Route::get("/v1/jobs/{id}", jobs::show)
            .service("jobs")
            .summary("A job, wherever it is"),
        Route::post("/v1/jobs/{id}/cancel", jobs::cancel)
            .service("jobs")
            .summary("End a job: at once when it has not begun, else its worker is told"),
        Route::post("/v1/jobs/{id}/retry", jobs::retry)
            .service("jobs")
            .summary("Make a job available now that waits or was discarded"),
        Route::get("/v1/jobs/kinds", kinds::list)
            .operator()
            .summary("All kinds of jobs"),
        Route::get("/v1/jobs/kinds/{kind}", kinds::show)
            .operator()
            .summary("A kind of job"),
        Route::put("/v1/jobs/kinds/{kind}", kinds::put)
            .operator()
            .summary("Send the jobs of a kind to an endpoint; a new secret is shown once"),
        Route::delete("/v1/jobs/kinds/{kind}", kinds::remove)
            .operator()
            .summary("Forget a kind and its endpoint"),
        Route::post("/v1/jobs/queues/{name}/fetch", fetching::fetch)
            .service("jobs.work")
            .timeout(Duration::from_secs(75))
            .rate_per_minute(60_000)
            .summary("Fetch jobs, and wait for them"),
        Route::post("/v1/jobs/leases/batch", leases::batch)
            .service("jobs.work")
            .body_bytes_max(32 << 20)
            .rate_per_minute(60_000)
            .summary("Say of many fetched jobs how they go"),
        Route::post("/v1/jobs/leases/{lease}/heartbeat", leases::heartbeat)
            .service("jobs.work")
            .rate_per_minute(60_000)
            .summary("Go on with a fetched job, and learn whether it is still wanted"),
        Route::post("/v1/jobs/leases/{lease}/complete", leases::complete)
            .service("jobs.work")
            .rate_per_minute(60_000)
            .summary("End a fetched job that is done"),
        Route::post("/v1/jobs/leases/{lease}/fail", leases::fail)
            .service("jobs.work")
            .rate_per_minute(60_000)
            .summary("End an attempt that failed"),
        Route::post("/v1/jobs/leases/{lease}/snooze", leases::snooze)
            .service("jobs.work")
            .rate_per_minute(60_000)
            .summary("Give a fetched job back for a while"),
        Route::post("/v1/jobs/leases/{lease}/logs", leases::logs)
            .service("jobs.work")
            .rate_per_minute(60_000)
            .summary("Write lines into the log of a fetched job"),
        Route::get("/v1/jobs", jobs::list)
            .service("jobs")
            .summary("Jobs, the newest first"),
        Route::post("/v1/jobs/{id}/priority", jobs::reprioritise)
            .service("jobs")
            .summary("Give a job that has not begun another priority"),
        Route::post("/v1/jobs/batches", batches::open)
            .service("jobs")
            .summary("Make a batch, which jobs join by their option"),
        Route::get("/v1/jobs/batches", batches::list)
            .service("jobs")
            .summary("Batches, the newest first"),
        Route::get("/v1/jobs/batches/{id}", batches::show)
            .service("jobs")
            .summary("A batch, and how many of its jobs have not ended"),
        Route::post("/v1/jobs/batches/{id}/seal", batches::seal)
            .service("jobs")
            .summary("Let a batch take no more jobs, and end with its last one"),
        Route::post("/v1/jobs/batches/{id}/cancel", batches::cancel)
            .service("jobs")
            .timeout(Duration::from_secs(120))
            .summary("End all jobs of a batch"),
        Route::get("/v1/jobs/queues", queues::list)
            .service("jobs")
            .summary("Queues: what is in them, their limits, who paused them"),
        Route::get("/v1/jobs/queues/{name}", queues::show)
            .service("jobs")
            .summary("A queue"),
        Route::put("/v1/jobs/queues/{name}", queues::set)
            .operator()
            .summary("Set who works on a queue and its limits; it is made when it is not there"),
        Route::put("/v1/jobs/queues/{name}/limits", limits::set)
            .operator()
            .summary("Set the limits of a queue, all of them"),
        Route::delete("/v1/jobs/queues/{name}/limits", limits::remove)
            .operator()
            .summary("Take all limits from a queue"),
        Route::post("/v1/jobs/queues/{name}/pause", queues::pause)
            .operator()
            .summary("Let nothing of a queue begin; what runs goes on"),
        Route::post("/v1/jobs/queues/{name}/resume", queues::resume)
            .operator()
            .summary("Let the jobs of a queue begin again"),
        Route::post("/v1/jobs/queues/{name}/drain", queues::drain)
            .operator()
            .timeout(Duration::from_secs(90))
            .summary("Pause a queue and wait until nothing of it runs"),
        Route::get("/v1/jobs/dead", dead::list)
            .operator()
            .summary("Discarded jobs, the newest first"),
        Route::post("/v1/jobs/dead/retry", dead::retry)
            .operator()
            .timeout(Duration::from_secs(120))
            .summary("Make discarded jobs available again, of a kind, of a queue, or all"),
        Route::delete("/v1/jobs/dead/{id}", dead::remove)
            .operator()
            .summary("Remove a discarded job for good"),
        Route::get("/v1/jobs/stats", live::stats)
            .operator()
            .summary("All queues together, and this host"),
        Route::get("/v1/jobs/tail", live::tail)
            .operator()
            .summary("What the jobs of this host do, as it happens"),
    ];

    const JOBS: &'static [Job<Self>] = &[
        Job::new("jobs.base_backup", builtin::base_backup)
            .attempts_max(3)
            .timeout(Duration::from_secs(24 * 3_600)),
        Job::new("jobs.db_backup", builtin::db_backup)
            .attempts_max(3)
            .timeout(Duration::from_secs(3 * 3_600)),
        Job::new("jobs.http_request", builtin::http_request).timeout(Duration::from_secs(60)),
        Job::new("jobs.prune", builtin::prune).attempts_max(3),
        Job::new("jobs.send_email", builtin::send_email).timeout(Duration::from_secs(60)),
    ];

    const COMMANDS: &'static [Command] = commands::ALL;

    const HASURA: &'static [HasuraFragment] = &[hasura!("jobs.yaml")];

    const TASKS: &'static [Task<Self>] = &[
        Task::every(Duration::from_secs(5), "engine", sweep::engine),
        Task::every(Duration::from_secs(3_600), "prune", sweep::prune).singleton(),
        Task::every(Duration::from_secs(15), "metrics", observed::refresh),
    ];

    const SUBSCRIPTIONS: &'static [Subscription<Self>] = &[Subscription::new(
        "family_end",
        &["family.purged"],
        family_end::purged,
    )];

    const MIGRATIONS: &'static [Migration] = &[
        migration!("0001_queues"),
        migration!("0002_jobs"),
        migration!("0003_enqueue"),
        migration!("0004_claim"),
        migration!("0005_finish"),
        migration!("0006_hosts"),
        migration!("0007_pull"),
        migration!("0008_control"),
        migration!("0009_watch"),
        migration!("0010_steer"),
        migration!("0011_prune"),
        migration!("0012_events"),
        migration!("0013_families"),
        migration!("0014_ring"),
        migration!("0015_batches"),
    ];

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        let places = usize::try_from(config.jobs_at_once).unwrap_or(1);
        Ok(Self {
            config,
            engine: Engine::new(places),
            enqueuer: Enqueuer::default(),
            observed: Observed::new(&context)?,
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        store::control::make_partitions(&cx.db()).await?;
        engine::start(&cx)
    }

    async fn stop(cx: Cx<Self>, deadline: Duration) -> Result<()> {
        engine::stop(&cx, deadline).await
    }
}

export_plugin!(Jobs);
