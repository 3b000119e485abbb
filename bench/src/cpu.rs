//! What a thread or process has used.

use std::{fs, time::Duration};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

use crate::{Failure, Result};

/// CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// CPU time of all threads of a process that live now. The kernel books a thread's time when it stops running.
pub(crate) fn process_time(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end in between.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let used = text.split(' ').next().unwrap_or_default();
        nanos += used.parse::<u64>().unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanos))
}

/// Kernel ticks in a second, in which it tells the time of threads and processes that have ended.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads of a process, those that have ended among them.
pub(crate) fn spent(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    Ok(TICK * ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum())
}

/// A process and those that it has started, whichever of its threads has.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads.into_iter().flatten().flatten().filter_map(|task| {
        let children = fs::read_to_string(task.path().join("children"));
        children.ok()
    });
    let children: String = lists.collect();
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// A number that the kernel tells of a process.
pub(crate) fn status(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Failure::from(format!("the process has no {name}")))
}

/// Keeps a process (`None`: this thread) on one core, if the machine has it.
pub(crate) fn pin(pid: Option<u32>, core: usize) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let mut set = CpuSet::new();
    set.set(core % cores.max(1));
    let pid = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    Ok(sched_setaffinity(pid, &set)?)
}
