//! What the process uses, from `/proc`. Where there is none the gauges say 0.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use prometheus::{
    Counter,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use rustix::{
    io::Errno,
    time::{ClockId, clock_gettime},
};

use super::Metrics;
use crate::exhaustion::files_max;

/// Adds the gauges, under the names that Prometheus clients use.
pub(super) fn register(metrics: &Metrics) {
    let status = Arc::new(Status::open());
    let add = |name: &str, help: &str, read: Box<dyn Fn() -> f64 + Send + Sync>| {
        let added = metrics.pulled(name, help, read);
        added.expect("the names are valid and a fresh registry has none of them");
    };
    let memory = Arc::clone(&status);
    add(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        Box::new(move || memory.number("VmRSS:") * 1024.0),
    );
    add(
        "process_threads",
        "Number of threads.",
        Box::new(move || status.number("Threads:")),
    );
    let added = metrics.register(Box::new(CpuTime(cpu_time())));
    added.expect("the name is valid and a fresh registry does not have it");
    add(
        "process_open_fds",
        "Number of open file descriptors.",
        Box::new(open_files),
    );
    add(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        Box::new(most_files),
    );
}

/// Memory of another process that is in RAM; none when it has ended, and where there is no `/proc`.
pub(crate) fn resident_bytes(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib: u64 = number(&text, "VmRSS:");
    (kib > 0).then_some(kib * 1024)
}

/// What the system says of this process. The file stays open: where no more can be opened, somebody wants to know just that.
struct Status(Option<File>);

impl Status {
    fn open() -> Self {
        Self(File::open("/proc/self/status").ok())
    }

    fn number(&self, name: &str) -> f64 {
        let mut text = [0; 4096];
        let read = self.0.as_ref().map(|file| file.read_at(&mut text, 0));
        let Some(Ok(len)) = read else {
            return 0.0;
        };
        number(&String::from_utf8_lossy(&text[..len]), name)
    }
}

/// Time that the process has had on processors. A counter, as rates of it are what is looked at, that is made when it is.
struct CpuTime(Counter);

impl Collector for CpuTime {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime));
        let counter = cpu_time();
        counter.inc_by(used.unwrap_or_default().as_secs_f64());
        counter.collect()
    }
}

fn cpu_time() -> Counter {
    let counter = Counter::new(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
    );
    counter.expect("the name is valid")
}

/// The number after `name` in `/proc/PROCESS/status`; sizes are in KiB.
fn number<T: FromStr + Default>(text: &str, name: &str) -> T {
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
    match fs::read_dir("/proc/self/fd") {
        Ok(entries) => u32::try_from(entries.count()).map_or(f64::MAX, f64::from),
        // To look takes a file: where none can be opened, all of them are.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => most_files(),
        Err(_) => 0.0,
    }
}

fn most_files() -> f64 {
    let limit = files_max();
    // Without a limit it is more than there can be.
    let limit = limit.and_then(|limit| u32::try_from(limit).ok());
    f64::from(limit.unwrap_or(u32::MAX))
}
