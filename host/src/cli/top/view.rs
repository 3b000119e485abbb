//! What is shown of two looks: numbers that stand for a moment, and rates of what was counted between the two.

use serde::Serialize;

use super::{
    look::{Look, Plugin},
    samples::{Buckets, Samples},
};
use crate::plugin::registry::Connections;

/// Under what the host's own routes are counted, and requests that no route took.
const HOST: &str = "host";

/// Jobs by queue and state.
const DEPTH: &str = "nself_jobs_queue_depth";

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// The time that rates and quantiles are of, seconds.
    pub(super) over_s: f64,
    pub(super) host: Host,
    pub(super) database: Database,
    pub(super) requests: Requests,
    pub(super) sockets: Sockets,
    /// None while nothing counts jobs.
    pub(super) jobs: Option<Jobs>,
    pub(super) plugins: Vec<Row>,
}

/// The process.
#[derive(Debug, Serialize)]
pub(super) struct Host {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) uptime_s: u32,
    pub(super) environment: String,
    pub(super) gateway: Option<String>,
    /// Of one processor; four that are busy are 400.
    pub(super) cpu_percent: f64,
    pub(super) memory_bytes: f64,
    pub(super) threads: f64,
    pub(super) open_files: f64,
    pub(super) open_files_max: f64,
    /// HTTP connections.
    pub(super) connections: f64,
}

/// The database, and the host's own connections to it.
#[derive(Debug, Serialize)]
pub(super) struct Database {
    pub(super) source: String,
    pub(super) state: String,
    pub(super) connections: Connections,
}

/// Requests of a plugin, or of all.
#[derive(Debug, Default, Serialize)]
pub(super) struct Requests {
    pub(super) per_s: f64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    /// Requests, streams and sockets being served.
    pub(super) in_flight: f64,
    pub(super) client_errors_per_s: f64,
    pub(super) server_errors_per_s: f64,
    /// Refused because a plugin had as many as it may have at once; they count as errors of the server, too.
    pub(super) shed_per_s: f64,
}

/// WebSockets, and what they subscribe to.
#[derive(Debug, Serialize)]
pub(super) struct Sockets {
    pub(super) open: f64,
    pub(super) topics: f64,
    pub(super) frames: f64,
    /// Closed because they did not keep up.
    pub(super) slow_per_s: f64,
    /// Frames that were not sent to those.
    pub(super) dropped_per_s: f64,
}

/// Jobs that this host works, and the queues that all hosts share.
#[derive(Debug, Serialize)]
pub(super) struct Jobs {
    pub(super) completed_per_s: f64,
    pub(super) failed_per_s: f64,
    pub(super) retried_per_s: f64,
    pub(super) discarded_per_s: f64,
    pub(super) queues: Vec<Queue>,
}

/// Jobs of a queue by state, as the plugin has counted them last.
#[derive(Debug, Serialize)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) available: f64,
    pub(super) scheduled: f64,
    pub(super) running: f64,
    pub(super) retryable: f64,
    pub(super) discarded: f64,
    /// Age of the oldest available one.
    pub(super) oldest_s: f64,
    pub(super) is_paused: bool,
}

/// A plugin; or `host`, for the host's own routes and what no route took.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) isolation: Option<String>,
    /// Of its process, when it has one of its own.
    pub(super) restarts: f64,
    pub(super) panics: f64,
    pub(super) requests: Requests,
    pub(super) memory_bytes: Option<u64>,
    pub(super) connections: Option<Connections>,
}

/// What plugins are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Requests,
    Errors,
    Latency,
    InFlight,
    Name,
}

impl Sort {
    /// The one after it, round and round.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Requests => Self::Errors,
            Self::Errors => Self::Latency,
            Self::Latency => Self::InFlight,
            Self::InFlight => Self::Name,
            Self::Name => Self::Requests,
        }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Errors => "errors",
            Self::Latency => "p99",
            Self::InFlight => "in flight",
            Self::Name => "name",
        }
    }

    fn of(self, row: &Row) -> f64 {
        let requests = &row.requests;
        match self {
            Self::Requests => requests.per_s,
            // An error of ours weighs more than any number of theirs.
            Self::Errors => requests.server_errors_per_s * 1e6 + requests.client_errors_per_s,
            Self::Latency => requests.p99_ms.unwrap_or_default(),
            Self::InFlight => requests.in_flight,
            Self::Name => 0.0,
        }
    }
}

impl View {
    /// What has come between two looks; since the host's start when there is none before, or only one at another process.
    pub(super) fn between(before: Option<&Look>, now: &Look) -> Self {
        let before = before.filter(|before| now.goes_on_from(before));
        let over_s = match before {
            Some(before) => now.at.duration_since(before.at).as_secs_f64(),
            None => f64::from(now.status.uptime_s),
        };
        let nothing = Samples::default();
        let change = Change {
            before: before.map_or(&nothing, |before| &before.samples),
            now: &now.samples,
            // Never by nothing: two looks at once, a host that has just started.
            over_s: over_s.max(0.001),
        };
        let status = &now.status;
        Self {
            over_s,
            host: host(now, &change),
            database: Database {
                source: status.database.clone(),
                state: status.database_state.clone(),
                connections: now.connections,
            },
            requests: change.requests(&[]),
            sockets: change.sockets(),
            jobs: change.jobs(),
            plugins: rows(now, &change),
        }
    }

    /// Sorts the plugins: what matters most first, and by name where nothing tells them apart.
    pub(super) fn sort(&mut self, by: Sort) {
        self.plugins.sort_by(|one, other| {
            let order = f64::total_cmp(&by.of(other), &by.of(one));
            order.then_with(|| one.id.cmp(&other.id))
        });
    }
}

fn host(now: &Look, change: &Change<'_>) -> Host {
    let status = &now.status;
    let gauge = |name: &str| now.samples.sum(name, &[]);
    Host {
        version: status.version.clone(),
        pid: status.pid,
        uptime_s: status.uptime_s,
        environment: status.environment.clone(),
        gateway: status.gateway.clone(),
        cpu_percent: change.rate("process_cpu_seconds_total", &[]) * 100.0,
        memory_bytes: gauge("process_resident_memory_bytes"),
        threads: gauge("process_threads"),
        open_files: gauge("process_open_fds"),
        open_files_max: gauge("process_max_fds"),
        connections: gauge("nself_http_connections"),
    }
}

fn rows(now: &Look, change: &Change<'_>) -> Vec<Row> {
    let own = Row {
        id: HOST.to_owned(),
        state: "started".to_owned(),
        reason: None,
        isolation: None,
        restarts: 0.0,
        panics: 0.0,
        requests: change.requests(&[("plugin", HOST)]),
        memory_bytes: None,
        connections: None,
    };
    let plugins = now.status.plugins.iter();
    let plugins = plugins.map(|plugin| row(plugin, now, change));
    std::iter::once(own).chain(plugins).collect()
}

fn row(plugin: &Plugin, now: &Look, change: &Change<'_>) -> Row {
    let usage = now.usage.get(&plugin.id).cloned().unwrap_or_default();
    let labels = [("plugin", &*plugin.id)];
    let state = if plugin.degraded {
        "degraded"
    } else {
        &plugin.state
    };
    Row {
        id: plugin.id.clone(),
        state: state.to_owned(),
        reason: plugin.reason.clone(),
        isolation: plugin.isolation.clone(),
        restarts: now.samples.sum("nself_plugin_restarts_total", &labels),
        panics: now.samples.sum("nself_plugin_panics_total", &labels),
        requests: change.requests(&labels),
        memory_bytes: usage.memory_bytes,
        connections: usage.database,
    }
}

/// Two looks and the time between them.
struct Change<'a> {
    before: &'a Samples,
    now: &'a Samples,
    over_s: f64,
}

impl Change<'_> {
    /// How much a counter has risen each second.
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let risen = self.now.sum(name, labels) - self.before.sum(name, labels);
        // The counter of a plugin that was exchanged may have begun anew.
        risen.max(0.0) / self.over_s
    }

    fn requests(&self, labels: &[(&str, &str)]) -> Requests {
        let class = |class| {
            let labels: Vec<_> = labels.iter().copied().chain([("status", class)]).collect();
            self.rate("nself_http_requests_total", &labels)
        };
        let took = |samples: &Samples| -> Buckets {
            samples.buckets("nself_http_request_duration_seconds", labels)
        };
        let took = took(self.now).since(&took(self.before));
        let ms = |part| took.quantile(part).map(|seconds| seconds * 1e3);
        Requests {
            per_s: self.rate("nself_http_requests_total", labels),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            in_flight: self.now.sum("nself_http_in_flight", labels),
            client_errors_per_s: class("4xx"),
            server_errors_per_s: class("5xx"),
            shed_per_s: self.rate("nself_http_shed_total", labels),
        }
    }

    fn sockets(&self) -> Sockets {
        let gauge = |name: &str| self.now.sum(name, &[]);
        Sockets {
            open: gauge("nself_hub_connections"),
            topics: gauge("nself_hub_topics"),
            frames: gauge("nself_hub_frames"),
            slow_per_s: self.rate("nself_hub_slow_total", &[]),
            dropped_per_s: self.rate("nself_hub_dropped_total", &[]),
        }
    }

    fn jobs(&self) -> Option<Jobs> {
        let queues = self.now.values(DEPTH, "queue");
        if queues.is_empty() {
            return None;
        }
        let kinds = ["completed", "failed", "retried", "discarded"];
        let rates = kinds.map(|kind| self.rate(&format!("nself_jobs_{kind}_total"), &[]));
        let [
            completed_per_s,
            failed_per_s,
            retried_per_s,
            discarded_per_s,
        ] = rates;
        Some(Jobs {
            completed_per_s,
            failed_per_s,
            retried_per_s,
            discarded_per_s,
            queues: queues.into_iter().map(|name| self.queue(name)).collect(),
        })
    }

    fn queue(&self, name: &str) -> Queue {
        let labels = [("queue", name)];
        let depth = |state| self.now.sum(DEPTH, &[("queue", name), ("state", state)]);
        Queue {
            name: name.to_owned(),
            available: depth("available"),
            scheduled: depth("scheduled"),
            running: depth("running"),
            retryable: depth("retryable"),
            discarded: depth("discarded"),
            oldest_s: self.now.sum("nself_jobs_queue_oldest_seconds", &labels),
            is_paused: self.now.sum("nself_jobs_queue_paused", &labels) > 0.0,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
