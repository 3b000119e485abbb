//! What it costs to be connected and to hear nothing.
//!
//! The suite has a short form. `STREAM_IDLE_CLIENTS=2000` makes it long, and what it prints is a figure then.

use futures_util::{StreamExt, stream};
use nself_plugin_api::{prelude::Role, uuid::Uuid};
use nself_plugin_testkit::{HostProcess, Signal, TestHost};

use crate::stage::{Client, host};

/// Connections before those that are measured: what a host needs once is there then.
const FIRST: usize = 100;
/// Of one connection with a token and a subscription, in a build without optimisation; half as much again as a thousand were seen to take.
const BYTES_MAX: usize = 12_000;

fn clients() -> usize {
    let said = std::env::var("STREAM_IDLE_CLIENTS");
    said.map_or(400, |number| number.parse().expect("a number of clients"))
}

pub(crate) fn resident_bytes(process: &HostProcess) -> usize {
    let path = format!("/proc/{}/smaps_rollup", process.pid());
    let text = std::fs::read_to_string(path).expect("it runs");
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB"));
    let kib: usize = kib.expect("a size").trim().parse().expect("a number");
    kib * 1024
}

async fn connect(
    first: &TestHost,
    process: &HostProcess,
    family: Uuid,
    amount: usize,
) -> Vec<Client> {
    let channel = format!("family:{family}:news");
    let (channel, address) = (&channel, process.address());
    let connecting = (0..amount).map(|_| {
        let token = first.token_of(Uuid::now_v7(), Some((Role::Owner, family)));
        async move {
            let mut client = Client::connect(address, &token).await;
            client.subscribe(channel).await;
            client
        }
    });
    stream::iter(connecting).buffer_unordered(8).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_takes_little_memory() {
    let (amount, family) = (clients(), Uuid::now_v7());
    let first = host().await;
    let mut process = first
        .process_beside()
        .config("[http]\nconnections_max = 20_000\nconcurrency_per_plugin = 20_000")
        .start()
        .await;
    let _once = connect(&first, &process, family, FIRST).await;
    let before = resident_bytes(&process);
    let idle = connect(&first, &process, family, amount).await;
    let more = resident_bytes(&process).saturating_sub(before);
    let each = more / idle.len();
    println!("{each} bytes for each of {amount}");
    process.signal(Signal::TERM);
    process.ended().await;
    assert!(each <= BYTES_MAX, "{each} bytes for each of {amount}");
    first.stop().await;
}
