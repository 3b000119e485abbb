//! There is no memory left for who asks for much.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::lifecycle::plugin_file::{bad, hello};
use crate::lifecycle::project::{Host, Project};

/// What the host may take more than it has: enough for its own work, and less than the plugin asks for.
const ROOM: u64 = 256 << 20;

/// Bytes of addresses that the host has.
fn addresses(host: &Host) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kibibytes: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kibibytes << 10
}

/// Lets the host have no more addresses than that.
fn limit(host: &Host, bytes: u64) {
    let pid = Pid::from_raw(host.pid().try_into().unwrap());
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    prlimit(pid, Resource::As, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_asks_for_more_memory_than_there_is_is_told_and_the_host_goes_on() {
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let mut host = project.start();
    let mut caller = host.caller().await.with_token(&project.token());
    assert_eq!(caller.get("/hello/notes").await.status, 200);
    limit(&host, addresses(&host) + ROOM);
    for _ in 0..3 {
        let reached = caller.get("/bad/reach/memory").await;
        let reached: Value = serde_json::from_slice(&reached.body).unwrap();
        assert_eq!(reached, json!("out of memory"));
        assert_eq!(caller.get("/hello/notes").await.status, 200);
        assert_eq!(host.caller().await.get("/livez").await.status, 200);
    }
    assert!(host.runs());
}
