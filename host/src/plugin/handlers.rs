//! What running plugins declare to be called for: kinds of jobs, and schedules. Plugins that keep queues and watch the
//! clock find and call them here, through `nself.handlers/1`; which plugins those are the host does not know.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use nself_plugin_api::abi::{bytes::Bytes, error::Error};
use serde::Serialize;
use tokio::sync::watch;

use super::{
    instance::Running,
    manifest::{Job, Schedule},
};
use crate::capability::error::{error, unavailable};

/// All handlers of the plugins that run now.
pub struct Handlers {
    /// Swapped whole, so that a call sees one state.
    table: ArcSwap<Table>,
    /// Grows with each change, from 1.
    generation: watch::Sender<u64>,
}

#[derive(Default)]
struct Table {
    plugins: Vec<Weak<Running>>,
    /// By kind. No two plugins have one: it begins with the plugin's id and a dot, and an id has none.
    jobs: HashMap<String, Handler>,
    /// By plugin and name.
    schedules: HashMap<String, HashMap<String, Handler>>,
}

/// One handler of one plugin. Weak, so that a plugin that has ended is let go.
struct Handler {
    running: Weak<Running>,
    number: u32,
}

/// An attempt at a job, as it crosses.
pub struct Attempt {
    /// The job.
    pub id: i64,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Attempts before it is given up.
    pub attempts_max: u32,
    /// JSON about the job.
    pub context: Bytes,
    /// Its input.
    pub payload: Bytes,
}

/// What a plugin declares, as it is listed.
#[derive(Serialize)]
struct Declared<'a> {
    plugin: &'a str,
    version: &'a semver::Version,
    jobs: &'a [Job],
    schedules: &'a [Schedule],
}

impl Default for Handlers {
    fn default() -> Self {
        Self {
            table: ArcSwap::default(),
            generation: watch::Sender::new(1),
        }
    }
}

impl Handlers {
    /// Replaces the table.
    pub fn replace(&self, running: &[Arc<Running>]) {
        self.table.store(Arc::new(Table::new(running)));
        self.touch();
    }

    /// Tells those who follow the list that it reads otherwise: a plugin began to drain.
    pub fn touch(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Resolves with the generation when it is not `seen`.
    pub fn changed(&self, seen: u64) -> impl Future<Output = u64> + Send + 'static + use<> {
        let mut generations = self.generation.subscribe();
        async move {
            let changed = generations.wait_for(|now| *now != seen).await;
            match changed.map(|now| *now) {
                Ok(now) => now,
                // The host is gone, and with it whoever could be told.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// What the plugins declare that are not about to end, as JSON.
    pub fn list(&self) -> Vec<u8> {
        let table = self.table.load();
        let running: Vec<Arc<Running>> = table.plugins.iter().filter_map(Weak::upgrade).collect();
        let staying = running
            .iter()
            .filter(|running| !running.generation().is_draining());
        let declared: Vec<Declared<'_>> = staying
            .map(|running| running.manifest())
            .map(|manifest| Declared {
                plugin: &manifest.id,
                version: &manifest.version,
                jobs: &manifest.jobs,
                schedules: &manifest.schedules,
            })
            .collect();
        serde_json::to_vec(&declared).expect("names and numbers are JSON")
    }

    /// Works a job where its kind is declared. Dropped, the work is cancelled.
    ///
    /// # Errors
    ///
    /// When nobody works the kind now; the handler's own errors come later.
    pub fn run_job(
        &self,
        kind: &str,
        attempt: Attempt,
    ) -> Result<impl Future<Output = Result<Bytes, Error>> + Send + 'static + use<>, Error> {
        let table = self.table.load();
        let handler = table.jobs.get(kind).ok_or_else(|| {
            let message = format!("no running plugin works jobs of the kind {kind}");
            error(404, "JOB_KIND_UNKNOWN", message, "no plugin declares it")
        })?;
        let running = handler.running.upgrade().ok_or_else(stopping)?;
        running
            .run_job(handler.number, attempt)
            .ok_or_else(stopping)
    }

    /// Runs a plugin's schedule for the time at which it was due. Dropped, the work is cancelled.
    ///
    /// # Errors
    ///
    /// When there is no such schedule now; the plugin's own errors come later.
    pub fn run_schedule(
        &self,
        plugin: &str,
        name: &str,
        scheduled_at: &str,
    ) -> Result<impl Future<Output = Result<(), Error>> + Send + 'static + use<>, Error> {
        let table = self.table.load();
        let schedules = table.schedules.get(plugin);
        let handler = schedules.and_then(|names| names.get(name)).ok_or_else(|| {
            let message = format!("no running plugin {plugin} has a schedule {name}");
            error(404, "SCHEDULE_UNKNOWN", message, "no plugin declares it")
        })?;
        let running = handler.running.upgrade().ok_or_else(stopping)?;
        running
            .run_schedule(handler.number, scheduled_at)
            .ok_or_else(stopping)
    }
}

/// Nothing has run: the plugin takes no more calls.
fn stopping() -> Error {
    unavailable(
        "HANDLER_UNAVAILABLE",
        "the plugin that works this is stopping or being exchanged: try again",
        1_000,
        "it takes no more calls",
    )
}

impl Table {
    fn new(running: &[Arc<Running>]) -> Self {
        let mut table = Self::default();
        for one in running {
            let manifest = one.manifest();
            let handler = |number| Handler {
                running: Arc::downgrade(one),
                number,
            };
            table.plugins.push(Arc::downgrade(one));
            let jobs = (0..).zip(&manifest.jobs);
            table
                .jobs
                .extend(jobs.map(|(number, job)| (job.kind.clone(), handler(number))));
            let schedules = (0..).zip(&manifest.schedules);
            let schedules = schedules.map(|(number, one)| (one.name.clone(), handler(number)));
            table
                .schedules
                .insert(manifest.id.clone(), schedules.collect());
        }
        table
    }
}
