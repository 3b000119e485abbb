//! Sizes of files and of memory, and how long it takes until something answers.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use nself::{
    loader::{self, Host, System, Trust},
    postgres::scratch::Scratch,
};
use nself_plugin_api::abi::{
    self,
    bytes::Str,
    entry::{HostProvider, RawHandle},
};

use crate::{
    Failure, Result,
    child::{Log, Served},
    cpu,
    project::{self, Project, beside_us},
    report::{Report, Spread, at_most, quantile},
};

/// Plugins that are loaded for one measurement.
const COPIES: usize = 20;

/// Starts that are timed.
const STARTS: usize = 10;

/// Files that are loaded for the time that it takes, and their size.
const LOADS: u32 = 60;
const LOAD_BYTES: usize = 1024 * 1024;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    files(report)?;
    loads(report).await?;
    copies(report).await?;
    let database = Scratch::shared().database().await;
    let url = database.url();
    // Nothing else happens on this thread meanwhile.
    starts(report, &url)
}

fn files(report: &mut Report) -> Result<()> {
    for (name, goal) in [
        ("nself", "<= 20 MB"),
        ("libnself_plugin_hello.so", "<= 350 KB"),
        ("libnself_plugin_bench.so", "<= 1.5 MB"),
    ] {
        let kb = fs::metadata(beside_us(name)?)?.len() / 1_000;
        report.text(&format!("size of {name}"), format!("{kb} KB"), goal);
    }
    Ok(())
}

/// A host that offers nothing: the plugin's creation asks for nothing.
struct Nothing;

impl HostProvider for Nothing {
    fn capability(&self, _: Str<'_>) -> RawHandle {
        RawHandle::default()
    }
}

/// Check, hash, compare with the copy that is kept, open, create: each time another file of 1 MiB, as at every start. The copy
/// itself is made once in a plugin's life and waits for the disk.
async fn loads(report: &mut Report) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let system = System::detect();
    let host = Host::this(&system, Trust::NONE);
    let store = directory.path().join("store");
    let path = directory.path().join("bench00.so");
    let (mut copies, mut checks, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for edition in 0..at_most(LOADS) {
        let mut bytes = project::library("bench00", edition)?;
        bytes.resize(bytes.len().max(LOAD_BYTES), edition.to_le_bytes()[0]);
        fs::write(&path, bytes)?;
        let started = Instant::now();
        loader::keep(&store, &loader::check(&path, &host)?)?;
        copies.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        let checked = loader::check(&path, &host)?;
        checks.push(started.elapsed().as_secs_f64() * 1e3);
        let kept = loader::keep(&store, &checked)?;
        let loaded = loader::open(&kept)?;
        let abi = &checked.manifest.abi;
        let entry = loader::entry(&loaded, abi.major, abi.needs)?;
        let instance = entry
            .create(abi::entry::Host::new(Arc::new(Nothing)), "{}")
            .await
            .map_err(|failure| Failure::from(failure.message.to_text()))?;
        all.push(started.elapsed().as_secs_f64() * 1e3);
        drop(instance);
    }
    report.spread(
        "check and hash a plugin of 1 MiB",
        Spread::of(checks),
        "ms",
        "",
    );
    report.spread(
        "check, hash, and copy to the disk: once in a plugin's life",
        Spread::of(copies),
        "ms",
        "",
    );
    all.sort_by(f64::total_cmp);
    let p95 = format!("{:.2} ms", quantile(&all, 95));
    report.spread(
        "check, hash, find the copy, open, create",
        Spread::of(all),
        "ms",
        "",
    );
    report.text("the same: p95", p95, "< 5 ms");
    Ok(())
}

/// Memory of idle plugins, and of versions that were replaced.
async fn copies(report: &mut Report) -> Result<()> {
    let database = Scratch::shared().database().await;
    let project = Project::new()?;
    for number in 0..=COPIES {
        project.put(number, 0)?;
    }
    let mut served = Served::start(project.path(), &database.url(), Log::Off, &[]).await?;
    let bare = served.resident_kib()?;
    report.text("memory of the host without plugins", mib(bare), "");
    served.change("enable", "bench00").await?;
    let first = served.resident_kib()?;
    report.text("memory with the first plugin", mib(first), "");
    for number in 1..=COPIES {
        served
            .change("enable", &format!("bench{number:02}"))
            .await?;
    }
    let idle = served.resident_kib()?;
    report.text("memory of one idle plugin more", each(first, idle), "");
    // One replacement first: what it needs besides the version is needed once.
    for edition in 1..=COPIES {
        project.put(0, u32::try_from(edition)?)?;
        served.change("upgrade", "bench00").await?;
    }
    let retired = served.resident_kib()?;
    report.text(
        "memory of a replaced version",
        each(idle, retired),
        "<= 0.6 MiB",
    );
    Ok(())
}

fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

fn each(before: u64, after: u64) -> String {
    let kib = after.saturating_sub(before) / u64::try_from(COPIES).unwrap_or(1);
    format!("{kib} KiB")
}

/// From `exec` to the line that says that it answers, with a Postgres that runs and a schema that is there.
fn starts(report: &mut Report, url: &str) -> Result<()> {
    let project = Project::new()?;
    let plugin = project.path().join("plugins.d/hello.so");
    fs::copy(beside_us("libnself_plugin_hello.so")?, plugin)?;
    // The first start migrates and accepts the plugin.
    drop(Started::new(project.path(), url)?);
    let enabled = nself(project.path(), url)?
        .args(["plugin", "enable", "hello"])
        .stdout(Stdio::null())
        .status()?;
    if !enabled.success() {
        return Err(Failure::from("hello could not be enabled"));
    }
    let (mut times, mut memory) = (Vec::new(), 0);
    for _ in 0..=at_most(STARTS) {
        let begun = Instant::now();
        let started = Started::new(project.path(), url)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        memory = cpu::resident_kib(started.0.id())?;
    }
    report.spread(
        "start to ready with hello, Postgres runs",
        Spread::of(times.split_off(1)),
        "ms",
        "< 150 ms",
    );
    report.text(
        "memory of `nself serve` with hello, after the start",
        mib(memory),
        "",
    );
    Ok(())
}

fn nself(directory: &Path, url: &str) -> Result<Command> {
    let mut command = Command::new(beside_us("nself")?);
    command.current_dir(directory).env("DATABASE_URL", url);
    Ok(command)
}

/// A running `nself serve`, stopped when dropped.
struct Started(Child);

impl Started {
    fn new(directory: &Path, url: &str) -> Result<Self> {
        let mut child = nself(directory, url)?
            .args(["serve", "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let started = Self(child);
        if read? == 0 {
            return Err(Failure::from("nself serve did not become ready"));
        }
        Ok(started)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}
