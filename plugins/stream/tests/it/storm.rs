//! Many clients that lose their connection at the same moment, and come back at the same moment.
//!
//! The suite has a short form. `STREAM_STORM_CLIENTS=5000` makes it long; that takes a limit of 12,000 open files and a minute or two, and
//! what it prints is a figure then.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, try_join_all};
use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{HostProcess, Signal, TestHost};
use tokio::{sync::oneshot, time::interval};
use tokio_postgres::Client as Sql;

use crate::{
    questions::{Counts, Questions},
    stage::{Client, builder, publish},
    warm::offsets,
};

/// How many there are.
pub(crate) fn clients() -> usize {
    let said = std::env::var("STREAM_STORM_CLIENTS");
    said.map_or(200, |number| number.parse().expect("a number of clients"))
}

async fn host() -> TestHost {
    builder()
        .config("[http]\nconnections_max = 20_000\nconcurrency_per_plugin = 20_000")
        .config("[plugins.stream.config]\nrecovery_max = 10_000")
        .config("[plugins.stream.config.namespaces.log]\nhistory_size = 10_000")
        .start()
        .await
}

/// A token of somebody in the family.
fn somebody(host: &TestHost, family: Uuid) -> String {
    host.token_of(Uuid::now_v7(), Some((Role::Owner, family)))
}

/// Tries that a client has which is told to ask again.
const TRIES: usize = 1_000;

/// Connects, again when it is told that this may help: everybody at once is more than the database is asked at once.
pub(crate) async fn come(address: SocketAddr, token: &str) -> Client {
    for _ in 0..TRIES {
        let mut client = Client::open(address).await;
        let answer = client.ask("connect", json!({"token": token})).await;
        if answer["connect"].is_object() {
            return client;
        }
        assert_eq!(answer["error"]["temporary"], true, "{answer}");
    }
    panic!("not let in after {TRIES} tries");
}

/// Subscribes in the same way.
pub(crate) async fn subscribe(client: &mut Client, request: Value) -> Value {
    for _ in 0..TRIES {
        let answer = client.ask("subscribe", request.clone()).await;
        if answer["subscribe"].is_object() {
            return answer["subscribe"].clone();
        }
        assert_eq!(answer["error"]["temporary"], true, "{answer}");
    }
    panic!("not subscribed after {TRIES} tries");
}

/// Where everybody comes back to: somebody stays there, and what it asks the database is counted.
struct Refuge {
    process: HostProcess,
    questions: Questions,
    channel: String,
    family: Uuid,
    stays: Client,
    epoch: Value,
}

impl Refuge {
    async fn beside(host: &TestHost) -> Self {
        let questions = Questions::of(host);
        let process = host.process_beside().database_url(questions.url());
        let process = process.start().await;
        let family = Uuid::now_v7();
        let channel = format!("family:{family}:log:a");
        let mut stays = Client::connect(process.address(), &somebody(host, family)).await;
        let epoch = stays.subscribe(&channel).await["epoch"].clone();
        Self {
            process,
            questions,
            channel,
            family,
            stays,
            epoch,
        }
    }

    /// Publishes these numbers, and waits until who stays has heard each.
    async fn publish(&mut self, sql: &Sql, numbers: RangeInclusive<i64>) {
        for number in numbers {
            publish(sql, &self.channel, json!(number)).await;
            assert_eq!(self.stays.publication().await["offset"], number);
        }
    }

    async fn stop(mut self) {
        self.process.signal(Signal::TERM);
        assert!(
            self.process.ended().await.success(),
            "{}",
            self.process.log_text()
        );
    }
}

/// What every host asks in any case, of its lease, of who is still in their families, of the log's news and of media sessions.
const ANYWAY: [&str; 10] = [
    "'nself lease '",
    "as said (",
    "nself.event_cursors",
    "select 1",
    "stream.course(",
    "stream.keep_node(",
    "stream.look_at_sessions(",
    "stream.news(",
    "stream.playback_keys",
    "stream.waiters",
];
/// Questions to the database for all who come back at once.
const QUESTIONS_MAX: usize = 50;

/// What was asked since because people came, which is little however many they are.
fn hardly_asked(now: &Counts, before: &Counts) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    let is_anyway = |statement: &str| ANYWAY.iter().any(|part| statement.contains(part));
    for (statement, count) in now {
        let more = count - before.get(statement).copied().unwrap_or_default();
        if more > 0 && !is_anyway(statement) {
            asked.insert(statement.clone(), more);
        }
    }
    let amount: usize = asked.values().sum();
    println!("{amount} questions for all of them");
    assert!(amount < QUESTIONS_MAX, "{asked:#?}");
    asked
}

fn is_of_the_log(statement: &str) -> bool {
    let questions = ["stream.locate(", "stream.history("];
    questions
        .iter()
        .any(|question| statement.contains(question))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_are_cut_at_once_come_back_with_what_they_missed_and_the_log_is_not_asked() {
    let host = host().await;
    let sql = host.sql().await;
    let mut refuge = Refuge::beside(&host).await;
    let (address, channel) = (refuge.process.address(), refuge.channel.clone());
    let tokens: Vec<_> = (0..clients())
        .map(|_| somebody(&host, refuge.family))
        .collect();
    let audience = join_all(tokens.iter().map(async |token| {
        let mut client = come(address, token).await;
        subscribe(&mut client, json!({"channel": channel})).await;
        client
    }));
    let mut audience = audience.await;
    refuge.publish(&sql, 1..=3).await;
    for client in &mut audience {
        for number in 1..=3 {
            assert_eq!(client.publication().await["offset"], number);
        }
    }
    // Without a word, as when a proxy dies.
    drop(audience);
    refuge.publish(&sql, 4..=20).await;
    let before = refuge.questions.counts();
    let begun = Instant::now();
    let request = json!({"channel": channel, "recover": true, "offset": 3, "epoch": refuge.epoch});
    let back = join_all(tokens.iter().map(async |token| {
        let mut client = come(address, token).await;
        // Not again: it costs nobody anything.
        let result = client.subscribe_with(request.clone()).await;
        assert_eq!(result["recovered"], true, "{result}");
        let missed: Vec<_> = (4..=20).collect();
        assert_eq!(offsets(&result["publications"]), missed);
        client
    }));
    let mut back = back.await;
    println!("{:?} until all were back", begun.elapsed());
    let asked = hardly_asked(&refuge.questions.counts(), &before);
    assert!(
        !asked.keys().any(|statement| is_of_the_log(statement)),
        "{asked:#?}"
    );
    let begun = Instant::now();
    refuge.publish(&sql, 21..=21).await;
    println!("{:?} until a publication was heard", begun.elapsed());
    for client in &mut back {
        assert_eq!(client.publication().await["offset"], 21);
    }
    println!("{:?} until all have heard it", begun.elapsed());
    drop(back);
    refuge.stop().await;
    host.stop().await;
}

/// Follows a channel, and moves to another host whenever its own ends; the data in the order of its arrival, and the codes of the ends.
async fn follow(
    hosts: [SocketAddr; 2],
    token: String,
    channel: String,
    last: i64,
    joined: oneshot::Sender<()>,
) -> (Vec<i64>, Vec<u16>) {
    let [at, then] = hosts;
    let mut client = come(at, &token).await;
    let begun = subscribe(&mut client, json!({"channel": channel})).await;
    joined.send(()).expect("it is waited for");
    let (mut received, mut ends) = (Vec::new(), Vec::new());
    while received.last() != Some(&last) {
        match client.publication_or_end().await {
            Ok(publication) => received.push(number(&publication)),
            Err((code, _)) => {
                ends.push(code);
                client = come(then, &token).await;
                let request = json!({"channel": channel, "recover": true, "offset": received.len(), "epoch": begun["epoch"]});
                let result = subscribe(&mut client, request).await;
                assert_eq!(result["recovered"], true, "{result}");
                let missed = result["publications"].as_array();
                received.extend(missed.into_iter().flatten().map(number));
            }
        }
    }
    (received, ends)
}

/// Its data, which is its offset.
fn number(publication: &Value) -> i64 {
    assert_eq!(publication["data"], publication["offset"]);
    publication["data"].as_i64().expect("a number")
}

/// Ends a host in the middle of publications, of 500 a second. Of its clients all end up with all of them, each once and in order;
/// the codes that they were sent away with. Somebody is at the other host already, and misses nothing.
async fn lose_a_host(
    clients: usize,
    amount: i64,
    end: impl AsyncFnOnce(HostProcess),
) -> Vec<Vec<u16>> {
    let first = host().await;
    let other = first.process_beside().start().await;
    let refuge = Refuge::beside(&first).await;
    let addresses = [other.address(), refuge.process.address()];
    let (mut following, mut joining) = (Vec::new(), Vec::new());
    for _ in 0..clients {
        let (joined, waiting) = oneshot::channel();
        let token = somebody(&first, refuge.family);
        let reader = follow(addresses, token, refuge.channel.clone(), amount, joined);
        following.push(tokio::spawn(reader));
        joining.push(waiting);
    }
    let joined = try_join_all(joining).await;
    joined.expect("all of them subscribe");
    let sql = first.sql().await;
    let (half, halfway) = oneshot::channel();
    let writing = tokio::spawn(write(sql, refuge.channel.clone(), amount, half));
    halfway.await.expect("the writer goes on");
    let before = refuge.questions.counts();
    let begun = Instant::now();
    end(other).await;
    let sql = writing.await.expect("everything is committed");
    // Nobody has heard all of them before their host has ended.
    publish(&sql, &refuge.channel, json!(amount)).await;
    let expected: Vec<_> = (1..=amount).collect();
    let mut ends = Vec::new();
    for reader in following {
        let (received, codes) = reader.await.expect("it reads to the end");
        assert_eq!(received, expected);
        ends.push(codes);
    }
    println!("{:?} until all had all of it", begun.elapsed());
    // Of the log by the few who had heard more at the other host than this one had delivered.
    hardly_asked(&refuge.questions.counts(), &before);
    let Refuge { mut stays, .. } = refuge;
    for number in expected {
        assert_eq!(stays.publication().await["offset"], number);
    }
    first.stop().await;
    ends
}

/// Publishes the numbers below `amount`, and says when half of them are out.
async fn write(sql: Sql, channel: String, amount: i64, half: oneshot::Sender<()>) -> Sql {
    let mut pace = interval(Duration::from_millis(2));
    let mut half = Some(half);
    for number in 1..amount {
        pace.tick().await;
        publish(&sql, &channel, json!(number)).await;
        if number >= amount / 2
            && let Some(half) = half.take()
        {
            half.send(()).expect("it is waited for");
        }
    }
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_amid_five_hundred_publications_a_second_loses_and_doubles_none() {
    let ends = lose_a_host(10, 1_500, HostProcess::kill).await;
    assert!(ends.iter().all(|codes| codes.len() == 1), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_whose_host_crashes_go_on_at_another() {
    let ends = lose_a_host(clients(), 60, HostProcess::kill).await;
    assert!(ends.iter().all(|codes| codes.len() == 1), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_whose_host_stops_are_told_to_come_again_and_go_on_at_another() {
    let ends = lose_a_host(clients(), 60, async |mut other| {
        other.signal(Signal::TERM);
        assert!(other.ended().await.success(), "{}", other.log_text());
    })
    .await;
    assert!(ends.iter().all(|codes| *codes == [3001]), "{ends:?}");
}
