//! The peers as sides of the comparison.

use nself::postgres::scratch::{Scratch, TestDatabase};
use serde_json::json;
use tokio_postgres::Client;

use super::{
    callers,
    peer::{Peer, Redis},
    usage::{Sample, Watch, postmaster},
};
use crate::{Result, peers};

pub(super) const ADD_JOB: &str = "select id from graphile_worker.add_job('nothing', $1::json)";

const ADD_JOBS: &str = "select count(*) from graphile_worker.add_jobs(array(\
     select row('nothing', json_build_object('n', g), null, null, null, null, null, null)::graphile_worker.job_spec \
     from generate_series(1, 1000) g))";

/// All of them.
pub(super) struct Peers {
    pub graphile: Graphile,
    pub boss: Boss,
    pub bull: Bull,
}

/// graphile-worker: enqueued by its SQL function.
pub(super) struct Graphile {
    pub database: TestDatabase,
    pub sql: Client,
    pub peer: Peer,
}

/// pg-boss: enqueued by its own calls.
pub(super) struct Boss {
    pub sql: Client,
    pub peer: Peer,
    _database: TestDatabase,
}

/// `BullMQ` on Redis.
pub(super) struct Bull {
    pub redis: Redis,
    pub peer: Peer,
}

impl Peers {
    pub(super) async fn start() -> Result<Self> {
        let directory = peers::installed("queues").await?;
        let (first, second) = (
            Scratch::durable().database().await,
            Scratch::durable().database().await,
        );
        let redis = Redis::start().await?;
        let on = |database: &TestDatabase| database.url();
        let port = redis.port.to_string();
        Ok(Self {
            graphile: Graphile {
                peer: Peer::start(
                    &directory,
                    "graphile-worker.mjs",
                    ("DATABASE_URL", &on(&first)),
                )
                .await?,
                sql: first.client().await,
                database: first,
            },
            boss: Boss {
                peer: Peer::start(&directory, "pg-boss.mjs", ("DATABASE_URL", &on(&second)))
                    .await?,
                sql: second.client().await,
                _database: second,
            },
            bull: Bull {
                peer: Peer::start(&directory, "bullmq.mjs", ("REDIS_PORT", &port)).await?,
                redis,
            },
        })
    }
}

impl Graphile {
    pub(super) async fn enqueue(&self, callers: u32, each: u32) -> Result<Sample> {
        callers::enqueue(&self.database, ADD_JOB, callers, each).await
    }

    pub(super) async fn fill(&self, jobs: u32) -> Result<Sample> {
        let statement = self.sql.prepare(ADD_JOBS).await?;
        let watch = Watch {
            store: postmaster(),
            worker: None,
            sql: Some(&self.sql),
        };
        let mark = watch.mark().await?;
        for _ in 0..jobs / 1_000 {
            self.sql.query_one(&statement, &[]).await?;
        }
        watch.since(&mark, jobs, None).await
    }

    /// Drains all that waits: `jobs`.
    pub(super) async fn drain(&mut self, jobs: u32) -> Result<Sample> {
        let watch = Watch {
            store: postmaster(),
            worker: Some(self.peer.pid()?),
            sql: Some(&self.sql),
        };
        let (mark, seconds) = self.peer.drain(jobs, &watch).await?;
        watch.since(&mark, jobs, Some(seconds)).await
    }
}

/// What the two have in common that enqueue by themselves: how a command is timed.
async fn timed(
    peer: &mut Peer,
    store: u32,
    sql: Option<&Client>,
    command: &str,
    what: serde_json::Value,
    jobs: u32,
) -> Result<Sample> {
    let watch = Watch {
        store,
        worker: Some(peer.pid()?),
        sql,
    };
    let mark = watch.mark().await?;
    let seconds = peer.time(command, what).await?;
    watch.since(&mark, jobs, Some(seconds)).await
}

impl Boss {
    pub(super) async fn enqueue(&mut self, callers: u32, jobs: u32) -> Result<Sample> {
        let what = json!({"callers": callers, "jobs": jobs});
        timed(
            &mut self.peer,
            postmaster(),
            Some(&self.sql),
            "enqueue",
            what,
            jobs,
        )
        .await
    }

    pub(super) async fn fill(&mut self, jobs: u32) -> Result<Sample> {
        let what = json!({"batches": jobs / 1_000, "size": 1_000});
        timed(
            &mut self.peer,
            postmaster(),
            Some(&self.sql),
            "batches",
            what,
            jobs,
        )
        .await
    }

    pub(super) async fn drain(&mut self, jobs: u32) -> Result<Sample> {
        let watch = Watch {
            store: postmaster(),
            worker: Some(self.peer.pid()?),
            sql: Some(&self.sql),
        };
        let (mark, seconds) = self.peer.drain(jobs, &watch).await?;
        watch.since(&mark, jobs, Some(seconds)).await
    }
}

impl Bull {
    pub(super) async fn enqueue(&mut self, callers: u32, jobs: u32) -> Result<Sample> {
        let what = json!({"callers": callers, "jobs": jobs});
        timed(
            &mut self.peer,
            self.redis.pid()?,
            None,
            "enqueue",
            what,
            jobs,
        )
        .await
    }

    pub(super) async fn fill(&mut self, jobs: u32) -> Result<Sample> {
        let what = json!({"batches": jobs / 1_000, "size": 1_000});
        timed(
            &mut self.peer,
            self.redis.pid()?,
            None,
            "batches",
            what,
            jobs,
        )
        .await
    }

    pub(super) async fn drain(&mut self, jobs: u32) -> Result<Sample> {
        let watch = Watch {
            store: self.redis.pid()?,
            worker: Some(self.peer.pid()?),
            sql: None,
        };
        let (mark, seconds) = self.peer.drain(jobs, &watch).await?;
        watch.since(&mark, jobs, Some(seconds)).await
    }
}
