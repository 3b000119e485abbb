//! What a while has cost: CPU of the Postgres cluster and of the worker, WAL, commits.

use std::{
    fs,
    time::{Duration, Instant},
};

use nself::postgres::scratch::Scratch;
use tokio_postgres::Client;

use crate::{
    Result,
    cpu::{self, TICK},
};

/// Counters at a moment.
pub(crate) struct Mark {
    at: Instant,
    server: Duration,
    worker: Duration,
    wal_bytes: f64,
}

/// What so many jobs took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub jobs: f64,
    pub seconds: f64,
    /// CPU seconds of the store, and of the process that works or enqueues.
    pub server: f64,
    pub worker: f64,
    pub wal_bytes: f64,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.jobs / self.seconds
    }

    pub(crate) fn server_micros(&self) -> f64 {
        self.server * 1e6 / self.jobs
    }

    pub(crate) fn worker_micros(&self) -> f64 {
        self.worker * 1e6 / self.jobs
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.server_micros() + self.worker_micros()
    }

    pub(crate) fn wal(&self) -> f64 {
        self.wal_bytes / self.jobs
    }
}

/// The processes that are watched.
pub(crate) struct Watch<'a> {
    /// The process whose children the store's processes are, or the store's only one.
    pub store: u32,
    pub worker: Option<u32>,
    /// Asks for the WAL's end; without it there is none.
    pub sql: Option<&'a Client>,
}

impl Watch<'_> {
    pub(crate) async fn mark(&self) -> Result<Mark> {
        let wal_bytes = match self.sql {
            Some(sql) => {
                let query = "select (pg_current_wal_insert_lsn() - '0/0')::float8";
                sql.query_one(query, &[]).await?.get(0)
            }
            None => 0.0,
        };
        Ok(Mark {
            server: family_time(self.store)?,
            worker: match self.worker {
                Some(pid) => cpu::process_time(pid)?,
                None => Duration::ZERO,
            },
            wal_bytes,
            at: Instant::now(),
        })
    }

    /// What happened since the mark; `seconds` when the worker knows better how long it took.
    pub(crate) async fn since(
        &self,
        mark: &Mark,
        jobs: u32,
        seconds: Option<f64>,
    ) -> Result<Sample> {
        let seconds = seconds.unwrap_or_else(|| mark.at.elapsed().as_secs_f64());
        let now = self.mark().await?;
        Ok(Sample {
            jobs: f64::from(jobs),
            seconds,
            server: now.server.saturating_sub(mark.server).as_secs_f64(),
            worker: now.worker.saturating_sub(mark.worker).as_secs_f64(),
            wal_bytes: now.wal_bytes - mark.wal_bytes,
        })
    }
}

/// The process of the cluster that all others come from.
pub(crate) fn postmaster() -> u32 {
    Scratch::durable().postmaster_pid()
}

/// CPU time of a process and its children, those that have ended included.
pub(crate) fn family_time(parent: u32) -> Result<Duration> {
    let mut total = cpu::process_time(parent)?;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ends while it is looked at is found among those that have ended next time.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = fields(&stat);
        if pid == parent {
            let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
            total += TICK * (ticks(13).unwrap_or_default() + ticks(14).unwrap_or_default());
        } else if fields.get(1).and_then(|field| field.parse().ok()) == Some(parent) {
            total += cpu::process_time(pid).unwrap_or_default();
        }
    }
    Ok(total)
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold blanks: state, parent and so on.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')')
        .map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect())
}
