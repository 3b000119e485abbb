//! `nself serve` as it runs in use, with all plugins, whose versions are exchanged from the command line.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::callers::KEY;
use crate::{
    Failure, Result,
    project::{Project, beside_us, edition_of},
};

/// All plugins, in the order in which they take their turns.
pub(super) const PLUGINS: [&str; 8] = [
    "auth",
    "stream",
    "jobs",
    "hello",
    "orchestrator",
    "mail",
    "scheduler",
    "bench00",
];

/// Time for a process to do what it is told.
const PATIENCE: Duration = Duration::from_secs(120);

/// The catcher takes whatever port is free and is soon as full as it gets, limits are not what is tried here, and people connect as often as they like.
const SETTINGS: &str = "[plugins.mail.listen]\n1025 = 0\n[plugins.mail.config]\ncatcher_messages_max = 100\n\
    [plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 4000000000\ntries_per_account = 4000000000\n\
    [plugins.stream.config]\nconnections_per_user = 1000\n\
    [plugins.stream.config.namespaces.bench]\nhistory_size = 128\n";

/// The process; it is asked to stop when this is dropped.
pub(super) struct Host {
    child: Child,
    pub(super) address: SocketAddr,
    project: Project,
    url: String,
    /// The edition of each plugin that runs.
    editions: [u32; PLUGINS.len()],
}

/// An exchange of one version for another.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) plugin: &'static str,
    pub(super) took: Duration,
    /// Whether everything that was under way could finish, or why the version was not exchanged.
    pub(super) clean: Result<bool, String>,
}

impl Host {
    /// Starts it, with the log in a file. `server` is where workflows may call.
    pub(super) async fn start(url: &str, server: SocketAddr, log: &Path) -> Result<Self> {
        let key = nself::identity::key_digest(KEY);
        let project = Project::with(&format!(
            "{SETTINGS}[plugins.orchestrator]\negress = [\"{server}\"]\n\
             [identity.api_keys.bench]\nsha256 = \"{key}\"\nscopes = [\"operator\"]\n"
        ))?;
        for plugin in PLUGINS {
            let place = project.path().join(format!("plugins.d/{plugin}.so"));
            fs::write(place, edition_of(plugin, 0)?)?;
            for edition in 0..2 {
                fs::write(
                    file(&project, plugin, edition),
                    edition_of(plugin, edition)?,
                )?;
            }
        }
        let mut enable = nself(&project, url)?;
        answered(enable.args(["plugin", "enable", "--json"]).args(PLUGINS)).await?;
        let mut child = nself(&project, url)?
            .args(["serve", "--json"])
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let line = timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await??;
        let ready: Value = serde_json::from_str(&line.unwrap_or_default())
            .map_err(|_| format!("nself serve did not become ready: see {}", log.display()))?;
        let address = ready["data"]["urls"][0]["url"].as_str();
        let address = address.and_then(|url| url.strip_prefix("http://")?.parse().ok());
        Ok(Self {
            child,
            address: address.ok_or_else(|| format!("no address in {ready}"))?,
            project,
            url: url.to_owned(),
            editions: [0; PLUGINS.len()],
        })
    }

    pub(super) fn pid(&self) -> Result<u32> {
        self.child
            .id()
            .ok_or_else(|| Failure::from("nself serve has ended"))
    }

    /// Exchanges the plugin whose turn it is for its other edition.
    pub(super) async fn exchange(&mut self, turn: usize) -> Result<Exchange> {
        let at = turn % PLUGINS.len();
        let (plugin, edition) = (PLUGINS[at], 1 - self.editions[at]);
        let mut upgrade = nself(&self.project, &self.url)?;
        upgrade
            .args(["plugin", "upgrade", "--json"])
            .arg(file(&self.project, plugin, edition));
        let begun = Instant::now();
        let answer = answered(&mut upgrade).await;
        let took = begun.elapsed();
        if answer.is_ok() {
            self.editions[at] = edition;
        }
        let clean = answer
            .map(|answer| answer["data"]["replaced"] == true && answer["data"]["clean"] == true)
            .map_err(|failure| failure.to_string());
        Ok(Exchange {
            plugin,
            took,
            clean,
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        // One that has ended by itself needs no end.
        let _ = pid
            .and_then(Pid::from_raw)
            .map(|pid| kill_process(pid, Signal::TERM));
    }
}

fn file(project: &Project, plugin: &str, edition: u32) -> PathBuf {
    project.path().join(format!("{plugin}-{edition}.so"))
}

fn nself(project: &Project, url: &str) -> Result<Command> {
    let mut command = Command::new(beside_us("nself")?);
    command
        .current_dir(project.path())
        .env("DATABASE_URL", url)
        .stdin(Stdio::null());
    Ok(command)
}

/// What a command answers.
async fn answered(command: &mut Command) -> Result<Value> {
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await??;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(String::from_utf8_lossy(&said).trim().to_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
