//! A Redis server of a test's own, on a socket in a directory of its own, gone with the test however that ends.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::until;

/// Ends with the pipe on its standard input, so that a killed test leaves nothing behind.
const KEEPER: &str = r#"
"$@" >/dev/null 2>&1 &
server=$!
read -r _
kill -KILL "$server"
wait "$server"
"#;

/// A running, or stopped, server.
pub(crate) struct RedisServer {
    keeper: Option<Child>,
    password: Option<&'static str>,
    dir: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one; nothing, said aloud, when none is installed.
    pub(crate) async fn start(password: Option<&'static str>) -> Option<Self> {
        if Command::new("redis-server")
            .arg("--version")
            .output()
            .is_err()
        {
            eprintln!("SKIPPED: no redis-server on this machine: apt-get install redis-server");
            return None;
        }
        let mut server = Self {
            keeper: None,
            password,
            dir: tempfile::tempdir().unwrap(),
        };
        server.run().await;
        Some(server)
    }

    /// How to reach it.
    pub(crate) fn url(&self) -> String {
        let password = self
            .password
            .map(|password| format!("?pass={password}"))
            .unwrap_or_default();
        format!("redis+unix://{}{password}", self.socket().display())
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Kills it, and waits until it is dead.
    pub(crate) fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
            let _ = std::fs::remove_file(self.socket());
        }
    }

    /// Starts it (again), empty, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            KEEPER,
            "keeper",
            "redis-server",
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.dir.path());
        if let Some(password) = self.password {
            command.args(["--requirepass", password]);
        }
        self.keeper = Some(
            command
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let client = redis::Client::open(self.url()).unwrap();
        until("Redis answers", async || {
            match client.get_multiplexed_async_connection().await {
                Ok(mut connection) => redis::cmd("PING")
                    .query_async::<()>(&mut connection)
                    .await
                    .is_ok(),
                Err(_) => false,
            }
        })
        .await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
