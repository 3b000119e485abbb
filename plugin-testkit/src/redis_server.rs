//! A Redis server of a test's own, which can be killed, stopped and started again.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use futures_util::{Stream, StreamExt};
use redis::{Client, FromRedisValue, aio::MultiplexedConnection};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::eventually;

/// Ends with the pipe on its standard input, so that a killed test leaves nothing behind.
const KEEPER: &str = r#"
"$@" >/dev/null 2>&1 &
server=$!
read -r _
kill -KILL "$server"
wait "$server"
"#;

/// A server on a socket in a directory of its own. It is gone when the test ends, however that ends.
pub struct RedisServer {
    keeper: Option<Child>,
    directory: TempDir,
}

impl RedisServer {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When none is installed.
    pub async fn start() -> Self {
        let version = Command::new("redis-server").arg("--version").output();
        version.expect("the tests need a Redis server: apt-get install redis-server");
        let mut server = Self {
            keeper: None,
            directory: tempfile::tempdir().expect("there is room for a socket"),
        };
        server.run().await;
        server
    }

    /// The configuration of a host that uses it.
    pub fn config(&self) -> String {
        format!("[redis]\nurl = {:?}", self.url())
    }

    fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Kills it, and waits until it is dead.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            // It has ended one way or the other.
            let _ = keeper.wait();
            let _ = std::fs::remove_file(self.socket());
        }
    }

    /// Starts it again, empty, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn run(&mut self) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", KEEPER, "keeper", "redis-server", "--port", "0"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]);
        command.arg(self.directory.path());
        command.arg("--unixsocket").arg(self.socket());
        let keeper = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        self.keeper = Some(keeper.expect("a shell starts"));
        eventually("Redis answers", async || {
            let mut connection = self.try_connect().await?;
            let answered = redis::cmd("PING").query_async::<()>(&mut connection).await;
            answered.ok()
        })
        .await;
    }

    /// Stops it where it is: connections stay, and nothing is answered until what this gives back is dropped.
    pub async fn hang(&self) -> Hanging {
        let info: String = self.ask(&["INFO", "server"]).await;
        let line = |line: &str| line.strip_prefix("process_id:")?.trim().parse().ok();
        let id = info.lines().find_map(line).and_then(Pid::from_raw);
        let id = id.expect("a server tells its process");
        kill_process(id, Signal::STOP).expect("the server is the test's own");
        Hanging(id)
    }

    /// Asks it something.
    ///
    /// # Panics
    ///
    /// When it is away, or answers something else.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let connection = self.try_connect().await;
        let mut connection = connection.expect("Redis runs");
        let mut command = redis::Cmd::new();
        command.arg(words);
        let answered = command.query_async(&mut connection).await;
        answered.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The channels that somebody is subscribed to, sorted.
    pub async fn channels(&self) -> Vec<String> {
        let mut channels: Vec<String> = self.ask(&["PUBSUB", "CHANNELS"]).await;
        channels.sort_unstable();
        channels
    }

    /// Every command that it is given from now on.
    ///
    /// # Panics
    ///
    /// When it is away.
    pub async fn commands(&self) -> impl Stream<Item = String> + Unpin + use<> {
        let client = Client::open(self.url()).expect("a path is an address");
        let monitor = client.get_async_monitor().await;
        monitor.expect("Redis runs").into_on_message().boxed()
    }

    async fn try_connect(&self) -> Option<MultiplexedConnection> {
        let client = Client::open(self.url()).expect("a path is an address");
        client.get_multiplexed_async_connection().await.ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that answers nobody; dropped, it goes on.
#[must_use = "the server goes on when this is dropped"]
pub struct Hanging(Pid);

impl Drop for Hanging {
    fn drop(&mut self) {
        // A server that was killed meanwhile need not go on.
        let _ = kill_process(self.0, Signal::CONT);
    }
}
