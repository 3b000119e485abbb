//! Open sockets and their fan-out: what waits for each of them, who is sent what together, and when each has to end.
//!
//! A frame is encoded once, and what waits for a connection are references to it. Whoever sends appends to the connection's
//! queue and goes on; a shard, one per core, writes whatever waits for a connection in one call. A connection whose client does not read
//! keeps nobody: the socket itself says when there is room again, and until then its queue is bounded by the policy of what
//! is sent. All deadlines (silence, expiry, a close that is not taken) hang on one wheel.
//!
//! A connection knows its topics and leaves them when its socket ends, so a topic that a plugin has forgotten keeps none alive.

mod connection;
mod decoder;
mod deflate;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod inflate;
mod io;
mod outbound;
mod queue;
mod shard;
mod tls;
mod topic;
mod wheel;

use std::{
    sync::{
        Arc, Once, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use dashmap::DashMap;
use nself_plugin_api::abi::capability::hub::Frame;
use prometheus::{IntCounter, IntGauge, Registry};

pub(crate) use self::{
    connection::{CLOSE_TIMEOUT, Close, Connection, Lost, Rules},
    decoder::{Broken, Said},
    deflate::Window,
    frame::{BINARY, TEXT, encode},
    io::{Incoming, Unheard},
    outbound::Policy,
    topic::Topic,
};
use self::{deflate::Deflaters, shard::Shard, wheel::Wheel};
use crate::http::Departed;

/// How much longer the window in which a plugin's clients are told to come back is for each of them.
const RESTART_EACH: Duration = Duration::from_millis(2);
/// Longest such window.
const RESTART_WINDOW_MAX: Duration = Duration::from_secs(8);

/// All open sockets of the host.
pub struct Hub {
    connections: DashMap<u64, Weak<Connection>>,
    numbers: AtomicU64,
    shards: Vec<Arc<Shard>>,
    wheel: Arc<Wheel>,
    started: Once,
    deflaters: Deflaters,
    counts: Arc<Counts>,
}

/// What is there, and what was lost.
pub(crate) struct Counts {
    pub(crate) connections: IntGauge,
    pub(crate) topics: IntGauge,
    pub(crate) frames: IntGauge,
    pub(crate) slow: IntCounter,
    pub(crate) dropped: IntCounter,
    pub(crate) deflated: IntCounter,
}

impl Counts {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            connections: gauge("nself_hub_connections", "Open WebSockets")?,
            topics: gauge("nself_hub_topics", "Topics that plugins fan out by")?,
            frames: gauge("nself_hub_frames", "Frames that somebody holds")?,
            slow: counter(
                "nself_hub_slow_total",
                "Connections that were closed because they did not keep up",
            )?,
            dropped: counter(
                "nself_hub_dropped_total",
                "Frames that were not sent to connections that did not keep up",
            )?,
            deflated: counter(
                "nself_hub_deflated_total",
                "Frames that were compressed, each once for all that it went to",
            )?,
        })
    }
}

impl Hub {
    /// A hub without sockets, which shows on `registry`.
    ///
    /// # Errors
    ///
    /// When its metrics are there already.
    pub fn new(registry: &Registry) -> prometheus::Result<Arc<Self>> {
        let shards = available_parallelism().map_or(1, std::num::NonZero::get);
        let counts = Arc::new(Counts::new(registry)?);
        Ok(Arc::new(Self {
            connections: DashMap::new(),
            numbers: AtomicU64::new(1),
            shards: (0..shards).map(|_| Arc::default()).collect(),
            wheel: Arc::default(),
            started: Once::new(),
            deflaters: Deflaters::new(&counts),
            counts,
        }))
    }

    /// Takes a socket of `plugin` in: its connection, and what comes from its client. A client that has been silent for
    /// `ping` is asked whether it is there; with one that has agreed on it, messages are compressed.
    pub(crate) fn open(
        &self,
        departed: Departed,
        plugin: Arc<str>,
        ping: Duration,
        deflate: Option<Window>,
    ) -> (Arc<Connection>, Incoming) {
        self.started.call_once(|| {
            for shard in &self.shards {
                tokio::spawn(tokio::task::unconstrained(Arc::clone(shard).run()));
            }
            tokio::spawn(Arc::clone(&self.wheel).run());
        });
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let shards = u64::try_from(self.shards.len()).unwrap_or(1);
        let shard = usize::try_from(number % shards).unwrap_or_default();
        let write_timeout = departed.write_timeout;
        let (reading, writing) = io::split(departed);
        let connection = Connection::new(connection::Parts {
            number,
            plugin,
            writing,
            shard: Arc::clone(&self.shards[shard]),
            wheel: Arc::clone(&self.wheel),
            counts: Arc::clone(&self.counts),
            ping,
            write_timeout,
            deflater: deflate.map(|window| self.deflaters.of(window)),
        });
        self.connections.insert(number, Arc::downgrade(&connection));
        let incoming = Incoming::new(reading, Arc::clone(&connection));
        (connection, incoming)
    }

    /// Its socket has ended.
    pub(crate) fn close(&self, connection: &Connection) {
        self.connections.remove(&connection.number());
        connection.end();
    }

    /// The open connection of that number, if it is one of `plugin`.
    pub(crate) fn find(&self, number: u64, plugin: &str) -> Option<Arc<Connection>> {
        let found = self.connections.get(&number)?.upgrade()?;
        (found.plugin() == plugin).then_some(found)
    }

    /// A topic without members.
    pub(crate) fn topic(&self, policy: Policy) -> Arc<Topic> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Topic::new(number, policy, Arc::clone(&self.counts))
    }

    /// A message as it goes over the wire.
    pub(crate) fn frame(&self, opcode: u8, payload: &[u8]) -> Frame {
        frame::counted(opcode, payload, &self.counts)
    }
}

/// When a connection is told to come back, of `amount` that are told so at the same time. The turns of successive numbers are far
/// apart, and spread evenly over the window, without anybody who hands them out.
pub(crate) fn turn(number: u64, amount: usize) -> Duration {
    /// 2^64 by the golden ratio.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let amount = u32::try_from(amount.saturating_sub(1)).unwrap_or(u32::MAX);
    let window = RESTART_EACH.saturating_mul(amount).min(RESTART_WINDOW_MAX);
    let share = u32::try_from(number.wrapping_mul(STEP) >> 48).unwrap_or_default();
    window * share / (1 << 16)
}

impl Drop for Hub {
    fn drop(&mut self) {
        for shard in &self.shards {
            shard.end();
        }
        self.wheel.end();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A connection that has left HTTP, and the client at its other end.
    async fn departed(ahead: &'static [u8]) -> (Departed, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("a client");
        let departed = Departed {
            stream,
            tls: None,
            ahead: Bytes::from_static(ahead),
            write_timeout: Duration::from_millis(100),
            seat: None,
        };
        (departed, client)
    }

    #[tokio::test]
    async fn a_socket_is_found_by_its_own_plugin_until_it_has_ended() {
        let hub = Hub::new(&Registry::new()).expect("fresh metrics");
        let (departed, mut client) = departed(b"").await;
        let (connection, incoming) =
            hub.open(departed, "notes".into(), Duration::from_secs(60), None);
        let number = connection.number();
        assert!(hub.find(number, "notes").is_some());
        assert!(hub.find(number, "photos").is_none());
        assert!(hub.find(number + 1, "notes").is_none());

        let topic = hub.topic(Policy::Recover);
        assert!(topic.add(&connection));
        assert_eq!(topic.publish(&hub.frame(TEXT, b"hello"), 0), 1);
        let mut frame = [0; 7];
        client.read_exact(&mut frame).await.expect("a frame");
        assert_eq!(&frame, b"\x81\x05hello");

        hub.close(&connection);
        drop(incoming);
        assert!(hub.find(number, "notes").is_none());
        assert_eq!(topic.members(), 0);
        assert!(!topic.add(&connection));
        assert_eq!((topic.members(), connection.is_closing()), (0, true));
        assert_eq!(client.read(&mut frame).await.expect("the end"), 0);
    }

    /// What was sent to a client until its socket ended.
    async fn rest(mut client: TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.expect("all of it");
        bytes
    }

    #[tokio::test]
    async fn what_is_published_is_compressed_once_for_all_that_take_it_so() {
        let hub = Hub::new(&Registry::new()).expect("fresh metrics");
        let topic = hub.topic(Policy::Recover);
        let mut members = Vec::new();
        for window in [
            None,
            Some(Window::Full),
            Some(Window::Small),
            Some(Window::Full),
            Some(Window::Full),
        ] {
            let (departed, client) = departed(b"").await;
            let (connection, incoming) =
                hub.open(departed, "notes".into(), Duration::from_secs(60), window);
            topic.add(&connection);
            members.push((window, connection, incoming, client));
        }
        let text = "the quick brown fox ".repeat(100);
        topic.publish(&hub.frame(TEXT, text.as_bytes()), 0);
        assert_eq!(hub.counts.deflated.get(), 2, "once for each window");
        topic.publish(&hub.frame(TEXT, b"short"), 0);
        // What cannot be had in less.
        let noise: Vec<u8> = (0..=255).collect();
        topic.publish(&hub.frame(BINARY, &noise), 0);
        assert_eq!(hub.counts.deflated.get(), 2);

        for (window, connection, incoming, client) in members {
            connection.flushed().await;
            hub.close(&connection);
            drop((connection, incoming));
            let sent = rest(client).await;
            let plain = [encode(TEXT, b"short"), encode(BINARY, &noise)].concat();
            let first = sent.strip_suffix(&*plain).expect("both as they are");
            let Some(window) = window else {
                assert_eq!(first, encode(TEXT, text.as_bytes()));
                continue;
            };
            assert_eq!(first[0], 0xc1, "compressed text");
            assert_eq!(usize::from(first[1]), first.len() - 2, "a short frame");
            let mut inflated = Vec::with_capacity(2 * text.len());
            let mut decompress = flate2::Decompress::new_with_window_bits(false, window.bits());
            let packed = [&first[2..], &[0, 0, 255, 255]].concat();
            let flush = flate2::FlushDecompress::Sync;
            let read = decompress.decompress_vec(&packed, &mut inflated, flush);
            read.expect("deflate within the window");
            assert_eq!(inflated, text.as_bytes());
        }
    }

    /// A text as a client sends it, masked with zeros.
    fn masked(text: &str) -> Vec<u8> {
        let mut frame = encode(TEXT, text.as_bytes());
        frame[1] |= 0x80;
        let head = frame.len() - text.len();
        frame.splice(head..head, [0; 4]);
        frame
    }

    #[tokio::test]
    async fn what_a_client_sends_is_read_in_its_order_from_what_came_with_its_request_on() {
        let hub = Hub::new(&Registry::new()).expect("fresh metrics");
        // A message, and the beginning of one.
        let (departed, mut client) = departed(b"\x81\x85\0\0\0\0ahead\x81").await;
        let (_connection, mut incoming) =
            hub.open(departed, "notes".into(), Duration::from_secs(60), None);
        let texts: Vec<String> = (0..120).map(|at| format!("{at} ").repeat(at)).collect();
        let sent: Vec<u8> = texts.iter().flat_map(|text| masked(text)).collect();
        client.write_all(&sent[1..]).await.expect("it is open");
        client
            .write_all(b"\x89\x80\0\0\0\0")
            .await
            .expect("it is open");
        assert_eq!(incoming.next().await.ok(), Some(Said::Text("ahead".into())));
        for text in texts {
            let said = incoming.next().await.expect("a message");
            assert!(said == Said::Text(text.into()));
        }
        assert_eq!(incoming.next().await.ok(), Some(Said::Ping(Vec::new())));
        let mut pong = [0; 2];
        client.read_exact(&mut pong).await.expect("an answer");
        assert_eq!(&pong, b"\x8a\0");
        drop(client);
        for _ in 0..2 {
            let ended = incoming.next().await.expect_err("the end");
            assert!(matches!(ended, Unheard::Over), "{ended}");
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_for_too_long_is_given_up() {
        let hub = Hub::new(&Registry::new()).expect("fresh metrics");
        let (departed, _client) = departed(b"").await;
        let (connection, _incoming) =
            hub.open(departed, "notes".into(), Duration::from_secs(600), None);
        let topic = hub.topic(Policy::Latest);
        topic.add(&connection);
        let large = hub.frame(BINARY, &vec![7; 100_000]);
        while hub.counts.dropped.get() == 0 {
            topic.publish(&large, 0);
            tokio::task::yield_now().await;
        }
        let gone = tokio::time::timeout(Duration::from_secs(60), connection.gone());
        gone.await.expect("it is given up");
    }

    #[test]
    fn clients_are_told_to_come_back_one_after_the_other() {
        assert_eq!(turn(7, 1), Duration::ZERO, "nobody else is told");
        let mut turns: Vec<_> = (1..=1_000).map(|number| turn(number, 1_000)).collect();
        turns.sort_unstable();
        let gaps = turns.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let gap = gaps.max();
        assert!(gap < Some(RESTART_EACH * 3), "{gap:?}");
        assert!(turns[999] > RESTART_EACH * 990 && turns[999] < RESTART_EACH * 1_000);
        assert!(turn(1, 1_000_000) <= RESTART_WINDOW_MAX);
    }
}
