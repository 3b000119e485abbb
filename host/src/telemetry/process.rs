//! What the process uses, from `/proc`. Where there is none the gauges say 0.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Metrics;

/// Adds the gauges, under the names that Prometheus clients use.
pub(super) fn register(metrics: &Metrics) {
    let add = |name: &str, help: &str, read: fn() -> f64| {
        let added = metrics.pulled(name, help, read);
        added.expect("the names are valid and a fresh registry has none of them");
    };
    let resident = || status("VmRSS:") * 1024.0;
    add(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        resident,
    );
    add("process_threads", "Number of threads.", || {
        status("Threads:")
    });
    add(
        "process_open_fds",
        "Number of open file descriptors.",
        open_files,
    );
    add(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        most_files,
    );
}

/// The number after `name` in `/proc/self/status`; sizes are in KiB.
fn status(name: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

fn open_files() -> f64 {
    let entries = fs::read_dir("/proc/self/fd")
        .map(Iterator::count)
        .unwrap_or_default();
    u32::try_from(entries).map_or(f64::MAX, f64::from)
}

fn most_files() -> f64 {
    let limit = getrlimit(Resource::Nofile).current;
    // Without a limit it is more than there can be.
    let limit = limit.and_then(|limit| u32::try_from(limit).ok());
    f64::from(limit.unwrap_or(u32::MAX))
}
