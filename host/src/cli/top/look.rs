//! One look at a host: what it answers, and when.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::samples::Samples;
use crate::{
    cli::{CliError, Exit, client},
    plugin::registry::{Connections, Usage},
};

/// A host that takes longer to answer does not.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// The families of metrics that are read; the host sends no others.
const FAMILIES: [&str; 24] = [
    "nself_http_connections",
    "nself_http_in_flight",
    "nself_http_request_duration_seconds",
    "nself_http_requests_total",
    "nself_http_shed_total",
    "nself_hub_connections",
    "nself_hub_dropped_total",
    "nself_hub_frames",
    "nself_hub_slow_total",
    "nself_hub_topics",
    "nself_jobs_completed_total",
    "nself_jobs_discarded_total",
    "nself_jobs_failed_total",
    "nself_jobs_queue_depth",
    "nself_jobs_queue_oldest_seconds",
    "nself_jobs_queue_paused",
    "nself_jobs_retried_total",
    "nself_plugin_panics_total",
    "nself_plugin_restarts_total",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_threads",
];

/// What was seen.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) usage: BTreeMap<String, Usage>,
    pub(super) connections: Connections,
    pub(super) samples: Samples,
}

/// As the host says it.
#[derive(Debug, Deserialize)]
struct Answer {
    status: Status,
    usage: BTreeMap<String, Usage>,
    connections: Connections,
    metrics: String,
}

/// What `nself status` knows.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) uptime_s: u32,
    pub(super) environment: String,
    pub(super) gateway: Option<String>,
    pub(super) database: String,
    pub(super) database_state: String,
    pub(super) plugins: Vec<Plugin>,
}

/// A plugin, as lists have it.
#[derive(Debug, Deserialize)]
pub(super) struct Plugin {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) degraded: bool,
    pub(super) isolation: Option<String>,
}

impl Look {
    /// Asks the host whose state is in that directory.
    ///
    /// # Errors
    ///
    /// As [`client::call`], and `HOST_LOST` when it takes too long.
    pub(super) async fn take(state_directory: &Path) -> Result<Self, CliError> {
        let asked = client::call(
            state_directory,
            "top",
            json!({"families": FAMILIES}),
            |_| (),
        );
        let answer = timeout(ANSWER_LIMIT, asked).await.map_err(|_| silent())??;
        Self::read(answer, Instant::now())
    }

    /// Reads an answer.
    pub(super) fn read(answer: Value, at: Instant) -> Result<Self, CliError> {
        let answer: Answer = serde_json::from_value(answer).map_err(|error| {
            let error = CliError::of("HOST_LOST", Exit::Unavailable, &error);
            error.with_help(
                "the host and the command line are of different versions: restart the host",
            )
        })?;
        Ok(Self {
            at,
            status: answer.status,
            usage: answer.usage,
            connections: answer.connections,
            samples: Samples::read(&answer.metrics),
        })
    }

    /// Whether `before` was a look at the same process, so that counters have gone on.
    pub(super) fn goes_on_from(&self, before: &Self) -> bool {
        self.status.pid == before.status.pid && self.status.uptime_s >= before.status.uptime_s
    }
}

fn silent() -> CliError {
    let seconds = ANSWER_LIMIT.as_secs();
    CliError::new(
        "HOST_LOST",
        Exit::Unavailable,
        format!("the host has not answered for {seconds} s"),
    )
    .with_help("its log says what it does: `nself logs`")
}
