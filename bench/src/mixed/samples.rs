//! What the host, the cluster and the load look like from one moment to the next.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use super::load::Load;
use crate::{
    Result, cpu,
    jobs::usage::{family_time, postmaster},
    report::quantile,
};

/// Sizes of the database, of the tables through which work passes, and of the history that is kept by design; and connections.
/// The history of jobs is in partitions, and that of the audit log.
const SIZES: &str = "
    with sizes as (
        select pg_total_relation_size(t.oid)::float8 as bytes,
            s.nspname::text || '.' || t.relname::text = any ($1) as is_passed
        from pg_class t join pg_namespace s on s.oid = t.relnamespace
        where t.relkind = 'r' and s.nspname = any ($2)
    )
    select pg_database_size(current_database())::float8,
        coalesce(sum(bytes) filter (where is_passed), 0),
        coalesce(sum(bytes) filter (where not is_passed), 0),
        (select count(*) from pg_stat_activity where datname = current_database())::float8
    from sizes";

/// Tables whose rows go when the work is done, or are changed in place.
const PASSED: [&str; 38] = [
    "auth.failed_proofs",
    "jobs.batch_jobs",
    "jobs.cancels",
    "jobs.freed",
    "jobs.hosts",
    "jobs.kinds",
    "jobs.later",
    "jobs.leases",
    "jobs.payloads",
    "jobs.progress",
    "jobs.queues",
    "jobs.rates",
    "jobs.ready",
    "jobs.sleepers",
    "jobs.suspects",
    "jobs.uniques",
    "jobs.untold",
    "jobs.waiting",
    "mail.caught",
    "nself.event_cursors",
    "nself.event_failures",
    "nself.event_waiters",
    "nself.kv",
    "nself.plugins",
    "orchestrator.deliveries",
    "orchestrator.gatherings",
    "orchestrator.needs",
    "orchestrator.outcomes",
    "orchestrator.registrations",
    "orchestrator.watchers",
    "scheduler.schedules",
    "stream.channels",
    "stream.nodes",
    "stream.pollers",
    "stream.presence",
    "stream.publications",
    "stream.staged",
    "stream.told",
];

/// Whose tables those are.
const SCHEMAS: [&str; 9] = [
    "auth",
    "hello",
    "jobs",
    "mail",
    "nself",
    "orchestrator",
    "public",
    "scheduler",
    "stream",
];

/// Bytes of a mebibyte, and kibibytes.
const MIB: f64 = 1024.0 * 1024.0;
const KIB_OF_MIB: f64 = 1024.0;

/// A moment, and what was done since the one before.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Seconds since the beginning.
    pub(super) at: f64,
    /// Of the host, MiB.
    pub(super) resident: f64,
    pub(super) anonymous: f64,
    pub(super) descriptors: f64,
    pub(super) threads: f64,
    /// Files of plugins that are mapped.
    pub(super) libraries: f64,
    /// Percent of one core.
    pub(super) host_cpu: f64,
    pub(super) cluster_cpu: f64,
    /// MiB.
    pub(super) database: f64,
    pub(super) passed: f64,
    pub(super) kept: f64,
    pub(super) connections: f64,
    /// Requests that were answered as they should be, those of a second, and milliseconds.
    pub(super) done: u32,
    pub(super) failed: u32,
    pub(super) rate: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Who looks.
pub(super) struct Sampler<'a> {
    pub(super) sql: &'a Client,
    pub(super) pid: u32,
    pub(super) load: &'a Load,
    pub(super) begun: Instant,
    last: (Instant, Duration, Duration),
}

impl<'a> Sampler<'a> {
    pub(super) fn new(sql: &'a Client, pid: u32, load: &'a Load) -> Result<Self> {
        let begun = Instant::now();
        Ok(Self {
            sql,
            pid,
            load,
            begun,
            last: (begun, cpu::spent(pid)?, family_time(postmaster())?),
        })
    }

    pub(super) async fn look(&mut self) -> Result<Sample> {
        let (passed, schemas) = (PASSED.as_slice(), SCHEMAS.as_slice());
        let row = self.sql.query_one(SIZES, &[&passed, &schemas]).await?;
        let size = |column| row.get::<_, f64>(column) / MIB;
        let now = (
            Instant::now(),
            cpu::spent(self.pid)?,
            family_time(postmaster())?,
        );
        let before = std::mem::replace(&mut self.last, now);
        let seconds = (now.0 - before.0).as_secs_f64();
        let percent =
            |now: Duration, before| now.saturating_sub(before).as_secs_f64() / seconds * 1e2;
        let mut tally = self.load.take_tally();
        tally.millis.sort_by(f64::total_cmp);
        let at = |percent| match tally.millis.as_slice() {
            [] => 0.0,
            millis => quantile(millis, percent),
        };
        Ok(Sample {
            at: (now.0 - self.begun).as_secs_f64(),
            resident: memory(self.pid, "VmRSS:")?,
            anonymous: memory(self.pid, "RssAnon:")?,
            descriptors: amount(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count()),
            threads: amount(usize::try_from(cpu::status(self.pid, "Threads:")?)?),
            libraries: amount(libraries(self.pid)?),
            host_cpu: percent(now.1, before.1),
            cluster_cpu: percent(now.2, before.2),
            database: size(0),
            passed: size(1),
            kept: size(2),
            connections: row.get(3),
            done: u32::try_from(tally.millis.len())?,
            failed: tally.failed,
            rate: amount(tally.millis.len()) / seconds,
            p50: at(50),
            p99: at(99),
        })
    }
}

/// MiB of what the kernel tells in KiB.
pub(super) fn memory(pid: u32, name: &str) -> Result<f64> {
    Ok(amount(usize::try_from(cpu::status(pid, name)?)?) / KIB_OF_MIB)
}

fn libraries(pid: u32) -> Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let files = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let plugins = files.filter(|file| file.contains("/.nself/"));
    Ok(plugins.collect::<BTreeSet<_>>().len())
}

fn amount(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
