//! What fails around a host that has clients: its database, its connections to that, and the way to the clients.

use std::{collections::BTreeMap, net::SocketAddr};

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, eventually, within};
use tokio::{
    io::copy,
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};
use tokio_postgres::Client as Sql;

use crate::{
    ghosts,
    stage::{Client, builder, publish},
};

/// Ends all of the plugin's connections to the database. Other tests have theirs on the same server.
const CUT: &str = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database() and usename like '%\\_stream'";

/// One whom clients may publish to as often as they want.
const OPEN: &str = "[plugins.stream.config]\ncommands_per_second = 10_000\nrecovery_max = 10_000\n
[plugins.stream.config.namespaces.log]\nhistory_size = 10_000\npublish = [\"OWNER\"]\npublish_per_second = 10_000";

/// Writes to many channels, of three transactions one is given up; what has been committed, by channel.
async fn write(sql: Sql, writer: usize, channels: Vec<String>) -> Vec<(String, Value)> {
    let mut committed = Vec::new();
    for number in 0..60 {
        let data = json!([writer, number]);
        sql.batch_execute("begin").await.expect("a transaction");
        // Two channels, which others take in the other order.
        let chosen = [writer * 7 + number, writer * 11 + 50 - number % 50]
            .map(|at| channels[at % channels.len()].clone());
        for channel in &chosen {
            publish(&sql, channel, data.clone()).await;
        }
        let is_kept = !(writer + number).is_multiple_of(3);
        let end = if is_kept { "commit" } else { "rollback" };
        sql.batch_execute(end).await.expect("it ends");
        if is_kept {
            committed.extend(chosen.map(|channel| (channel, data.clone())));
        }
        if writer == 0 && number % 10 == 5 {
            sql.execute(CUT, &[]).await.expect("a superuser may");
        }
    }
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_is_heard_whatever_rolls_back_and_however_often_the_listener_is_cut() {
    let host = builder().config(OPEN).start().await;
    let family = Uuid::now_v7();
    let channels: Vec<_> = (0..50)
        .map(|at| format!("family:{family}:log:{at}"))
        .collect();
    let mut client = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    for channel in &channels {
        let _ = client.subscribe(channel).await;
    }
    let mut writers = Vec::new();
    for writer in 0..8 {
        writers.push(tokio::spawn(write(
            host.sql().await,
            writer,
            channels.clone(),
        )));
    }
    let mut committed = Vec::new();
    for writer in writers {
        committed.extend(writer.await.expect("the writer ends"));
    }
    let mut heard = Vec::new();
    let mut offsets = BTreeMap::<String, i64>::new();
    while heard.len() < committed.len() {
        let push = client.push().await;
        let channel = push["channel"].as_str().expect("a channel").to_owned();
        let offset = offsets.entry(channel.clone()).or_default();
        *offset += 1;
        assert_eq!(push["pub"]["offset"], *offset, "{push}");
        heard.push((channel, push["pub"]["data"].clone()));
    }
    let sorted = |mut all: Vec<(String, Value)>| {
        all.sort_by_key(|(channel, data)| (channel.clone(), data.to_string()));
        all
    };
    assert_eq!(sorted(heard), sorted(committed));
    host.stop().await;
}

/// How far publishing has come.
#[derive(Clone)]
struct Progress {
    heard: watch::Receiver<i64>,
    refused: watch::Receiver<i64>,
}

/// Waits until more has happened.
async fn more(mut count: watch::Receiver<i64>, amount: i64) {
    let wanted = *count.borrow() + amount;
    let reached = within("more of it", count.wait_for(|now| *now >= wanted)).await;
    reached.expect("they go on");
}

/// Publishes until it is told to stop, and waits for each answer; the numbers that were taken.
async fn publish_on(
    mut client: Client,
    channel: String,
    stop: watch::Receiver<bool>,
    refused: watch::Sender<i64>,
) -> Vec<i64> {
    let (mut taken, mut number) = (Vec::new(), 0);
    while !*stop.borrow() {
        number += 1;
        let request = json!({"channel": channel, "data": number});
        let answer = client.ask("publish", request).await;
        if answer["publish"].is_object() {
            taken.push(number);
        } else {
            // Nothing says that it was wrong to ask.
            let error = (&answer["error"]["code"], &answer["error"]["temporary"]);
            assert_eq!(error, (&json!(100), &json!(true)));
            refused.send_modify(|refused| *refused += 1);
        }
    }
    taken
}

/// What is heard when the database ends in this way in the middle of publications: all that was taken, once and in order, over the same
/// connection.
async fn check_publishing_through(host: TestHost, fail: impl AsyncFnOnce(&TestHost, Progress)) {
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:log:a");
    let token = host.token(Role::Owner, family);
    let mut reader = Client::connect(host.address(), &token).await;
    let _ = reader.subscribe(&channel).await;
    let writer = Client::connect(host.address(), &token).await;
    let (stop, stopping) = watch::channel(false);
    let (refusing, refused) = watch::channel(0);
    let (hearing, heard) = watch::channel(0);
    let publishing = publish_on(writer, channel.clone(), stopping, refusing);
    let writing = tokio::spawn(publishing);
    let reading = tokio::spawn(async move {
        let mut received = Vec::new();
        loop {
            let publication = reader.publication().await;
            received.push(publication["data"].as_i64().expect("a number"));
            let offset = i64::try_from(received.len()).expect("a count");
            assert_eq!(publication["offset"], offset, "no gap, none twice");
            hearing.send_replace(offset);
            if publication["data"] == -1 {
                return received;
            }
        }
    });
    more(heard.clone(), 20).await;
    let progress = Progress {
        heard: heard.clone(),
        refused,
    };
    fail(&host, progress).await;
    // Heard again by who was there all the time, before anybody connects.
    more(heard, 20).await;
    stop.send_replace(true);
    let taken = writing.await.expect("the writer ends");
    publish(&host.sql().await, &channel, json!(-1)).await;
    let mut received = reading.await.expect("the reader ends");
    assert_eq!(received.pop(), Some(-1));
    assert!(received.is_sorted_by(|a, b| a < b), "{received:?}");
    // What was refused may have been committed: the answer was lost, not the transaction.
    assert!(
        taken
            .iter()
            .all(|number| received.binary_search(number).is_ok())
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_stay_and_go_on_when_postgres_crashes_and_comes_back() {
    let host = builder().config(OPEN).own_server().start().await;
    check_publishing_through(host, async |host, progress| {
        tokio::task::block_in_place(|| host.database().crash_and_restart());
        more(progress.heard, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_publications_are_refused_for_now() {
    let host = builder().config(OPEN).start().await;
    check_publishing_through(host, async |host, progress| {
        let outage = host.database_away().await;
        more(progress.refused, 1).await;
        let token = host.token(Role::Owner, Uuid::now_v7());
        // Who comes meanwhile is refused too.
        let mut late = Client::open(host.address()).await;
        let id = late.command("connect", json!({"token": token})).await;
        assert!(!late.is_connected(id).await);
        outage.end().await;
    })
    .await;
}

/// A way to the host that can end without a word: nothing goes through any more, and nothing is closed.
pub(crate) struct Network {
    pub address: SocketAddr,
    pub is_gone: watch::Sender<bool>,
}

impl Network {
    pub(crate) async fn to(host: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there are ports");
        let address = listener.local_addr().expect("it listens");
        let (is_gone, going) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("it listens");
                let server = TcpStream::connect(host).await.expect("the host listens");
                let ((from, back), (forth, to)) = (client.into_split(), server.into_split());
                tokio::spawn(carry(from, to, going.clone()));
                tokio::spawn(carry(forth, back, going.clone()));
            }
        });
        Self { address, is_gone }
    }
}

async fn carry(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut going: watch::Receiver<bool>,
) {
    let gone = async { drop(going.wait_for(|is_gone| *is_gone).await) };
    tokio::select! {
        _ = copy(&mut from, &mut to) => return,
        () = gone => {}
    }
    // Both sockets stay open.
    std::future::pending::<()>().await;
}

/// Waits until so many are counted in the kitchen.
pub(crate) async fn until_there_are(watcher: &mut Client, amount: usize) {
    eventually(&format!("{amount} are there"), async || {
        let stats = watcher.ask("presence_stats", json!({"channel": "chat:kitchen"}));
        (stats.await["presence_stats"]["num_clients"] == amount).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_vanishes_without_a_word_is_missed_and_makes_room() {
    let amount = ghosts::amount();
    let host = builder()
        .config("[http]\nconnections_max = 20_000\nconcurrency_per_plugin = 20_000")
        .config("[plugins.stream.config]\nping_seconds = 1\npong_seconds = 5")
        .config(&format!(
            "[plugins.stream.config]\nconnections_per_user = {amount}"
        ))
        .start()
        .await;
    let network = Network::to(host.address()).await;
    let family = Uuid::now_v7();
    let mut watcher = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let _ = watcher.subscribe("chat:kitchen").await;
    let token = host.token(Role::AdultMember, family);
    let mut ghosts = JoinSet::new();
    for _ in 0..amount {
        let mut client = Client::connect(network.address, &token).await;
        let _ = client.subscribe("chat:kitchen").await;
        // They answer pings for as long as they hear of them.
        ghosts.spawn(async move { client.end().await });
        let _ = watcher.ask("ping", json!({})).await;
    }
    until_there_are(&mut watcher, amount + 1).await;
    network.is_gone.send_replace(true);
    until_there_are(&mut watcher, 1).await;
    // Their places are free.
    let mut back = Client::connect(host.address(), &token).await;
    let _ = back.subscribe("chat:kitchen").await;
    until_there_are(&mut watcher, 2).await;
    // Everybody is told of all: each came, and each that vanished went.
    let (mut joins, mut leaves) = (0, 0);
    while (joins, leaves) != (amount + 2, amount) {
        let push = watcher.push().await;
        joins += usize::from(push["join"].is_object());
        leaves += usize::from(push["leave"].is_object());
    }
    assert_eq!(ghosts.len(), amount, "to them nothing has ended");
    ghosts.abort_all();
    host.stop().await;
}
