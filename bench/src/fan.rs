//! One message to a thousand sockets: the host's hub beside npm's ws, and beside a server that does nothing but write. CPU is the
//! server's, on the first core; the clients have the other one.

mod audience;
mod bare;

use std::{net::SocketAddr, path::Path, process::Stdio};

use nself::postgres::scratch::{Scratch, TestDatabase};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use self::audience::Audience;
pub(crate) use self::bare::{BARE, serve as serve_bare};
use crate::{
    Failure, Result,
    child::{Log, Served},
    cpu,
    project::Project,
    report::{Pairs, Report, at_most},
};

/// Everybody who is connected.
const SUBSCRIBERS: usize = 1_000;
/// Bytes of a message.
const MESSAGE_BYTES: usize = 128;
const ROUNDS: usize = 15;
/// Messages that are on their way at a time, how often in a round, and what is expected beside the bare server and beside ws.
const WINDOWS: [(usize, usize, [&str; 2]); 2] = [
    (1, 100, [">= 0.85x", ">= 2x"]),
    (64, 20, [">= 0.60x", ">= 25x"]),
];

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    cpu::pin(None, 1)?;
    let mut ours = Side::ours().await?;
    let mut bare = Side::bare().await?;
    let mut ws = Side::ws().await?;
    for (name, side, goal) in [
        ("ours", &mut ours, "<= 3000"),
        ("bare", &mut bare, ""),
        ("ws", &mut ws, ""),
    ] {
        let bytes = side.fill().await?;
        report.text(
            &format!("stream: resident bytes of an idle connection, {name}"),
            format!("{bytes:.0}"),
            goal,
        );
    }
    for (window, times, [of_bare, of_ws]) in WINDOWS {
        let (mut beside_bare, mut beside_ws) = (Pairs::default(), Pairs::default());
        for round in 0..=at_most(ROUNDS) {
            let bare = bare.round(window, times).await?;
            let ours = ours.round(window, times).await?;
            let ws = ws.round(window, times).await?;
            // The first one warms up.
            if round > 0 {
                beside_bare.push(ours, bare);
                beside_ws.push(ours, ws);
            }
        }
        let rate = 1.0 / beside_bare.native().median;
        let name = format!("stream: deliveries per second of CPU, {window} in flight");
        report.text(&name, format!("{rate:.0}"), "");
        report.spread(
            &format!("{name}, of a bare writer's"),
            beside_bare.ratio(),
            "x",
            of_bare,
        );
        report.spread(&format!("{name}, of ws's"), beside_ws.ratio(), "x", of_ws);
    }
    Ok(())
}

/// A server and its clients.
struct Side {
    process: Process,
    address: SocketAddr,
    path: &'static str,
    audience: Option<Audience>,
}

enum Process {
    /// The project and the database stay as long as the server.
    Ours(Box<(Served, Project, TestDatabase)>),
    Other(Child),
}

impl Side {
    async fn ours() -> Result<Self> {
        let database = Scratch::shared().database().await;
        // The clients answer no pings.
        let settings = "concurrency_per_plugin = 10000\nwebsocket_ping_ms = 3600000\n[database]\nplugin_pool_max = 2\n";
        let project = Project::with(settings)?;
        project.put(0, 0)?;
        let served = Served::start(project.path(), &database.url(), Log::Off, &["bench00"]).await?;
        Ok(Self {
            address: served.gateway,
            process: Process::Ours(Box::new((served, project, database))),
            path: "/bench00/fan",
            audience: None,
        })
    }

    async fn bare() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(BARE);
        Self::other(command, "/bare").await
    }

    async fn ws() -> Result<Self> {
        let directory = installed().await?;
        let mut command = Command::new("node");
        command.arg("ws.mjs").current_dir(directory);
        Self::other(command, "/ws").await
    }

    /// A server that prints where it listens.
    async fn other(mut command: Command, path: &'static str) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        cpu::pin(child.id(), 0)?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let line = BufReader::new(stdout).lines().next_line().await?;
        let line = line.ok_or_else(|| Failure::from("a peer did not start"))?;
        let ready: Value = serde_json::from_str(&line)?;
        let address = ready["gateway"].as_str().and_then(|text| text.parse().ok());
        Ok(Self {
            address: address.ok_or_else(|| Failure::from("a peer says no address"))?,
            process: Process::Other(child),
            path,
            audience: None,
        })
    }

    fn pid(&self) -> Result<u32> {
        match &self.process {
            Process::Ours(ours) => ours.0.pid(),
            Process::Other(child) => child.id().ok_or_else(|| Failure::from("a peer has ended")),
        }
    }

    /// Connects everybody; what that costs the server for each, in bytes.
    async fn fill(&mut self) -> Result<f64> {
        // What the first connections make is there for all.
        let first = Audience::open(self.address, self.path, SUBSCRIBERS / 10).await?;
        drop(first);
        let before = cpu::resident_kib(self.pid()?)?;
        let audience = Audience::open(self.address, self.path, SUBSCRIBERS).await?;
        let after = cpu::resident_kib(self.pid()?)?;
        self.audience = Some(audience);
        let kib = u32::try_from(after.saturating_sub(before))?;
        Ok(f64::from(kib) * 1_024.0 / f64::from(u32::try_from(SUBSCRIBERS)?))
    }

    /// Seconds of the server's CPU for one delivery.
    async fn round(&mut self, window: usize, times: usize) -> Result<f64> {
        let pid = self.pid()?;
        let audience = self.audience.as_mut().expect("it was filled");
        let before = cpu::process_time(pid)?;
        let times = at_most(times);
        for _ in 0..times {
            let heard = audience.hear(window).await;
            heard.map_err(|failure| format!("{}: {failure}", self.path))?;
        }
        let used = cpu::process_time(pid)?.saturating_sub(before);
        let deliveries = u32::try_from(SUBSCRIBERS * window * times)?;
        Ok(used.as_secs_f64() / f64::from(deliveries))
    }
}

/// The peer's package, installed below this program's directory.
async fn installed() -> Result<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/fan");
    let directory = std::env::current_exe()?.with_file_name("bench-fan");
    std::fs::create_dir_all(&directory)?;
    for file in ["package.json", "package-lock.json", "ws.mjs"] {
        std::fs::copy(source.join(file), directory.join(file))?;
    }
    let installed = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--silent"])
        .current_dir(&directory)
        .status()
        .await
        .map_err(|error| format!("cannot run npm, which the peer needs: {error}"))?;
    if installed.success() {
        Ok(directory)
    } else {
        Err(Failure::from("npm could not install the peer"))
    }
}
