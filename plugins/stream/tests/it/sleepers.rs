//! One who stops reading, among many who go on: the others are told all of it, and it costs little and learns what it missed.
//!
//! The suite has a short form. `STREAM_SLOW_READERS=999` makes it long: fifty megabytes to each of them, and what it prints is a figure then.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{HostProcess, Signal, TestHost, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
};
use tokio_postgres::Client as Sql;

use crate::{
    idle::resident_bytes,
    stage::{Client, builder, publish},
    storm,
};

/// Bytes of each publication.
const BYTES: usize = 50_000;
/// Publications that are under way at the same time; all of them fit into what may wait for a client.
const ROUND: usize = 10;
/// Publications for which nothing is read where the newest counts. Who takes nothing for half a minute is given up, whatever it is told.
const NAP: usize = 250;
/// Bytes that the host may take more while somebody does not read: three million were seen, and one may wait.
const GROWTH_MAX: usize = 8 << 20;

/// How many read, and how many publications they are told.
fn sizes() -> (usize, usize) {
    let said = std::env::var("STREAM_SLOW_READERS");
    said.map_or((20, 300), |number| {
        (number.parse().expect("a number of readers"), 1_000)
    })
}

/// The numbers that one of them has heard, and after how long.
type Told = Vec<(usize, Duration)>;

/// How far all of them are.
struct Progress {
    published: Vec<OnceLock<Instant>>,
    /// The last number that each has heard.
    heard: Vec<AtomicUsize>,
    bell: Notify,
}

impl Progress {
    fn new(readers: usize, messages: usize) -> Arc<Self> {
        Arc::new(Self {
            published: (0..=messages).map(|_| OnceLock::new()).collect(),
            heard: (0..readers).map(|_| AtomicUsize::new(0)).collect(),
            bell: Notify::new(),
        })
    }

    fn last(&self) -> usize {
        self.published.len() - 1
    }

    async fn until_all_heard(&self, number: usize) {
        let all = async {
            loop {
                let mut rung = std::pin::pin!(self.bell.notified());
                rung.as_mut().enable();
                let mut heard = self.heard.iter();
                if heard.all(|heard| heard.load(Ordering::Acquire) >= number) {
                    return;
                }
                rung.await;
            }
        };
        within("all have heard it", all).await;
    }
}

/// The number of a publication, which its data begins with.
fn number(frame: &[u8]) -> usize {
    const BEFORE: &[u8] = b"\"data\":\"";
    let mut windows = frame.windows(BEFORE.len());
    let at = windows.position(|window| window == BEFORE);
    let text = &frame[at.expect("it has data") + BEFORE.len()..];
    let digits = text.split(|byte| *byte == b' ').next();
    let digits = str::from_utf8(digits.expect("it has a number"));
    digits
        .ok()
        .and_then(|digits| digits.parse().ok())
        .expect("it is one")
}

/// Reads until the last of them, without looking at more than it has to; what it has heard, and after how long.
async fn read(stream: TcpStream, at: usize, progress: Arc<Progress>) -> Told {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let (mut told, mut frame) = (Vec::new(), Vec::new());
    loop {
        let [_, length] = stream.read_u16().await.expect("it goes on").to_be_bytes();
        let length = match length {
            126 => usize::from(stream.read_u16().await.expect("it goes on")),
            127 => panic!("a frame of more than 64 KiB"),
            length => usize::from(length),
        };
        frame.resize(length, 0);
        stream.read_exact(&mut frame).await.expect("it goes on");
        assert!(frame.len() > BYTES, "{}", String::from_utf8_lossy(&frame));
        let number = number(&frame);
        let published = progress.published[number].get().expect("it was published");
        told.push((number, published.elapsed()));
        progress.heard[at].store(number, Ordering::Release);
        if number.is_multiple_of(ROUND) || number == progress.last() {
            progress.bell.notify_waiters();
        }
        if number == progress.last() {
            return told;
        }
    }
}

/// How much more memory a host takes.
struct Growth<'a> {
    process: &'a HostProcess,
    before: usize,
    most: usize,
}

impl<'a> Growth<'a> {
    fn of(process: &'a HostProcess) -> Self {
        let before = resident_bytes(process);
        Self {
            process,
            before,
            most: before,
        }
    }

    fn look(&mut self) {
        self.most = self.most.max(resident_bytes(self.process));
    }

    fn check(self) {
        let more = self.most - self.before;
        println!("{more} bytes more than before");
        assert!(more <= GROWTH_MAX, "{more} bytes more than before");
    }
}

/// A host of a process of its own, whose channel many read.
struct Stage {
    host: TestHost,
    process: HostProcess,
    sql: Sql,
    channel: String,
    token: String,
    progress: Arc<Progress>,
    reading: Mutex<JoinSet<Told>>,
}

impl Stage {
    /// Nobody is asked whether it is there: the readers say nothing.
    async fn set(namespace: &str) -> Self {
        let host = builder()
            .config("[http]\nconnections_max = 20_000\nconcurrency_per_plugin = 20_000\nwebsocket_ping_ms = 600_000")
            .config("[plugins.stream.config]\nping_seconds = 300\nrecovery_max = 10_000\nconnections_per_user = 10_000")
            .config("[plugins.stream.config.namespaces.log]\nhistory_size = 10_000")
            .config("[plugins.stream.config.namespaces.scores]\nslow_consumer = \"latest\"")
            .start()
            .await;
        let process = host.process_beside().start().await;
        let family = Uuid::now_v7();
        let (channel, token) = (
            format!("family:{family}:{namespace}:a"),
            host.token(Role::Owner, family),
        );
        let (readers, messages) = sizes();
        let progress = Progress::new(readers, messages);
        let opening = (0..readers).map(async |at| {
            let mut client = storm::come(process.address(), &token).await;
            storm::subscribe(&mut client, json!({"channel": channel})).await;
            (client.into_bytes(), at)
        });
        let mut reading = JoinSet::new();
        for (stream, at) in join_all(opening).await {
            reading.spawn(read(stream, at, Arc::clone(&progress)));
        }
        Self {
            sql: host.sql().await,
            host,
            process,
            channel,
            token,
            progress,
            reading: Mutex::new(reading),
        }
    }

    /// Publishes the next ones, and waits until all who read have heard them.
    async fn publish(&self, from: usize) -> usize {
        let upto = (from + ROUND).min(self.progress.last());
        for number in from + 1..=upto {
            let begun = self.progress.published[number].set(Instant::now());
            begun.expect("each is published once");
            let text = format!("{number} {}", "x".repeat(BYTES));
            publish(&self.sql, &self.channel, json!(text)).await;
        }
        self.progress.until_all_heard(upto).await;
        upto
    }

    /// A figure of the process.
    async fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.process.address())
            .await
            .expect("it listens");
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it listens");
        let mut answer = String::new();
        let read = within("the metrics", stream.read_to_string(&mut answer)).await;
        read.expect("it answers");
        let mut lines = answer.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    async fn stop(mut self) {
        self.process.signal(Signal::TERM);
        assert!(
            self.process.ended().await.success(),
            "{}",
            self.process.log_text()
        );
        self.host.stop().await;
    }

    /// What each of those who read was told; prints how long it took until it stopped, and afterwards.
    async fn told(&self, stopped_at: usize) -> Vec<Vec<usize>> {
        let reading = std::mem::take(&mut *self.reading.lock().expect("nobody panicked"));
        let told = reading.join_all().await;
        for (what, is_in) in [("before", true), ("with it", false)] {
            let all = told.iter().flatten();
            let mut times: Vec<_> = all
                .filter(|(number, _)| (*number <= stopped_at) == is_in)
                .map(|(_, time)| *time)
                .collect();
            times.sort();
            println!(
                "{what}: of {} deliveries half within {:?}, 99 of 100 within {:?}",
                times.len(),
                times[times.len() / 2],
                times[times.len() * 99 / 100],
            );
        }
        let numbers = told
            .iter()
            .map(|told| told.iter().map(|(number, _)| *number).collect());
        numbers.collect()
    }
}

/// The number that a publication's data begins with.
fn heard(publication: &Value) -> usize {
    let text = publication["data"].as_str().unwrap_or_default();
    let number = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{:.100} is no text with a number", publication.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_is_cut_off_and_told_that_it_missed_something_and_all_others_hear_all() {
    let stage = Stage::set("log").await;
    let (address, channel, last) = (
        stage.process.address(),
        stage.channel.clone(),
        stage.progress.last(),
    );
    let mut sleeper = Client::connect_narrow(address, &stage.token).await;
    let epoch = sleeper.subscribe(&channel).await["epoch"].clone();
    let (mut number, mut known) = (0, 0);
    while number < last / 10 {
        number = stage.publish(number).await;
        while known < number {
            known += 1;
            assert_eq!(sleeper.publication().await["offset"], known);
        }
    }
    let stopped_at = number;
    let mut growth = Growth::of(&stage.process);
    while stage.metric("nself_hub_slow_total").await == 0 {
        assert!(
            number < last,
            "what the kernel keeps for a client has an end"
        );
        number = stage.publish(number).await;
        growth.look();
    }
    println!(
        "given up when it had not read {} bytes",
        (number - stopped_at) * BYTES
    );
    // What was on its way still comes.
    let end = loop {
        match sleeper.publication_or_end().await {
            Ok(publication) => {
                known += 1;
                assert_eq!(publication["offset"], known);
            }
            Err(end) => break end,
        }
    };
    assert_eq!(end, (3008, "slow".to_owned()));
    // What did not fit is more than it is given at once: it is told so, and can ask for it.
    let mut back = Client::connect(address, &stage.token).await;
    let since = json!({"offset": known, "epoch": epoch});
    let request = json!({"channel": channel, "recover": true, "offset": known, "epoch": epoch});
    let begun = back.subscribe_with(request).await;
    assert_eq!(
        (
            &begun["was_recovering"],
            &begun["recovered"],
            &begun["offset"]
        ),
        (&json!(true), &json!(null), &json!(number))
    );
    let request = json!({"channel": channel, "since": since, "limit": 5});
    let history = back.ask("history", request).await;
    let missed: Vec<_> = (known + 1..=known + 5).collect();
    let publications = history["history"]["publications"]
        .as_array()
        .into_iter()
        .flatten();
    assert_eq!(publications.map(heard).collect::<Vec<_>>(), missed);
    known = number;
    while number < last {
        number = stage.publish(number).await;
        growth.look();
        while known < number {
            known += 1;
            assert_eq!(back.publication().await["offset"], known);
        }
    }
    let expected: Vec<_> = (1..=last).collect();
    for told in stage.told(stopped_at).await {
        assert_eq!(told, expected);
    }
    growth.check();
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_what_is_stale_at_once_gets_the_newest_when_it_reads_again() {
    let stage = Stage::set("scores").await;
    let last = stage.progress.last();
    let mut sleeper = Client::connect_narrow(stage.process.address(), &stage.token).await;
    sleeper.subscribe(&stage.channel).await;
    let mut number = 0;
    while number < last / 10 {
        number = stage.publish(number).await;
    }
    let stopped_at = number;
    let mut growth = Growth::of(&stage.process);
    let (mut numbers, mut asleep_since) = (Vec::new(), number);
    while number < last {
        number = stage.publish(number).await;
        growth.look();
        if number - asleep_since >= NAP || number == last {
            while numbers.last() != Some(&number) {
                numbers.push(heard(&sleeper.publication().await));
            }
            asleep_since = number;
        }
    }
    let dropped = stage.metric("nself_hub_dropped_total").await;
    println!("it was told {} of {last}", numbers.len());
    assert!(dropped > 0 && numbers.is_sorted_by(|a, b| a < b) && numbers.len() < last);
    assert_eq!(stage.metric("nself_hub_slow_total").await, 0);
    for told in stage.told(stopped_at).await {
        assert!(told.is_sorted_by(|a, b| a < b));
        assert_eq!(told.last(), Some(&last));
    }
    growth.check();
    stage.stop().await;
}
