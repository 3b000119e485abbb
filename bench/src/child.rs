//! The server side in a process of its own: its CPU time and memory are then its own, too.

use std::{net::SocketAddr, path::Path, process::Stdio, sync::Arc, time::Duration};

use nself::{
    config::{Config, Variables},
    http::Server,
    plugin::registry::NewSigner,
    run::Host,
    telemetry,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

use crate::{Failure, Result, cpu, project, stage};

/// The first argument of the server process.
pub(crate) const COMMAND: &str = "serve";

/// Time for requests on a version that is replaced.
const DRAIN: Duration = Duration::from_secs(10);

/// Whether the server writes its access log, as it does in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Off,
    On,
}

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    First,
    All,
}

/// A server process.
pub(crate) struct Served {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// The host's own gateway.
    pub(crate) gateway: SocketAddr,
    /// The one with the native routes beside the plugin's; only when `bench00` ran at the start.
    pub(crate) stage: Option<SocketAddr>,
}

impl Served {
    /// Starts a server on the project, on the first core. `enable` names the plugins to enable before it is ready.
    pub(crate) async fn start(
        directory: &Path,
        database_url: &str,
        log: Log,
        enable: &[&str],
    ) -> Result<Self> {
        Self::start_on(Cores::First, directory, database_url, log, enable).await
    }

    /// As [`start`](Self::start), on the cores that the caller chooses.
    pub(crate) async fn start_on(
        cores: Cores,
        directory: &Path,
        database_url: &str,
        log: Log,
        enable: &[&str],
    ) -> Result<Self> {
        let log = if log == Log::On { "log" } else { "quiet" };
        let mut child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .arg(directory)
            .arg(log)
            .env("DATABASE_URL", database_url)
            .env("BENCH_ENABLE", enable.join(","))
            .env(
                "BENCH_CORES",
                if cores == Cores::All { "all" } else { "first" },
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let commands = child.stdin.take().expect("standard input is piped");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut answers = BufReader::new(stdout).lines();
        let ready = read(&mut answers).await?;
        let address = |key: &str| ready[key].as_str().and_then(|text| text.parse().ok());
        Ok(Self {
            child,
            commands,
            answers,
            gateway: address("gateway")
                .ok_or_else(|| Failure::from("the server has no gateway"))?,
            stage: address("stage"),
        })
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child
            .id()
            .ok_or_else(|| Failure::from("the server has ended"))
    }

    pub(crate) fn resident_kib(&self) -> Result<u64> {
        cpu::resident_kib(self.pid()?)
    }

    /// Of the server, and of the processes of its plugins.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let family = cpu::family(self.pid()?);
        family.into_iter().map(cpu::process_time).sum()
    }

    /// Has the registry do something: `enable`, `upgrade` or `rollback` of a plugin.
    pub(crate) async fn change(&mut self, verb: &str, id: &str) -> Result<Value> {
        self.commands
            .write_all(format!("{verb} {id}\n").as_bytes())
            .await?;
        read(&mut self.answers).await
    }
}

async fn read(answers: &mut Lines<BufReader<ChildStdout>>) -> Result<Value> {
    let line = answers.next_line().await?;
    let line = line.ok_or_else(|| Failure::from("the server ended"))?;
    let answer: Value = serde_json::from_str(&line)?;
    match answer["error"].as_str() {
        Some(error) => Err(Failure::from(error.to_owned())),
        None => Ok(answer),
    }
}

/// What the server process does: serves until its standard input ends.
pub(crate) fn serve(directory: &Path, log: &str) -> Result<()> {
    if std::env::var("BENCH_CORES").as_deref() != Ok("all") {
        cpu::pin(None, 0)?;
    }
    let logging = match log {
        "log" => Some(start_log(directory)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(until_told(directory));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(logging);
    done
}

fn start_log(directory: &Path) -> Result<telemetry::Telemetry> {
    let (mut config, _) = Config::load(directory, &Variables::new())?;
    config.log.file = Some("/dev/null".into());
    Ok(telemetry::init(&config, &Variables::new(), false)?)
}

async fn until_told(directory: &Path) -> Result<()> {
    let url = std::env::var("DATABASE_URL")?;
    let host = project::start(directory, &url).await?;
    let enable = std::env::var("BENCH_ENABLE").unwrap_or_default();
    for id in enable.split(',').filter(|id| !id.is_empty()) {
        host.registry().enable(id).await?;
    }
    let mut ready = json!({"gateway": host.gateway()});
    let stage = match host.registry().running("bench00").await {
        Some(_) => Some(open_stage(&host, &url).await?),
        None => None,
    };
    ready["stage"] = json!(stage.as_ref().map(|(_, address)| address));
    println!("{ready}");
    let mut commands = commands();
    while let Some(command) = commands.recv().await {
        let (verb, id) = command.split_once(' ').unwrap_or((&command, ""));
        match change(&host, verb, id).await {
            Ok(answer) => println!("{answer}"),
            Err(failure) => println!("{}", json!({"error": failure.to_string()})),
        }
    }
    host.stop(Duration::from_secs(5)).await;
    Ok(())
}

/// Lines of the standard input, read on a thread of their own: nothing of the server waits for them.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lines().map_while(std::io::Result::ok);
        lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
    });
    receiver
}

async fn open_stage(host: &Host, url: &str) -> Result<(Server, SocketAddr)> {
    let server = Server::new(stage::gateway(host, url).await?);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = server.listen(None, any, "http.port").await?;
    Ok((server, address))
}

async fn change(host: &Host, verb: &str, id: &str) -> Result<Value> {
    let registry = Arc::clone(host.registry());
    let changed = match verb {
        "enable" => registry.enable(id).await?,
        "upgrade" => registry.upgrade(id, DRAIN, NewSigner::Refuse).await?,
        "rollback" => registry.roll_back(id, DRAIN).await?,
        other => return Err(Failure::from(format!("no such change: {other}"))),
    };
    Ok(serde_json::to_value(changed)?)
}
